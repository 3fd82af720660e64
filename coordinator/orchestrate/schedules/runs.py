"""The run of a schedule: what is due becomes a request, once, and what its request came to is kept.

What makes it safe to be killed: the occurrence's decision, with the id and the order of its request, is durable before
the request is made; whoever finds it without an end makes the request of that id, and the one that is there is not made
again. So what keeps it from beginning only for now (nodes that don't answer yet) is tried again at each look under the
same id, as long as the run is in time.
"""

from collections.abc import Callable

import msgspec
import structlog

from coordinator.model.access import SCHEDULE
from coordinator.model.asking import asking
from coordinator.model.requests import RequestState
from coordinator.model.schedules import Due, Schedule, ScheduledRun
from coordinator.orchestrate.errors import foreseen
from coordinator.orchestrate.protocol import Orchestrator
from coordinator.schedule.decision import request_of
from coordinator.schedule.occurrences import shown
from coordinator.store.database import StoreFailed
from coordinator.store.protocol import Store
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

LATE_SECONDS = 10.0
"""From so much on it is said that a run is late."""
STARTING, RUNNING, REFUSED, GONE, TOO_LATE = "starting", "running", "refused", "gone", "too_late"


def is_over(run: ScheduledRun | None) -> bool:
    """Whether nothing of the run is under way or to come."""
    return run is None or run.state not in (STARTING, RUNNING)


class ScheduledRuns:
    """Makes runs, begins their requests and follows them; keeps nothing itself."""

    def __init__(self, store: Store, orchestrator: Orchestrator, clock: Callable[[], float], grace: float) -> None:
        """`grace`: so many seconds from now on a run that may go on without nodes waits for all of them: after a power
        cut coordinator and agents start together."""
        self._store = store
        self._orchestrator = orchestrator
        self._clock = clock
        self._grace = grace
        self._started = clock()

    async def made(self, schedule: Schedule, due: Due) -> ScheduledRun:
        """The run of an occurrence, to be kept before it is begun. A tag that was claimed for one that wasn't kept then
        is never used."""
        now = self._clock()
        tag, time = await self._store.requests.claim_tag(schedule.cluster, schedule.id, int(now))
        order = schedule.job.order(tag, time, schedule.id)
        return ScheduledRun(due, request_of(schedule.id, due.at), order, now)

    async def begun(self, schedule: Schedule, run: ScheduledRun) -> ScheduledRun:
        """The run once its request exists, or can't; `starting` with its reason while it can't only for now. Raises
        `StoreFailed`: then it is begun again while it is in time."""
        now = self._clock()
        if await self._store.requests.get(run.request) is None:
            if now > run.due.until:
                if run.message:
                    log.warning("a scheduled backup could not begin in time", **_named(schedule), why=run.message)
                    return msgspec.structs.replace(run, state=REFUSED, given_up=now)
                return msgspec.structs.replace(
                    run, state=TOO_LATE, given_up=now, message="the coordinator stopped before it began"
                )
            absent = await self._awaited(schedule.cluster, run, now)
            if absent:
                return msgspec.structs.replace(run, message=absent)
            late = now - run.due.at
            when = shown(run.due.at, schedule.timetable.zone)
            warnings = [f"it was due at {when} and began {late:.0f} s late"] if late > LATE_SECONDS else []
            try:
                with asking(SCHEDULE):
                    await self._orchestrator.start_backup(
                        schedule.cluster, run.order, request_id=run.request, warnings=warnings
                    )
            except StoreFailed:
                raise  # nobody knows whether the request was made
            except HelenusError as error:
                passing = error.retry != "never"
                if error.message != run.message:
                    again = {"again_until": shown(int(run.due.until), schedule.timetable.zone)} if passing else {}
                    log.warning(
                        "a scheduled backup can't begin", **_named(schedule), due=when, **again, **error.as_dict()
                    )
                if passing:
                    return msgspec.structs.replace(run, message=error.message)
                return msgspec.structs.replace(run, state=REFUSED, given_up=now, message=error.message)
            except Exception as error:
                log.exception("a scheduled backup could not begin", **_named(schedule), due=when)
                if await self._store.requests.get(run.request) is None:
                    return msgspec.structs.replace(run, state=REFUSED, given_up=now, message=foreseen(error).message)
            else:
                told = {"due": when, "late_seconds": round(late), "request": run.request, "tag": run.order.tag}
                log.info("a scheduled backup begins", **_named(schedule), **told)
        return msgspec.structs.replace(run, state=RUNNING, message="", began=now if run.message else run.began)

    async def _awaited(self, cluster: str, run: ScheduledRun, now: float) -> str:
        """Which nodes a run that would go on without them still waits for, "" = none."""
        if not run.order.partial or not 0 <= now - self._started < self._grace:
            return ""
        try:
            nodes = await self._orchestrator.nodes(cluster)
            absent = [node.address for node in nodes if not node.agent_up or node.up is False]
        except StoreFailed:
            raise
        except HelenusError as error:
            return error.message
        return f"the coordinator has just started: waiting for {', '.join(absent)}" if absent else ""

    async def followed(self, run: ScheduledRun) -> ScheduledRun:
        """The run as its request says that it is."""
        if run.state != RUNNING:
            return run
        request = await self._store.requests.get(run.request)
        if request is None:
            return msgspec.structs.replace(run, state=GONE, message="its request is not kept any more")
        if request.state is RequestState.RUNNING:
            return run
        return msgspec.structs.replace(run, state=request.state.value, partial=request.partial, message=request.message)


def _named(schedule: Schedule) -> dict[str, str]:
    return {"cluster": schedule.cluster, "schedule": schedule.id}
