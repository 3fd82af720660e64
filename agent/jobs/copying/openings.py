"""A copy's destinations, opened beside other work. In: targets. Out: each one's open repository, or why there is none.

Opening one costs a connection and some questions, one after the other; Cassandra needs longer for a snapshot, and the
destinations needn't wait for it nor for each other.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from agent.repository.opened import OpenedRepository, Repositories, Waiting
from agent.wire.commands import Target


class Openings:
    """Destinations that are being opened, and stay open as long as `openings` does."""

    def __init__(self, under_way: Mapping[str, asyncio.Task[OpenedRepository]]) -> None:
        self._under_way = under_way

    async def of(self, target: Target) -> OpenedRepository:
        """The target's repository. Raises what `Repositories.opened` raises."""
        return await self._under_way[target.destination]


@asynccontextmanager
async def openings(repositories: Repositories, targets: Iterable[Target], waiting: Waiting) -> AsyncIterator[Openings]:
    """Begin to open all targets; at the end of the block they are closed, and what is not open by then is given up.
    `waiting` as that of `Repositories.opened`."""
    async with AsyncExitStack() as stack:
        under_way = {
            target.destination: asyncio.create_task(
                stack.enter_async_context(repositories.opened(target, waiting)), name=f"opening {target.destination}"
            )
            for target in targets
        }
        try:
            yield Openings(under_way)
        finally:
            for task in under_way.values():
                task.cancel()
            # Nobody may have asked for some of them: their errors are theirs.
            await asyncio.gather(*under_way.values(), return_exceptions=True)
