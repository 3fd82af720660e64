"""Changes of destinations. In: orders to add, update or delete. Out: destinations that the agents have proven, and the
requests that tell all agents.

One change of a destination waits for the other, and for nothing else, since proving a store may take minutes. What is
being changed is noted durably before any agent is told: a coordinator that was killed in the middle of it finishes it,
or puts the former settings back, at its next start.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import msgspec
import structlog

from agent.wire.destinations import Settings, lies_in, place_of
from coordinator.model.destinations import Destination
from coordinator.model.errors import DestinationInUse
from coordinator.model.orders import DeleteOrder, DestinationOrder
from coordinator.model.requests import RequestKind, RequestState, order_of
from coordinator.orchestrate.archiving.errors import DestinationArchives
from coordinator.orchestrate.archiving.setting import archives_to
from coordinator.orchestrate.destinations import establish
from coordinator.orchestrate.errors import DestinationExists, DestinationScheduled
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.protocol import DestinationChange
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

Make = Callable[[str, DestinationOrder, Sequence[str]], Awaitable[str]]
"""Makes and begins the request of an order on a cluster, with warnings; its id."""


class DestinationChanges:
    """What is being changed is marked in `around.leaving`, in its cluster's turn."""

    def __init__(self, around: Surroundings, make: Make) -> None:
        self._around = around
        self._turn = around.leaving.turn
        self._make = make
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._coming = around.leaving.coming
        self._moving: set[tuple[str, str]] = set()
        """destinations that are about to become another place"""
        self._notes = asyncio.Lock()

    async def start(self, cluster: str, order: DestinationOrder) -> DestinationChange:
        """The same delete again while it runs: its id. Raises what `coordinator.orchestrate.destinations.establish`
        raises, `NoSuchDestination`, `DestinationInUse` for a delete or another place, `DestinationScheduled` for a
        delete, `DestinationExists`."""
        lock = self._locks.setdefault((cluster, order.id), asyncio.Lock())
        async with lock:
            if order.settings is None:
                return await self._delete(cluster, order)
            return await self._prove(cluster, order, order.settings)

    async def refuse_leaving(self, cluster: str, destinations: Collection[str]) -> None:
        """Raise `DestinationInUse` for a place that is being changed to another one, or is about to be forgotten. Call
        it while holding the turn."""
        for destination_id in destinations:
            if (cluster, destination_id) in self._moving:
                raise DestinationInUse(f"the destination {destination_id} is being changed to another place")
            if (cluster, destination_id) in self._around.leaving.forgotten:
                raise DestinationInUse(f"the destination {destination_id} is being forgotten")
        for request in await self._around.store.requests.find(cluster=cluster, state=RequestState.RUNNING):
            going = set(destinations) & set(request.destinations)
            if going and request.kind in (RequestKind.DELETE, RequestKind.DESTINATION):
                order = order_of(request)
                if (isinstance(order, DeleteOrder) and order.remove_destination) or (
                    isinstance(order, DestinationOrder) and order.action == "delete"
                ):
                    raise DestinationInUse(
                        f"the destination {', '.join(sorted(going))} is about to be forgotten", request=request.id
                    )

    @asynccontextmanager
    async def staying(self, cluster: str, destinations: Collection[str]) -> AsyncIterator[None]:
        """For the block, which asks no agent, none of the destinations begins to go. Raises `NoSuchDestination`, and
        `DestinationInUse` for one that is about to go or to become another place."""
        async with self._turn(cluster):
            await self.refuse_leaving(cluster, destinations)
            for destination_id in destinations:
                await Places(self._around, cluster).destination(destination_id)
            yield

    async def refuse_changing(self, cluster: str, destination_id: str) -> None:
        """Raise `DestinationInUse` for a destination that is being changed, or of whose change the agents are still
        being told: it can't be forgotten meanwhile. Call it while holding the turn."""
        if (cluster, destination_id) in self._coming:
            raise DestinationInUse(f"the destination {destination_id} is being changed")
        telling = await Places(self._around, cluster).telling(destination_id)
        if telling:
            raise DestinationInUse(
                f"the agents are being told of a change of the destination {destination_id}",
                request=telling[0],
                requests=telling,
            )

    async def mend(self) -> list[tuple[str, DestinationOrder]]:
        """For the start, before any request goes on: changes that a former life of the coordinator left half-way get
        revisions that agents take. What all agents are to be told then, by cluster; `noted_done` when that is made."""
        orders = []
        for cluster in self._around.registry.clusters():
            for destination_id, revision in (await self._noted(cluster)).items():
                kept = await self._around.store.destinations.get(cluster, destination_id)
                if kept is not None and kept.revision < revision:
                    # Agents may hold the newer settings, so what is put back needs a revision that is newer still.
                    kept = msgspec.structs.replace(kept, revision=revision + 1)
                    await self._around.store.destinations.put(kept)
                log.warning("a change of a destination was cut off", cluster=cluster, destination=destination_id)
                orders.append(
                    (
                        cluster,
                        DestinationOrder("delete", destination_id)
                        if kept is None
                        else DestinationOrder("update", destination_id, kept.settings, kept.one_shot),
                    )
                )
        return orders

    async def noted_done(self, cluster: str, destination_id: str) -> None:
        """Forget that a change is under way."""
        await self._note(cluster, destination_id, None)

    async def _delete(self, cluster: str, order: DestinationOrder) -> DestinationChange:
        async with self._turn(cluster):
            places = Places(self._around, cluster)
            await places.destination(order.id)
            same = await self._same_delete(cluster, order)
            if same is not None:
                return DestinationChange(same, None)
            await self._refuse_used(cluster, order.id)
            await self.refuse_changing(cluster, order.id)
            schedules = await places.schedules(order.id)
            if schedules:
                raise DestinationScheduled(order.id, schedules)
            return DestinationChange(await self._make(cluster, order, []), None)

    async def _same_delete(self, cluster: str, order: DestinationOrder) -> str | None:
        """Id of the running request that removes the same destination."""
        kind, state = RequestKind.DESTINATION, RequestState.RUNNING
        for request in await self._around.store.requests.find(cluster=cluster, kind=kind, state=state):
            if order_of(request) == order:
                return request.id
        return None

    async def _prove(self, cluster: str, order: DestinationOrder, settings: Settings) -> DestinationChange:
        places, key = Places(self._around, cluster), (cluster, order.id)
        async with self._turn(cluster):
            former = await places.destination(order.id) if order.action == "update" else None
            await self.refuse_leaving(cluster, [order.id])
            comes = former is None or place_of(former.settings) != place_of(settings)
            await self._refuse_twice(cluster, order.id, settings, comes=comes)
            moving = former is not None and _kind_of_place(former.settings) != _kind_of_place(settings)
            if moving:
                await self._refuse_used(cluster, order.id)
                self._moving.add(key)
            self._coming[key] = settings
        try:
            left = await self._left_behind(places, former) if moving and former is not None else ""

            async def note(revision: int | None) -> None:
                await self._note(cluster, order.id, revision)

            destination = await establish(self._around, cluster, order, note, self._keep)
            stays = former is not None and former.repository_id != destination.repository_id
            warnings = [left] if left and stays else []
            async with self._turn(cluster):
                request_id = await self._make(cluster, order, warnings)
        finally:
            self._moving.discard(key)
            self._coming.pop(key, None)
        await self.noted_done(cluster, order.id)
        return DestinationChange(request_id, destination, warnings)

    async def _keep(self, destination: Destination, former: Destination | None) -> None:
        """Keep the destination. Raises `NoSuchDestination` when the former one was forgotten meanwhile."""
        async with self._turn(destination.cluster):
            if former is not None:
                await Places(self._around, destination.cluster).destination(destination.id)
            await self._around.store.destinations.put(destination)

    async def _left_behind(self, places: Places, former: Destination) -> str:
        """A sentence about the backups at the former place; empty when there are none. A place is often left because it
        is gone: nobody waits long for it."""
        where = " ".join(part for part in place_of(former.settings) if part)
        back = "to list and restore them again point it back, or add that place as another destination"
        try:
            async with asyncio.timeout(self._around.timing.former_place):
                count = sum(not backup.deleted for backup in (await places.backups(former)).values())
        except (HelenusError, TimeoutError) as error:
            reason = error.message if isinstance(error, HelenusError) else "no answer in time"
            return f"what backups stay at the former place ({where}) could not be seen ({reason}); {back}"
        told = "1 backup stays" if count == 1 else f"{count} backups stay"
        return f"{told} at the former place ({where}), listed here no more; {back}" if count else ""

    async def _refuse_used(self, cluster: str, destination_id: str) -> None:
        users = await Places(self._around, cluster).users(destination_id)
        archives = await archives_to(self._around.store, cluster, destination_id)
        if archives:
            raise DestinationArchives(
                f"the commit log is archived to the destination {destination_id}", request=archives, requests=users
            )
        if users:
            raise DestinationInUse(f"the destination {destination_id} is in use", request=users[0], requests=users)

    async def _refuse_twice(self, cluster: str, destination_id: str, settings: Settings, *, comes: bool) -> None:
        """Two destinations at one place would delete and sweep under each other's feet. Of two inside one another each
        leaves the other alone, but who empties the outer one takes the inner one's backups along, and as long as those
        are in it, it is foreign content to the agent that is to make a repository there: a place that `comes` anew is
        refused for that too. Other clusters may use it."""
        known = [(one.id, one.settings) for one in await self._around.store.destinations.all(cluster)]
        coming = [(one, proven) for (of, one), proven in self._coming.items() if of == cluster]
        for other, there in [*known, *coming]:
            if other == destination_id:
                continue
            if place_of(there) == place_of(settings):
                told = f"the destination {other} is at this place already"
            elif comes and lies_in(settings, there):
                told = f"this place lies inside the destination {other} ({there.path})"
            elif comes and lies_in(there, settings):
                told = f"the destination {other} lies inside this place ({there.path})"
            else:
                continue
            raise DestinationExists(told, field="path", destination=other)

    async def _noted(self, cluster: str) -> dict[str, int]:
        return await self._around.store.values.get(_name(cluster)) or {}

    async def _note(self, cluster: str, destination_id: str, revision: int | None) -> None:
        async with self._notes:
            noted = await self._noted(cluster)
            if noted.get(destination_id) == revision:
                return
            noted.pop(destination_id, None)
            if revision is not None:
                noted[destination_id] = revision
            await self._around.store.values.put(_name(cluster), noted)


def _name(cluster: str) -> str:
    """The named value that holds a cluster's changes under way: destination id → the revision that agents may hold."""
    return f"destination changes of {cluster}"


def _kind_of_place(settings: Settings) -> tuple[tuple[str, ...], bool]:
    """The place, and whether all nodes see the same."""
    return place_of(settings), settings.one_for_all
