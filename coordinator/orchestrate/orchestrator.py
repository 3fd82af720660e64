"""What the API calls: orders in, requests made durable and begun, listings and live views out."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from types import TracebackType
from typing import Self

import msgspec
import structlog

from agent.wire.destinations import ON_SERVER
from coordinator.model.asking import asked_by
from coordinator.model.cluster import Backup, ClusterNode
from coordinator.model.errors import NoSuchRequest, RequestFinished
from coordinator.model.orders import (
    BackupOrder,
    DeleteOrder,
    DestinationOrder,
    Order,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
    is_same_delete,
    is_same_restore,
    places_of,
)
from coordinator.model.requests import JOB, RESUMABLE, NodePart, Request, RequestKind, RequestState, order_of, spec_of
from coordinator.orchestrate.backup import scope_of
from coordinator.orchestrate.capable import refuse_too_old
from coordinator.orchestrate.conflicts import Conflicts
from coordinator.orchestrate.delete.delete import delete_scope
from coordinator.orchestrate.delete.marks import refuse_too_late
from coordinator.orchestrate.destination_changes import DestinationChanges
from coordinator.orchestrate.errors import PastThePointOfReturn, RestoreRunning
from coordinator.orchestrate.later_restores import changed_since
from coordinator.orchestrate.listings import Listings
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.owed_cancels import OwedCancels
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time.start import PointsInTime, refuse_cancel
from coordinator.orchestrate.point_in_time.stopped import stopped_by
from coordinator.orchestrate.point_in_time.take_over import TakeOver
from coordinator.orchestrate.protocol import DestinationChange
from coordinator.orchestrate.requests import RunningRequests, activity_of
from coordinator.orchestrate.resting import RestingRefusals
from coordinator.orchestrate.restore.again import why_begin_anew
from coordinator.orchestrate.restore.job_steps import CHANGED, IRREVOCABLE, job_of
from coordinator.orchestrate.restore.scope import restore_scope_of
from coordinator.orchestrate.run import WARNINGS, Surroundings
from coordinator.orchestrate.suspects import Suspects
from coordinator.orchestrate.sync_scope import sync_scope
from coordinator.orchestrate.topology import cluster_nodes
from kit.errors import HelenusError

log = structlog.get_logger(__name__)


class FleetOrchestrator:
    """Use as `async with FleetOrchestrator(around)`; implements `coordinator.orchestrate.protocol.Orchestrator`."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._requests = RunningRequests(around)
        self._conflicts = Conflicts(around)
        self._resting = RestingRefusals(around)
        self._suspects = Suspects(around)
        self._listings = Listings(around, self.progress)
        self._stack = AsyncExitStack()
        self._turn = around.leaving.turn
        """An order is judged before its cluster's turn, for agents and stores are asked then, and may hang. What only
        this coordinator's requests decide is looked up in the turn in which its own is made, so that two never miss
        each other; what else changed since, its request finds when it begins by judging again."""
        self._changes = DestinationChanges(around, self._tell_agents)
        self._take_over = TakeOver(around, self._requests.begin)
        self._points = PointsInTime(around, self._conflicts, self.make, self._take_over)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            cut_off = await self._changes.mend()
            await stack.enter_async_context(self._suspects)
            await stack.enter_async_context(self._requests)
            await stack.enter_async_context(OwedCancels(self._around))
            await stack.enter_async_context(self._take_over)
            for cluster, order in cut_off:
                await self._tell_agents(cluster, order, [])
                await self._changes.noted_done(cluster, order.id)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def points(self) -> PointsInTime:
        """Restores to a point in time."""
        return self._points

    async def start_backup(
        self, cluster: str, order: BackupOrder, *, request_id: str | None = None, warnings: Sequence[str] = ()
    ) -> str:
        """Raises what `coordinator.orchestrate.backup.scope_of` raises, and `ArchivingChanging` where nodes are missing
        while some are restarted."""
        async with self._conflicts.missing_by_restarts(cluster):
            scope = await scope_of(self._around, cluster, order)
        async with self._turn(cluster):
            places = [*([ON_SERVER] if order.keep else []), *(copy.destination for copy in order.copies)]
            told = [
                f"the restore {request.id} was changing {', '.join(shared)} meanwhile: this backup may hold tables "
                "that were emptied or restored in part"
                for request, shared in await self._conflicts.overlapping(cluster, scope.tables)
            ]
            tables, kind = scope.tables, RequestKind.BACKUP
            told = [*warnings, *told]
            return await self.make(
                kind, cluster, order, order.tag, places, tables, warnings=told, request_id=request_id
            )

    async def start_sync(
        self, cluster: str, order: SyncOrder, *, request_id: str | None = None, warnings: Sequence[str] = ()
    ) -> str:
        """Raises what `coordinator.orchestrate.sync_scope.sync_scope` raises, and `TagInUse` while another request
        writes the same backup to one of the destinations (to undo one would mark what the other has put), or where it
        is copied from: there it isn't whole yet."""
        users = {RequestKind.DELETE, RequestKind.SYNC, RequestKind.BACKUP}
        async with self._turn(cluster):
            await self._conflicts.refuse_while(cluster, order, order.tag, users)
        async with self._conflicts.missing_by_restarts(cluster):
            scope = await sync_scope(self._around, cluster, order)
        async with self._turn(cluster):
            await self._conflicts.refuse_while(cluster, order, order.tag, users)
            places, kind = [copy.destination for copy in order.copies], RequestKind.SYNC
            tables = scope.tables
            return await self.make(
                kind, cluster, order, order.tag, places, tables, warnings=warnings, request_id=request_id
            )

    async def start_delete(self, cluster: str, order: DeleteOrder) -> str:
        """The same delete again while it runs: its id. Raises what `coordinator.orchestrate.delete.delete.delete_scope`
        raises, `TagInUse`, `RestoreUnfinished` when a restore that stopped half-way rests on it, and `DestinationInUse`
        when it is to remove a destination that is being changed. A dry run deletes nothing: it is in nobody's way."""
        places = [order.destination or ON_SERVER]
        if order.dry_run:
            await delete_scope(self._around, cluster, order)
            async with self._turn(cluster):
                return await self.make(RequestKind.DELETE_DRY_RUN, cluster, order, order.tag, places)
        async with self._turn(cluster):
            same = await self._same_delete(cluster, order)
        if same is not None:
            return same
        await delete_scope(self._around, cluster, order)
        looked = await self._resting.look(cluster, order)
        async with self._turn(cluster):
            same = await self._same_delete(cluster, order)
            if same is not None:
                return same
            await self._resting.refuse(cluster, order, looked)
            if order.remove_destination and order.destination is not None:
                await self._changes.refuse_changing(cluster, order.destination)
            return await self.make(RequestKind.DELETE, cluster, order, order.tag, places)

    async def start_scrub(self, cluster: str, order: ScrubOrder) -> str:
        """The id of a running scrub of the destination, if there is one. Raises `NoSuchDestination`."""
        async with self._turn(cluster):
            kind, running = RequestKind.SCRUB, RequestState.RUNNING
            for request in await self._around.store.requests.find(cluster=cluster, kind=kind, state=running):
                if order.destination in request.destinations:
                    return request.id
            return await self.make(kind, cluster, order, "", [order.destination])

    async def start_restore(self, cluster: str, order: RestoreOrder) -> str:
        """The same restore again: while it runs, its id; after it stopped past the point of no return, a new request
        that goes on with its job. Raises what `coordinator.orchestrate.restore.scope.restore_scope_of` raises, and
        `RestoreRunning` while another one changes any of the same tables."""
        fallen = await self._fallen(cluster, order)
        async with self._turn(cluster):
            same, _ = await self._same_restore(cluster, order, fallen)
        if same is not None:
            return same
        async with self._conflicts.missing_by_restarts(cluster):
            scope = await restore_scope_of(self._around, cluster, order)
        async with self._turn(cluster):
            same, warnings = await self._same_restore(cluster, order, fallen)
            if same is not None:
                return same
            await self._conflicts.refuse_overlapping(cluster, scope.tables)
            return await self.make(
                RequestKind.RESTORE,
                cluster,
                order,
                order.tag,
                [order.destination or ON_SERVER],
                scope.tables,
                warnings=warnings,
            )

    async def start_destination_change(self, cluster: str, order: DestinationOrder) -> DestinationChange:
        """Raises what `coordinator.orchestrate.destination_changes.DestinationChanges.start` raises."""
        return await self._changes.start(cluster, order)

    def staying(self, cluster: str, destinations: Collection[str]) -> AbstractAsyncContextManager[None]:
        """See `coordinator.orchestrate.destination_changes.DestinationChanges.staying`."""
        return self._changes.staying(cluster, destinations)

    async def cancel(self, request_id: str, *, force: bool) -> None:
        """Ask a running request to stop. Raises `NoSuchRequest`, `RequestFinished`, `PastThePointOfReturn`,
        `ClientsLetIn`, `DeletedAlready`."""
        run = self._requests.running(request_id)
        request = await self._around.store.requests.get(request_id)
        if request is None:
            raise NoSuchRequest(request_id)
        if run is None or request.state is not RequestState.RUNNING:
            raise RequestFinished(f"the request has ended: {request.state}", request=request_id)
        async with run.guard:
            if request.kind is RequestKind.DELETE:
                await refuse_too_late(self._around.store, self._around.reports, request)
            if request.kind is RequestKind.POINT_IN_TIME:
                await refuse_cancel(self._around, request, force=force)
            if request.kind is RequestKind.RESTORE and not force and await self._irrevocable(request):
                raise PastThePointOfReturn(await self._why_no_return(request), request=request_id)
            kept = await self._around.store.requests.ask_cancel(request_id, force=force)
            if kept is not None:
                run.request = msgspec.structs.replace(run.request, cancel=kept.cancel)
            run.cancelled.set()

    async def list_backups(self, cluster: str, destination: str | None) -> list[Backup]:
        """Every undeleted backup there."""
        return await self._listings.backups(cluster, destination)

    async def nodes(self, cluster: str) -> list[ClusterNode]:
        """Ring members and agents, joined by host id."""
        registry = self._around.registry
        agents = await registry.recent(cluster, self._around.timing.report_age)
        by = None
        if not all(agent.cassandra_up for agent in agents):
            # Who looks at nodes is told of them also while the state fails.
            with suppress(HelenusError):
                by = await stopped_by(self._around.store, cluster)
        found = cluster_nodes(agents, by=by)
        if any(node.host_id and node.up is None for node in found):
            # Only now it is worth what nodetool costs.
            found = cluster_nodes(agents, await registry.seen_up(cluster), by)
        return found

    async def keyspaces(self, cluster: str) -> dict[str, list[str]]:
        """Live keyspaces and their tables."""
        present = await muster(self._around, cluster)
        return {keyspace: sorted(view.tables) for keyspace, view in present.keyspaces.items()}

    async def progress(self, request_id: str) -> list[NodePart]:
        """The nodes' parts of a running request, by address; of an ended one what the store kept."""
        run = self._requests.running(request_id)
        if run is not None:
            return self._suspects.name_in(run.cluster, await run.parts())
        return await self._around.store.requests.parts(request_id)

    async def _tell_agents(self, cluster: str, order: DestinationOrder, warnings: Sequence[str]) -> str:
        return await self.make(RequestKind.DESTINATION, cluster, order, None, [order.id], warnings=warnings)

    async def make(
        self,
        kind: RequestKind,
        cluster: str,
        order: Order,
        tag: str | None,
        destinations: list[str],
        keyspaces: dict[str, list[str]] | None = None,
        job: str | None = None,
        warnings: Sequence[str] = (),
        request_id: str | None = None,
    ) -> str:
        """Durable first, then begun: a coordinator killed in between goes on with it. Call it in the cluster's turn.
        `request_id`: of whoever may ask twice; the request that has it, whatever became of it, is not made again.
        Raises `DestinationInUse` for a place that is about to go, `NoSuchDestination` for one that went while the order
        was judged, `AgentsTooOld`. A restore to a point that goes on needs none: what it began with is on the nodes."""
        if request_id is not None and await self._around.store.requests.get(request_id) is not None:
            return request_id
        if kind is not RequestKind.DESTINATION and not (kind is RequestKind.POINT_IN_TIME and job is not None):
            touched = list(dict.fromkeys([*destinations, *places_of(order)]))
            await self._changes.refuse_leaving(cluster, touched)
            for place in touched:
                await Places(self._around, cluster).optional(None if place == ON_SERVER else place)
        if job is None:
            refuse_too_old(self._around.registry, cluster, order)
        request = Request(
            id=request_id or str(uuid.uuid4()),
            kind=kind,
            cluster=cluster,
            state=RequestState.RUNNING,
            started=self._around.clock(),
            spec=spec_of(order),
            tag=tag,
            destinations=destinations,
            keyspaces=keyspaces or {},
            result={**({JOB: job} if job is not None else {}), **({WARNINGS: list(warnings)} if warnings else {})},
            asked_by=asked_by(),
        )
        await self._around.store.requests.create(request, await activity_of(self._around, request))
        log.info("request begins", request=request.id, kind=kind, cluster=cluster, tag=tag, asked_by=request.asked_by)
        self._requests.begin(request)
        return request.id

    async def _same_delete(self, cluster: str, order: DeleteOrder) -> str | None:
        """Id of the running request of the same delete. Raises `TagInUse` when another request needs the backup."""
        for request in await self._around.store.requests.find(
            cluster=cluster, kind=RequestKind.DELETE, state=RequestState.RUNNING, tag=order.tag
        ):
            if is_same_delete(order_of(request), order):
                return request.id
        users = {
            RequestKind.RESTORE,
            RequestKind.POINT_IN_TIME,
            RequestKind.SYNC,
            RequestKind.BACKUP,
            RequestKind.DELETE,
        }
        await self._conflicts.refuse_while(cluster, order, order.tag, users)
        return None

    async def _fallen(self, cluster: str, order: RestoreOrder) -> dict[str, str]:
        """The job of the same restore that stopped → why it can't be gone on with, as the nodes tell."""
        former = await self._former_restore(cluster, order)
        job = former.result.get(RESUMABLE) if former is not None else None
        why = await why_begin_anew(self._around, cluster, job) if isinstance(job, str) else None
        return {} if job is None or why is None else {job: why}

    async def _same_restore(
        self, cluster: str, order: RestoreOrder, fallen: Mapping[str, str]
    ) -> tuple[str | None, list[str]]:
        """Id of the same restore's request: of the one that runs, or of one that is made here and goes on with the job
        of the one that stopped, unless that has `fallen`. None: a new restore is needed, with these warnings. Raises
        `TagInUse`, `RestoreRunning`, also when force comes to one that runs without."""
        former = await self._former_restore(cluster, order)
        if former is not None and former.state is RequestState.RUNNING:
            _refuse_later_force(former, order)
            self._tell_ignored(former, order)
            return former.id, []
        await self._conflicts.refuse_while(cluster, order, order.tag, {RequestKind.DELETE})
        job = former.result.get(RESUMABLE) if former is not None else None
        if former is None or not isinstance(job, str) or not await self._around.store.requests.step(job, "scope"):
            return None, []
        await self._conflicts.refuse_overlapping(cluster, former.keyspaces)
        kinds = [RequestKind.RESTORE, RequestKind.POINT_IN_TIME]
        later = await changed_since(self._around.store, former, job, kinds)
        why = f"{later.id} changed the same tables since" if later is not None else fallen.get(job)
        if why is not None:
            owed = "what the result of the former calls owed stays owed, but for views, which this one makes"
            return None, [f"a new restore: {former.id} can't be gone on with, for {why}; {owed}"]
        places = [order.destination or ON_SERVER]
        made = await self.make(RequestKind.RESTORE, cluster, order, order.tag, places, former.keyspaces, job=job)
        return made, []

    def _tell_ignored(self, former: Request, order: RestoreOrder) -> None:
        """What the same restore that runs doesn't take over from the order sent again."""
        run, running = self._requests.running(former.id), order_of(former)
        names = ("throttle_bytes_per_second", "force", "force_schema")
        other = [name for name in names if getattr(order, name) != getattr(running, name)]
        if run is not None and other:
            options = ", ".join(other).replace("throttle_bytes_per_second", "throttle")
            run.warn(f"sent again while it ran with another {options}: that was not taken over")

    async def _former_restore(self, cluster: str, order: RestoreOrder) -> Request | None:
        """The newest request of the same restore, whatever it was forced or throttled to."""
        same: Request | None = None
        for request in await self._around.store.requests.find(cluster=cluster, kind=RequestKind.RESTORE, tag=order.tag):
            former = order_of(request)
            if isinstance(former, RestoreOrder) and is_same_restore(former, order):
                same = request
        return same

    async def _why_no_return(self, request: Request) -> str:
        steps = [await self._around.store.requests.step(job_of(request), step) for step in CHANGED]
        if any(step is not None for step in steps):
            return "the restore has changed tables; force stops it after the running batch"
        return (
            "the restore has sent the order that empties or changes tables, and doesn't know yet what became of it: it "
            "can't be called back; force stops the restore after it"
        )

    async def _irrevocable(self, request: Request) -> bool:
        return await self._around.store.requests.step(job_of(request), IRREVOCABLE) is not None


def _refuse_later_force(running: Request, order: RestoreOrder) -> None:
    """The id of a restore that runs without force would promise what never comes."""
    known = order_of(running)
    if order.force and isinstance(known, RestoreOrder) and not known.force:
        raise RestoreRunning(
            f"the same restore {running.id} runs without force; cancel it (with force), then send this one again",
            request=running.id,
            tag=running.tag,
            tables=sorted(f"{keyspace}.{table}" for keyspace, names in running.keyspaces.items() for table in names),
        )
