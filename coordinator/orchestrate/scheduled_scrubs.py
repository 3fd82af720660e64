"""Scrubs that nobody has to ask for. In: the clusters' destinations, and how often. Out: a scrub of each in its slot.

Slots of one destination follow each other without a gap and begin at a time that its id decides, so that destinations
don't all begin at once; nodes begin together, and each lets its other commands go first.
"""

import asyncio
import zlib
from collections.abc import Callable, Collection

import structlog

from coordinator.model.orders import ScrubOrder
from coordinator.model.requests import RequestKind
from coordinator.orchestrate.protocol import Orchestrator
from coordinator.store.protocol import Store
from kit.errors import HelenusError

LOOK_SECONDS = 300.0
log = structlog.get_logger(__name__)


def slot_of(destination: str, at: float, every: float) -> int:
    """The number of the destination's slot at unix time `at`, each `every` seconds long. Pure."""
    offset = zlib.crc32(destination.encode()) / 2**32 * every
    return int((at - offset) // every)


class ScheduledScrubs:
    """Begins what is due. `every`: seconds from one scrub of a destination to the next."""

    def __init__(self, store: Store, orchestrator: Orchestrator, clusters: Collection[str], every: float) -> None:
        self._store = store
        self._orchestrator = orchestrator
        self._clusters = clusters
        self._every = every

    async def begin(self, now: float) -> list[str]:
        """Start a scrub of each destination that had none in its present slot; the ids of the requests. One that was
        made in that slot waits for its next. Raises what the store raises."""
        begun = []
        for cluster in self._clusters:
            last = {place.id: place.made for place in await self._store.destinations.all(cluster) if not place.one_shot}
            for request in await self._store.requests.find(cluster=cluster, kind=RequestKind.SCRUB):
                for place in request.destinations:
                    if place in last:
                        last[place] = max(last[place], request.started)
            for place, at in last.items():
                if slot_of(place, now, self._every) <= slot_of(place, at, self._every):
                    continue
                try:
                    begun.append(await self._orchestrator.start_scrub(cluster, ScrubOrder(place)))
                except HelenusError as error:  # it is about to go, say: the next look finds out
                    log.warning("a scrub could not be begun", cluster=cluster, destination=place, **error.as_dict())
        return begun

    async def keep_on(self, clock: Callable[[], float]) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.begin(clock())
            except HelenusError as error:
                log.warning("it can't be seen which scrubs are due", **error.as_dict())
            await asyncio.sleep(LOOK_SECONDS)
