"""A store that tells what it did. In: a store and an observer. Out: the same store; one observation for each verb.

A listing is observed once, when it ends, is given up, or fails.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Storage, StorageError


class Observer(Protocol):
    """Whoever counts. Called in the event loop, after each verb."""

    def done(self, verb: str, seconds: float, sent: int, received: int, error: str | None) -> None:
        """`verb` is the protocol's; `sent` and `received` are payload bytes; `error` is the error's code, `cancelled`,
        or None."""


class Measured:
    """A store around `inner`."""

    def __init__(self, inner: Storage, observer: Observer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._observer = observer
        self._clock = clock

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        with self._observed("put") as about:
            put = await self._inner.put(key, body, replace=replace, gate=gate)
            about.sent = put.size if put.created else 0
            return put

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        with self._observed("get") as about:
            found = await self._inner.get(key, start, length, gate=gate)
            about.received = len(found)
            return found

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        with self._observed("head"):
            return await self._inner.head(key)

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`."""
        with self._observed("list"):
            async for entry in self._inner.list(prefix):
                yield entry

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        with self._observed("delete"):
            await self._inner.delete(keys)

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """See `Storage.hold`."""
        with self._observed("hold"):
            await self._inner.hold(keys, until)

    async def examine(self) -> None:
        """See `Storage.examine`."""
        with self._observed("examine"):
            await self._inner.examine()

    async def close(self) -> None:
        """Close the inner store."""
        await self._inner.close()

    @contextmanager
    def _observed(self, verb: str) -> "Iterator[_Bytes]":
        about = _Bytes()
        since = self._clock()
        error: str | None = "cancelled"
        try:
            yield about
            error = None
        except GeneratorExit:
            error = None  # a listing that its reader did not want to the end
            raise
        except StorageError as failure:
            error = failure.code
            raise
        except Exception:
            error = "internal"
            raise
        finally:
            self._observer.done(verb, self._clock() - since, about.sent, about.received, error)


class _Bytes:
    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
