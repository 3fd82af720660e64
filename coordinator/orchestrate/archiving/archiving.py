"""Archiving of the clusters' commit logs. In: orders to switch it on or off, and the time. Out: requests that carry
them out, how each node stands, and an alarm for each node that does not archive as it should.

An order is judged like all others: agents are asked before the cluster's turn, and what runs is looked up in it.
"""

from collections.abc import Awaitable
from typing import Protocol

import msgspec

from agent.wire.archiving import ArchivingView
from agent.wire.destinations import ON_SERVER
from coordinator.model.archiving import ArchivingStatus, NodeArchiving
from coordinator.model.errors import InvalidArguments, NoSuchDestination
from coordinator.model.orders import ArchivingOrder, Order, TrimLogsOrder, places_of
from coordinator.model.requests import RequestKind, order_of
from coordinator.orchestrate.archiving.as_told import told_order
from coordinator.orchestrate.archiving.errors import ArchivingChanging
from coordinator.orchestrate.archiving.nodes import judged, look, safe_in
from coordinator.orchestrate.archiving.setting import changing, setting_of
from coordinator.orchestrate.archiving.switch import archiving_scope
from coordinator.orchestrate.archiving.watch import Watch
from coordinator.orchestrate.beside import Beside
from coordinator.orchestrate.conflicts import Conflicts
from coordinator.orchestrate.run import Surroundings


class Make(Protocol):
    """The orchestrator's `make`: a request, durable and begun; its id."""

    def __call__(
        self, kind: RequestKind, cluster: str, order: Order, tag: str | None, destinations: list[str], /
    ) -> Awaitable[str]: ...


class Archiving(Beside):
    """Use as `async with Archiving(…)`: inside, the clusters are looked at. Implements
    `coordinator.orchestrate.protocol.ArchivingControl`."""

    def __init__(self, around: Surroundings, make: Make) -> None:
        self._around = around
        self._make = make
        self._conflicts = Conflicts(around)
        self._remembered: dict[str, ArchivingView] = {}
        """host id → what its agent said last"""
        self._watch = Watch(around, self.status, self.start, self._trim)

    async def start(self, cluster: str, order: ArchivingOrder) -> str:
        """The same order again while it runs: its id. Raises `ArchivingChanging` while another one runs,
        `RestoreRunning`, `MissingNodes`, `NoSuchDestination`, `InvalidArguments`."""
        order = await self._whole(cluster, order)
        turn = self._around.leaving.turn(cluster)
        async with turn:
            same = await self._same(cluster, order)
        if same is not None:
            return same
        await archiving_scope(self._around, cluster, order)
        async with turn:
            same = await self._same(cluster, order)
            if same is not None:
                return same
            return await self._make(RequestKind.ARCHIVING, cluster, order, "", places_of(order))

    async def status(self, cluster: str) -> ArchivingStatus:
        """How it stands, now."""
        running = await changing(self._around.store, cluster)
        setting = await setting_of(self._around.store, cluster)
        ordered = order_of(running) if running is not None else setting.order if setting is not None else None
        order = ordered if isinstance(ordered, ArchivingOrder) else None
        seen = await look(self._around, cluster)
        for one in seen:
            if one.view is not None and one.host_id:
                self._remembered[one.host_id] = one.view
        if order is None:
            order = told_order([one.view for one in seen if one.view is not None])
        enabled = order is not None and order.enabled
        nodes = [judged(one, order, self._remembered.get(one.host_id)) for one in seen]
        return ArchivingStatus(enabled, order, nodes, running.id if running is not None else "")

    async def logs(self, cluster: str, destination: str | None) -> dict[str, float | None]:
        """Address → up to when (unix seconds) what the node received is safe in the destination, None = in each place
        that it archives to. Nodes that never archived are left out. Raises `NoSuchDestination`."""
        named = destination not in (None, ON_SERVER)
        if named and await self._around.store.destinations.get(cluster, str(destination)) is None:
            raise NoSuchDestination(str(destination))
        nodes = (await self.status(cluster)).nodes
        return {node.address: safe_in(node, destination) for node in nodes if node.safe}

    def seen(self, cluster: str) -> list[NodeArchiving]:
        """The nodes at the last look; empty while nobody archives by anybody's order."""
        return self._watch.seen.get(cluster, [])

    async def _always(self) -> None:
        await self._watch.look_always()

    async def _whole(self, cluster: str, order: ArchivingOrder) -> ArchivingOrder:
        """The order with what it leaves as it is. Raises for destinations that can't be archived to."""
        for copy in order.copies:
            place = await self._around.store.destinations.get(cluster, copy.destination)
            if place is None:
                raise NoSuchDestination(copy.destination)
            if place.one_shot:
                raise InvalidArguments(
                    f"«destinations» names {place.id}, which is forgotten after its first backup (delete_this)",
                    field="destinations",
                )
        setting = await setting_of(self._around.store, cluster)
        if order.enabled and not order.directory and setting is not None and setting.order.enabled:
            return msgspec.structs.replace(order, directory=setting.order.directory)
        return order

    async def _same(self, cluster: str, order: ArchivingOrder) -> str | None:
        """The running request of the same order. Raises while anything runs that this must not meet."""
        running = await changing(self._around.store, cluster)
        if running is not None:
            if order_of(running) == order:
                return running.id
            raise ArchivingChanging(
                f"the request {running.id} is switching archiving, in another way", request=running.id
            )
        await self._conflicts.refuse_stopping(cluster)
        return None

    async def _trim(self, cluster: str, order: TrimLogsOrder) -> str:
        async with self._around.leaving.turn(cluster):
            known = [ON_SERVER, *(place.id for place in await self._around.store.destinations.all(cluster))]
            order = TrimLogsOrder([place for place in order.places if place in known])
            return await self._make(RequestKind.TRIM_LOGS, cluster, order, None, order.places)
