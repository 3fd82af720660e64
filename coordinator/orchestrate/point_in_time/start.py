"""Checks and restores to a point as the API orders them. In: orders. Out: the request that carries each out, or the
error that refuses it at once.

The same restore again is the running request, or goes on with the job of one that stopped, be it one that only the
agents know of: its coordinator's state was lost, or it was another one's.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from agent.wire.node import Tables
from coordinator.model.errors import NoSuchRequest
from coordinator.model.orders import Order, PointInTimeOrder, places_of
from coordinator.model.requests import Request, RequestKind, RequestState, order_of
from coordinator.orchestrate.conflicts import Conflicts
from coordinator.orchestrate.errors import RestoreRunning, StateOnThisCluster
from coordinator.orchestrate.later_restores import changed_since
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.cancel import refuse_too_late
from coordinator.orchestrate.point_in_time.check import refuse_keyspaces
from coordinator.orchestrate.point_in_time.elsewhere import no_snapshot
from coordinator.orchestrate.point_in_time.errors import StateAway
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.point_in_time.half_way import HalfWay, gone_past, is_of, last_half_way, unfinished
from coordinator.orchestrate.point_in_time.scope import asked_tables
from coordinator.orchestrate.point_in_time.snapshots import candidates
from coordinator.orchestrate.point_in_time.take_over import TakeOver
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE, JobSteps, job_of
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.topology import cluster_nodes

LOOK_SECONDS = 0.05


class Make(Protocol):
    """Makes a request durable and begins it: FleetOrchestrator.make."""

    def __call__(
        self,
        kind: RequestKind,
        cluster: str,
        order: Order,
        tag: str | None,
        destinations: list[str],
        keyspaces: Tables | None = None,
        job: str | None = None,
        warnings: Sequence[str] = (),
    ) -> Awaitable[str]: ...


class PointsInTime:
    """Implements `coordinator.orchestrate.protocol.Points`."""

    def __init__(self, around: Surroundings, conflicts: Conflicts, make: Make, take_over: TakeOver) -> None:
        self._around = around
        self._conflicts = conflicts
        self._make = make
        self._take_over = take_over

    async def check(self, cluster: str, order: PointInTimeOrder) -> Request:
        """Look whether the order can be carried out: the ended request. Starts nothing. Raises `NoSnapshot`,
        `KeyspaceRefused`, `NoSuchDestination` at once."""
        await self._refuse_at_once(cluster, order)
        async with self._around.leaving.turn(cluster):
            request_id = await self._make(RequestKind.PIT_CHECK, cluster, order, None, places_of(order))
        while True:
            request = await self._around.store.requests.get(request_id)
            if request is None:
                raise NoSuchRequest(request_id)
            if request.state is not RequestState.RUNNING:
                return request
            await asyncio.sleep(LOOK_SECONDS)

    async def start(self, cluster: str, order: PointInTimeOrder, warnings: Sequence[str] = ()) -> str:
        """Id of the request, a new one with these warnings. Raises as `check`, `ArchivingChanging`,
        `RestoreRunning` while any other restore runs, also when force comes to the same one that runs without, and
        `JobUnfinished` without force while one to another point stopped half-way; and for a new one
        `StateOnThisCluster`, and `StateAway` where this goes on apart from the state."""
        ended = await self._take_over.learn(cluster, order)
        half = await self._half_way(cluster, ended)
        goes_on = half is not None and is_of(half.request, order)
        if not goes_on and not _runs(await self._former(cluster, order)):
            await self._refuse_own_state(cluster, order)
            await self._refuse_at_once(cluster, order)
        async with self._around.leaving.turn(cluster):
            former = await self._former(cluster, order)
            if former is not None and former.state is RequestState.RUNNING:
                _refuse_later_force(former, order)
                return former.id
            await self._conflicts.refuse_restarts(cluster)
            await self._conflicts.refuse_stopping(cluster)
            half = await self._half_way(cluster, ended)
            if half is not None and not is_of(half.request, order):
                if not order.force:
                    raise unfinished(half)
                warnings = [*warnings, gone_past(half)]
                half = None
            if half is None:
                self._refuse_apart()
            tag, keyspaces, job = None, asked_tables(order), None
            if half is not None:
                tag, keyspaces, job = half.request.tag, half.request.keyspaces, half.job
                later = await changed_since(self._around.store, half.request, job, [RequestKind.RESTORE])
                warnings = [*warnings, *([] if later is None else [stays_changed(later)])]
            kind, places = RequestKind.POINT_IN_TIME, places_of(order)
            return await self._make(kind, cluster, order, tag, places, keyspaces, job, warnings)

    async def _half_way(self, cluster: str, ended: Mapping[str, Found]) -> HalfWay | None:
        requests = await self._around.store.requests.find(cluster=cluster, kind=RequestKind.POINT_IN_TIME)
        return last_half_way(requests, ended)

    async def _refuse_at_once(self, cluster: str, order: PointInTimeOrder) -> None:
        refuse_keyspaces(order)
        places = Places(self._around, cluster)
        await places.optional(order.pit_destination)
        listed = await places.backups(await places.optional(order.destination))
        tags, passed_over = candidates(listed, order.pit_micros, asked_tables(order))
        if not tags:
            raise await no_snapshot(self._around, cluster, order, listed, passed_over)

    def _refuse_apart(self) -> None:
        if self._around.is_apart:
            raise StateAway("the coordinator's state can't be asked, and no such restore stopped half-way")

    async def _refuse_own_state(self, cluster: str, order: PointInTimeOrder) -> None:
        """Nodes that are down are in the ring of the others; an agent whose node is down remembers the ring."""
        self._refuse_apart()
        state_on, keyspace = self._around.state_on, self._around.state_keyspace
        if not state_on or (order.keyspaces and keyspace not in order.keyspaces):
            return
        agents = await self._around.registry.refresh(cluster, self._around.timing.report_age)
        both = sorted(node.address for node in cluster_nodes(agents) if node.host_id in state_on)
        if both:
            raise StateOnThisCluster(
                f"{keyspace}, which is to be restored too, is where this coordinator keeps its own state",
                nodes=both,
            )

    async def _former(self, cluster: str, order: PointInTimeOrder) -> Request | None:
        """The newest request of the same restore."""
        same: Request | None = None
        kind = RequestKind.POINT_IN_TIME
        for request in await self._around.store.requests.find(cluster=cluster, kind=kind):
            if is_of(request, order):
                same = request
        return same


async def refuse_cancel(around: Surroundings, request: Request, *, force: bool) -> None:
    """Raise `ClientsLetIn` when a restore to a point can't be undone any more, `PastThePointOfReturn` when only by
    force."""
    steps = JobSteps(around.store, job_of(request))
    noted = [step for step in (IRREVOCABLE, S.OPENING) if await steps.noted(step)]
    refuse_too_late(noted, request.id, force=force)


def stays_changed(later: Request) -> str:
    """The warning of a restore that goes on although an import came since."""
    return (
        f"the restore {later.id} changed the same tables since this one stopped: what it brought stays; once this one "
        "has ended send it again, to bring the tables to the point"
    )


def _runs(request: Request | None) -> bool:
    return request is not None and request.state is RequestState.RUNNING


def _refuse_later_force(running: Request, order: PointInTimeOrder) -> None:
    known = order_of(running)
    if order.force and isinstance(known, PointInTimeOrder) and not known.force:
        raise RestoreRunning(
            f"the same restore {running.id} runs without force; cancel it (with force), then send this one again",
            request=running.id,
            tables=[],
        )
