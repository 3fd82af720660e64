"""Who asked for what is being done. In: a name, for as long as a request is answered. Out: the name, for records and
log lines that are made meanwhile.

It goes with the task and with tasks that it begins, as the log's context does, so that orders need not carry it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from coordinator.model.access import COORDINATOR

_asks: ContextVar[str] = ContextVar("asked_by", default=COORDINATOR)


@contextmanager
def asking(name: str) -> Iterator[None]:
    """What is made inside was asked for by `name`."""
    former = _asks.set(name)
    try:
        yield
    finally:
        _asks.reset(former)


def asked_by() -> str:
    """Who asks now; outside of any request the coordinator itself."""
    return _asks.get()
