"""Running requests: a task each, begun when a request is made or found unfinished at the start, ended exactly once."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec
import structlog

from agent.wire.destinations import ON_SERVER
from coordinator.fleet.each import on_each
from coordinator.model.activity import ActivityEvent
from coordinator.model.commands import PostedCommand
from coordinator.model.destinations import description
from coordinator.model.orders import (
    ArchivingOrder,
    BackupOrder,
    DeleteOrder,
    DestinationOrder,
    PointInTimeOrder,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
    TrimLogsOrder,
)
from coordinator.model.requests import Request, RequestKind, RequestState, order_of
from coordinator.orchestrate.archiving.switch import SwitchFlow
from coordinator.orchestrate.archiving.trim import TrimFlow
from coordinator.orchestrate.backup import BackupFlow
from coordinator.orchestrate.delete.delete import DeleteFlow
from coordinator.orchestrate.delete.preview import DeletePreview
from coordinator.orchestrate.destinations import DestinationFlow
from coordinator.orchestrate.errors import RequestCancelled, foreseen
from coordinator.orchestrate.outcome import Outcome
from coordinator.orchestrate.point_in_time.checking import PitCheckFlow
from coordinator.orchestrate.point_in_time.flow import PointInTimeFlow
from coordinator.orchestrate.restore.restore import RestoreFlow
from coordinator.orchestrate.run import Run, Surroundings
from coordinator.orchestrate.scrub import ScrubFlow
from coordinator.orchestrate.sync import SyncFlow
from coordinator.orchestrate.until_kept import LONGEST_PAUSE
from coordinator.store.lasting import lasting
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

RECALL_SECONDS = 1.0
"""For which a start waits at most for the agents to tell what they had counted before."""

Flow = Callable[[], Coroutine[Any, Any, Outcome]]

EVENT_TYPES = {
    RequestKind.BACKUP: "backup",
    RequestKind.SYNC: "backup",
    RequestKind.DELETE: "delete",
    RequestKind.RESTORE: "restore",
    RequestKind.POINT_IN_TIME: "restore",
    RequestKind.SCRUB: "scrub",
    RequestKind.ARCHIVING: "archiving",
}


class RunningRequests:
    """Use as `async with RunningRequests(around)`: inside, unfinished requests go on and new ones can be begun."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    async def __aenter__(self) -> Self:
        recalled = []
        for request in await self._around.store.requests.find(state=RequestState.RUNNING):
            log.info("request goes on", request=request.id, kind=request.kind)
            self.begin(request)
            recalled.append(self._spawn(self._recall_progress(request), f"progress of {request.id}"))
        if recalled:
            # Who asks first is to see the counts of before, as far as agents answer at once.
            await asyncio.wait(recalled, timeout=RECALL_SECONDS)
        self._spawn(self._take_up(), "requests that nobody carries out")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        # Cut off where they stand: everything that counts is durable, and the next start goes on.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, request: Request) -> None:
        """Carry the (durable) request out in the background; one that is carried out already goes on. It waits for a
        state that can't be reached, for it fails by nothing that its work has to do with."""
        if request.id in self._runs:
            return
        around = self._around
        waiting = lasting(around.store, f"{request.kind} {request.id}", around.timing.retry_pause, lambda: self._over)
        run = Run(request, msgspec.structs.replace(around, store=waiting), around.store)
        self._runs[request.id] = run
        self._spawn(self._carry_out(run), f"{request.kind} {request.id}")
        self._around.news.set()

    def running(self, request_id: str) -> Run | None:
        """The run of a request that hasn't ended."""
        return self._runs.get(request_id)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _take_up(self) -> None:
        """Begin what the state has as running and nobody carries out here: the state kept it, and its answer was lost.
        What is so at two looks, for whoever is just making a request begins it."""
        idle: set[str] = set()
        while True:
            await asyncio.sleep(self._around.timing.take_up)
            try:
                running = await self._around.store.requests.find(state=RequestState.RUNNING)
            except HelenusError as error:
                log.warning("requests that nobody carries out can't be looked for", **error.as_dict())
                continue
            for request in running:
                if request.id in idle and request.id not in self._runs:
                    log.warning("a request that nobody carried out is begun", request=request.id, kind=request.kind)
                    self.begin(request)
            idle = {request.id for request in running if request.id not in self._runs}

    async def _recall_progress(self, request: Request) -> None:
        """Counts of before this start: the agents still know them. Only for people to see."""

        async def recall(command: PostedCommand) -> None:
            agent = await self._around.registry.agent_of(request.cluster, command.host_id)
            view = await agent.client.command(command.id)
            if request.id in self._runs:
                self._around.reports.learn(agent.url, view)

        commands = await self._around.store.commands.of(request.id)
        await on_each([command for command in commands if command.accepted], recall)

    async def _carry_out(self, run: Run) -> None:
        try:
            outcome = await flow_of(run)()
        except RequestCancelled as error:
            outcome = Outcome(RequestState.CANCELLED, error.message)
        except HelenusError as error:
            outcome = Outcome(RequestState.ERROR, error.message, error=error.as_dict())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("request failed in an unforeseen way", request=run.request.id)
            told = foreseen(error)
            outcome = Outcome(RequestState.ERROR, told.message, error=told.as_dict())
        finished, pause = self._around.clock(), self._around.timing.retry_pause
        while True:
            try:
                await self._end(run, outcome, finished)
                return
            except Exception:
                # Until its end is written the request runs, for everybody who asks and for what it keeps others from.
                log.exception("a request's end can't be written", request=run.request.id, again_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _end(self, run: Run, outcome: Outcome, finished: float) -> None:
        result = {**run.result, **outcome.result}
        if run.warnings:
            result["warnings"] = run.warnings
        ended_well = outcome.state is RequestState.SUCCESS or not run.aftermath
        request = msgspec.structs.replace(
            run.request,
            state=outcome.state,
            partial=outcome.partial,
            finished=finished,
            message=outcome.message if ended_well else f"{outcome.message}; {run.aftermath}",
            error=outcome.error,
            result=result,
        )
        events = await activity_of(self._around, request, outcome)
        parts = await run.parts(request)
        await self._around.store.requests.finish(request, parts, events, forget=sorted(run.forget))
        self._around.news.set()
        told = {
            "request": request.id,
            "kind": request.kind,
            "state": request.state,
            "message": request.message,
            "asked_by": request.asked_by,
        }
        if request.state is RequestState.ERROR:
            log.warning("request ended", **told, code=(request.error or {}).get("code"), partial=request.partial)
        else:
            log.info("request ended", **told)
        self._around.leaving.forgotten -= {(run.cluster, each) for each in run.forget}
        self._runs.pop(request.id, None)
        with suppress(HelenusError):
            self._around.reports.forget([command.id for command in await run.posted()])


def flow_of(run: Run) -> Flow:
    """The flow that carries out the request's order."""
    order = order_of(run.request)
    match order:
        case BackupOrder():
            return BackupFlow(run, order)
        case SyncOrder():
            return SyncFlow(run, order)
        case DeleteOrder():
            return DeletePreview(run, order) if order.dry_run else DeleteFlow(run, order)
        case RestoreOrder():
            return RestoreFlow(run, order)
        case PointInTimeOrder():
            return PitCheckFlow(run, order) if order.check else PointInTimeFlow(run, order)
        case ScrubOrder():
            return ScrubFlow(run, order)
        case ArchivingOrder():
            return SwitchFlow(run, order)
        case TrimLogsOrder():
            return TrimFlow(run, order)
        case DestinationOrder():
            return DestinationFlow(run, order)


async def activity_of(around: Surroundings, request: Request, outcome: Outcome | None = None) -> list[ActivityEvent]:
    """The request's entries in the activity log, one per destination; none for destination requests."""
    if request.kind not in EVENT_TYPES or request.tag is None:
        return []
    known = {event.destination["id"]: event for event in await around.store.requests.events_of(request.id)}
    events = []
    for destination_id in request.destinations:
        status, partial = str(request.state), request.partial
        if outcome is not None and destination_id in outcome.statuses and outcome.state is not RequestState.CANCELLED:
            status, partial = outcome.statuses[destination_id]
        former = known.get(destination_id)
        if former is not None:
            shown = former.destination
        else:
            on_server = destination_id == ON_SERVER
            kept = None if on_server else await around.store.destinations.get(request.cluster, destination_id)
            shown = description(kept) if on_server or kept is not None else {"id": destination_id}
        events.append(
            ActivityEvent(
                cluster=request.cluster,
                request=request.id,
                type=EVENT_TYPES[request.kind],  # type: ignore[arg-type]
                tag=request.tag,
                destination=shown,
                event_time=former.event_time if former is not None else int(request.started),
                status=status,
                keyspaces=request.keyspaces,
                partial=partial,
                deleted_at=former.deleted_at if former is not None else None,
            )
        )
    return events
