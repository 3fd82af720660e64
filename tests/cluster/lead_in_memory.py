"""The lead's lease in memory, as slow and as forgetful as a test wants it. In: calls. Out: what an honest one keeps."""

import asyncio
from collections.abc import Awaitable, Callable

from coordinator.model.leading import Lease
from coordinator.store.database import StoreFailed


class Shelf:
    """What all coordinators share. `history`: every lease that was ever kept, in order."""

    def __init__(self) -> None:
        self.kept: Lease | None = None
        self.history: list[Lease] = []

    def swap(self, former: Lease | None, lease: Lease) -> bool:
        """Atomic, as a conditional write is."""
        if self.kept != former:
            return False
        self.kept = lease
        self.history.append(lease)
        return True


async def at_once(call: str) -> str:
    """The fate of calls that come and go at once."""
    return ""


class LeadInMemory:
    """`coordinator.store.protocol.LeadRecord` of one coordinator. `fate` is awaited before and after each call
    reaches the shelf, with "ask" and "answer" (so that it may last); "lost" loses the message: the call fails."""

    def __init__(
        self,
        shelf: Shelf,
        fate: Callable[[str], Awaitable[str]] = at_once,
    ) -> None:
        self._shelf = shelf
        self._fate = fate
        self._under_way: set[asyncio.Task[object]] = set()

    async def get(self) -> Lease | None:
        """See `protocol.LeadRecord.get`."""
        await self._or_lost("ask")
        found = self._shelf.kept
        await self._or_lost("answer")
        return found

    async def swap(self, former: Lease | None, lease: Lease) -> bool:
        """See `protocol.LeadRecord.swap`. Who doesn't wait for the answer any more has it done all the same."""

        async def done() -> bool:
            await self._or_lost("ask")
            swapped = self._shelf.swap(former, lease)
            await self._or_lost("answer")
            return swapped

        task = asyncio.create_task(done())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(task)

    async def _or_lost(self, call: str) -> None:
        if await self._fate(call) == "lost":
            raise StoreFailed("the message was lost")
