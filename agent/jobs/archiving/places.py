"""Every destination of the order, each with its own way through the segments. In: the order as it changes. Out: one
shipper for each destination, running."""

import asyncio
from collections.abc import Callable, Iterator

from agent.jobs.archiving.ledger import Ledger
from agent.jobs.archiving.looking import Look
from agent.jobs.archiving.order import place_of
from agent.jobs.archiving.shipper import Shipper
from agent.pipeline.segments import SegmentBytes
from agent.repository.opened import Repositories
from agent.wire.archiving import LogTarget


class Places:
    """The shippers of one agent."""

    def __init__(
        self, repositories: Repositories, segments: SegmentBytes, ledger: Ledger, look: Callable[[], Look]
    ) -> None:
        self._repositories = repositories
        self._segments = segments
        self._ledger = ledger
        self._look = look
        self._shippers: dict[str, tuple[Shipper, asyncio.Task[None]]] = {}

    def __iter__(self) -> Iterator[Shipper]:
        return iter([shipper for shipper, _ in self._shippers.values()])

    @property
    def names(self) -> list[str]:
        """As the ledger has them."""
        return list(self._shippers)

    async def follow(self, targets: list[LogTarget]) -> None:
        """Ship to these from now on, and to no others. One whose limit or compression changed begins anew. A new one
        gets all that is still on the node."""
        wanted = {place_of(target): target for target in targets}
        for place, (shipper, _) in list(self._shippers.items()):
            if wanted.get(place) != shipper.target:
                await self._end(place)
        for place in [place for place, (_, task) in self._shippers.items() if task.done()]:
            await self._end(place)  # begun anew here: what goes from the node is what all of `names` have
        for place, target in wanted.items():
            if place not in self._shippers:
                shipper = Shipper(target, self._repositories, self._segments, self._ledger, self._look)
                self._shippers[place] = shipper, asyncio.create_task(shipper.run())

    def wake(self) -> None:
        """There may be something new."""
        for shipper in self:
            if shipper.has_work():
                shipper.wake()

    async def close(self) -> None:
        """End them all."""
        for place in list(self._shippers):
            await self._end(place)

    async def _end(self, place: str) -> None:
        _, task = self._shippers.pop(place)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
