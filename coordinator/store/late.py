"""A state in Cassandra that isn't there yet when the coordinator begins. In: what opens it, however long that takes.
Out: a store that says `StoreUnreachable` until then, and is that one afterwards.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.protocol import PARTS, Hold, Store


class _Part:
    """One part of it."""

    def __init__(self, late: "LateStore", name: str) -> None:
        self._late = late
        self._name = name

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            return await getattr(getattr(self._late.there, self._name), name)(*arguments, **named)

        return call


class LateStore:
    """`coordinator.store.protocol.Store`, as soon as it is there; `close` it. `opening` begins at once."""

    def __init__(self, opening: Coroutine[Any, Any, Store]) -> None:
        self._opening = asyncio.create_task(opening, name="the state is opened")
        for part in (*PARTS, "lead"):
            setattr(self, part, _Part(self, part))

    @property
    def there(self) -> Store:
        """The store itself. Raises `StoreUnreachable`, or what keeps it from ever being opened."""
        if not self._opening.done():
            raise StoreUnreachable("Cassandra, which holds the state, has not answered yet since this start")
        return self._opening.result()

    async def once_there(self, failed: asyncio.Event) -> Store:
        """The store itself; once an attempt has `failed` this one, which others can work with meanwhile. Raises what
        keeps it from ever being opened."""
        failing = asyncio.create_task(failed.wait())
        try:
            await asyncio.wait({self._opening, failing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failing.cancel()
        return self.there if self._opening.done() else cast(Store, self)

    async def kept_open(self) -> None:
        """Run until cancelled. Raises what keeps the state from ever being opened."""
        await asyncio.shield(self._opening)
        await asyncio.Event().wait()

    def kept_on(self) -> frozenset[str]:
        """See `protocol.Store.kept_on`. Raises as `there` does."""
        return self.there.kept_on()

    def during(self, hold: Hold) -> AbstractAsyncContextManager[Store]:
        """See `protocol.Store.during`; only who has the lead of it asks, so it is there. Raises as `there` does."""
        return self.there.during(hold)

    async def prune(self, now: float) -> None:
        """See `protocol.Store.prune`."""
        await self.there.prune(now)

    async def close(self) -> None:
        """Let go of it, or give up what isn't there yet."""
        self._opening.cancel()
        await asyncio.wait({self._opening})
        if not self._opening.cancelled() and self._opening.exception() is None:
            await self._opening.result().close()
