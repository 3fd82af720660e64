"""The state as work uses it that can wait. In: a store. Out: the same store, whose calls come back only with an answer.

A state that can't be reached says nothing about the work: no error follows from it, the call is made again until the
state is back, and a line a minute says so. That is safe because each call may be repeated, whatever became of the one
before: a record is put again as it is, an end that is kept stays, a fence that nobody got is left out.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import structlog

from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.protocol import PARTS, Store
from kit.seldom import Seldom

log = structlog.get_logger(__name__)


class _Lasting:
    def __init__(self, part: Any, what: str, pause: float, over: Callable[[], bool], seldom: Seldom) -> None:
        self._part = part
        self._what = what
        self._pause = pause
        self._over = over
        self._seldom = seldom

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)

        async def until_answered(*arguments: Any, **named: Any) -> Any:
            while True:
                try:
                    return await call(*arguments, **named)
                except StoreUnreachable as error:
                    if self._over():
                        raise
                    self._tell(error)
                await asyncio.sleep(self._pause)

        return until_answered

    def _tell(self, error: StoreUnreachable) -> None:
        untold = self._seldom.due(self._what)
        if untold is not None:
            log.warning(
                "work waits for the state",
                work=self._what,
                reason=error.message,
                again_seconds=self._pause,
                untold=untold,
            )


class _LastingStore:
    def __init__(self, store: Store, what: str, pause: float, over: Callable[[], bool]) -> None:
        seldom = Seldom()  # one for all parts: work over many nodes has many calls that wait
        for part in PARTS:
            setattr(self, part, _Lasting(getattr(store, part), what, pause, over, seldom))


def lasting(store: Store, what: str, pause: float, over: Callable[[], bool]) -> Store:
    """The parts of the store. `what` names the work in the log; `pause`: seconds before a call is made again. Once it
    is `over` a call fails as any other's: work that is cancelled must come to its end."""
    return cast(Store, _LastingStore(store, what, pause, over))
