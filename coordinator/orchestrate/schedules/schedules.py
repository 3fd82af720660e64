"""Schedules of backups, followed. In: the store's schedules, and the time. Out: requests of what is due, each once.

A look decides by `coordinator.schedule.decision`, keeps what it decided, and only then begins it beside the next looks:
an agent that hangs keeps no other schedule waiting. Whoever changes a schedule replaces the version that he read, or
reads it again: the API, a look, and a request's beginning never undo each other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence, Set
from types import TracebackType
from typing import Any

import msgspec
import structlog

from coordinator.model.errors import NoSuchSchedule
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule
from coordinator.model.schedules import BackupJob, CopyRetry, Missed, Schedule, ScheduledRun, Timetable
from coordinator.orchestrate.beside import Beside
from coordinator.orchestrate.protocol import Orchestrator
from coordinator.orchestrate.schedules.named_tables import refuse_unknown
from coordinator.orchestrate.schedules.retries import CopyRetries
from coordinator.orchestrate.schedules.runs import STARTING, TOO_LATE, ScheduledRuns, is_over
from coordinator.orchestrate.side_by_side import unless
from coordinator.schedule.decision import Decision, add_missed, decide
from coordinator.schedule.occurrences import shown
from coordinator.store.protocol import Store
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

SHORTEST_PAUSE = 0.05
"""Seconds between two looks at least."""


class ScheduleTiming(msgspec.Struct, frozen=True):
    """`look`: seconds between two looks at most: a machine that slept, or a clock that was set, is noticed so soon.
    `grace`: how long after the start a run that may go on without nodes waits for all of them.
    `retries`, `retry_delay`: how often destinations that a run did not reach are tried again, and after how long."""

    look: float = 5.0
    grace: float = 120.0
    retries: int = 3
    retry_delay: float = 3_600.0


USUAL = ScheduleTiming()


class JobSchedules(Beside):
    """Use as `async with JobSchedules(…)`: inside, what is due runs. Implements
    `coordinator.orchestrate.protocol.ScheduleControl`. `pause` sleeps."""

    def __init__(
        self,
        store: Store,
        orchestrator: Orchestrator,
        clusters: Collection[str],
        clock: Callable[[], float],
        timing: ScheduleTiming = USUAL,
        pause: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._orchestrator = orchestrator
        self._clusters = clusters
        self._clock = clock
        self._timing = timing
        self._pause = pause
        self._runs = ScheduledRuns(store, orchestrator, clock, timing.grace)
        self._retries = CopyRetries(store, orchestrator, clock, timing.retries, timing.retry_delay)
        self._asked = asyncio.Event()
        self._begins: dict[str, asyncio.Task[None]] = {}
        """by request: what is being begun"""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        for task in self._begins.values():
            task.cancel()
        await asyncio.gather(*self._begins.values(), return_exceptions=True)

    async def all(self, cluster: str) -> list[Schedule]:
        """The cluster's schedules, oldest first."""
        return await self._store.schedules.of(cluster)

    async def get(self, cluster: str, schedule_id: str) -> Schedule:
        """Raises `NoSuchSchedule`."""
        found = await self._store.schedules.get(cluster, schedule_id)
        if found is None:
            raise NoSuchSchedule(schedule_id)
        return found

    async def add(self, schedule: Schedule, rules: Sequence[KeptRule] = ()) -> None:
        """Keep a new one with its rules of retention and follow it; durable when it returns. Raises
        `NoSuchDestination`, `DestinationInUse` for one that is about to go, and for keyspaces what
        `coordinator.orchestrate.schedules.named_tables.refuse_unknown` raises."""
        await refuse_unknown(self._orchestrator, schedule.cluster, schedule.id, schedule.job)
        await self._put(schedule, rules, frozenset())
        self._asked.set()

    async def change(
        self,
        cluster: str,
        schedule_id: str,
        timetable: Timetable,
        job: BackupJob,
        params: dict[str, Any],
        rules: Sequence[KeptRule] = (),
    ) -> None:
        """From now on, with these rules of retention in the same write. What came due by then is decided by the former
        timetable in the same write, so that a change neither loses nor doubles a run; one that waits goes on waiting,
        and is of the new job. Raises `NoSuchSchedule`, and of what the job names anew what `add` raises."""

        async def changed(schedule: Schedule) -> Schedule:
            now = self._clock()
            settled, _ = await self._looked_at(schedule, now)
            decided = settled.decided if timetable == schedule.timetable else now
            return msgspec.structs.replace(settled, timetable=timetable, job=job, params=params, decided=decided)

        known = await self.get(cluster, schedule_id)
        await refuse_unknown(self._orchestrator, cluster, schedule_id, job, known.job)
        if await self._replace(cluster, schedule_id, changed, rules) is None:
            raise NoSuchSchedule(schedule_id)
        self._asked.set()

    async def remove(self, cluster: str, schedule_id: str) -> None:
        """Forget it; in the same write its id retains all, whatever the rules of its places say: of a schedule that is
        gone nothing goes by itself. Raises `NoSuchSchedule`."""
        if not await self._store.schedules.remove(cluster, schedule_id):
            raise NoSuchSchedule(schedule_id)

    async def look(self) -> float | None:
        """Decide what is due of every schedule and begin it; when to look again at the latest (unix seconds). What is
        wrong with one schedule keeps no other from its run."""
        wakes = []
        for cluster in self._clusters:
            for schedule in await self._store.schedules.of(cluster):
                try:
                    wakes.append(await self._look_at(schedule))
                except HelenusError as error:
                    log.warning("a schedule can't be followed now", schedule=schedule.id, **error.as_dict())
                except Exception:
                    log.exception("a schedule can't be followed", cluster=cluster, schedule=schedule.id)
        return min((wake for wake in wakes if wake is not None), default=None)

    async def begun(self) -> None:
        """Return once all that is being begun just now has begun, or could not."""
        await asyncio.gather(*self._begins.values(), return_exceptions=True)

    async def _always(self) -> None:
        while True:
            self._asked.clear()
            wait = self._timing.look
            try:
                wake = await self.look()
                wait = wait if wake is None else min(wait, wake - self._clock())
            except Exception:  # the store fails now: the next look is another one's
                log.exception("schedules can't be looked at", again_seconds=wait)
            await unless(self._asked, self._pause(max(wait, SHORTEST_PAUSE)))

    async def _look_at(self, schedule: Schedule) -> float | None:
        now = self._clock()
        seen, decision = await self._looked_at(schedule, now)
        if seen != schedule:
            seen = msgspec.structs.replace(seen, version=schedule.version + 1)
            if not await self._store.schedules.put(seen):
                return now  # somebody changed it meanwhile: by that it is looked at again
        if seen.run is not None and seen.run.state == STARTING:
            self._begin(seen.run.request, self._begin_run(seen, seen.run))
        for retry in seen.retries:
            if retry.request:
                self._begin(retry.request, self._begin_retry(seen, retry))
        return decision.wake

    async def _looked_at(self, schedule: Schedule, now: float) -> tuple[Schedule, Decision]:
        """The schedule with all that is to be decided of it now; nothing is kept or begun yet."""
        run, retries, succeeded = schedule.run, schedule.retries, schedule.succeeded
        if run is not None:
            run = await self._runs.followed(run)
            if is_over(run) and not is_over(schedule.run):
                retries = await self._retries.after(schedule, run)
                if run.state == RequestState.SUCCESS and not run.partial:
                    succeeded = now
        followed = [await self._retries.followed(schedule, retry) for retry in retries]
        untouched = schedule.run is None and schedule.waiting is None and not schedule.missed
        if untouched and now < schedule.decided:
            # Made while the clock was ahead. Nothing of it is decided yet: nothing can come twice.
            log.warning("the clock was set back behind the beginning of a schedule", **_named(schedule))
            schedule = msgspec.structs.replace(schedule, decided=now)
        decision = decide(schedule.timetable, schedule.decided, schedule.waiting, now, busy=not is_over(run))
        if decision.set_back:
            log.warning("the clock was set back behind what a schedule has done", **_named(schedule))
        new = [msgspec.structs.replace(missed, at=now) for missed in decision.missed]
        for missed in new:
            self._tell(schedule, missed)
        if decision.waiting is not None and schedule.waiting is None:
            log.warning("a scheduled backup waits for the end of the one before it", **_named(schedule))
        if decision.run is not None:
            run = await self._runs.made(schedule, decision.run)
        return (
            msgspec.structs.replace(
                schedule,
                decided=decision.decided,
                waiting=decision.waiting,
                run=run,
                missed=add_missed(schedule.missed, new, schedule.timetable),
                succeeded=succeeded,
                retries=[retry for retry in followed if retry is not None],
            ),
            decision,
        )

    def _begin(self, request: str, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside the looks, unless that is being done."""
        if request in self._begins:
            work.close()
            return
        task = asyncio.create_task(work, name=f"begin {request}")
        self._begins[request] = task
        task.add_done_callback(lambda _: self._begins.pop(request, None))

    async def _begin_run(self, schedule: Schedule, run: ScheduledRun) -> None:
        try:
            known = await self._store.schedules.get(schedule.cluster, schedule.id)
            if known is None or known.run != run:
                return  # deleted since the look: nobody wants it any more
            begun = await self._runs.begun(schedule, run)
            lost = [Missed(run.due.at, run.due.at, 1, begun.message, begun.given_up)] if begun.state == TOO_LATE else []

            async def settled(known: Schedule) -> Schedule:
                if known.run != run:
                    return known
                missed = add_missed(known.missed, lost, known.timetable)
                return msgspec.structs.replace(known, run=begun, missed=missed)

            await self._replace(schedule.cluster, schedule.id, settled)
            for missed in lost:
                self._tell(schedule, missed)
            if begun.state != STARTING:  # else the next look is soon enough
                self._asked.set()
        except Exception:  # it stays as it is, and the next look begins it again
            log.exception("a scheduled backup could not be begun", **_named(schedule))

    async def _begin_retry(self, schedule: Schedule, retry: CopyRetry) -> None:
        try:
            begun = await self._retries.begun(schedule, retry)
            if begun == retry:
                return

            async def settled(known: Schedule) -> Schedule:
                changed = [begun if each == retry else each for each in known.retries]
                return msgspec.structs.replace(known, retries=[each for each in changed if each is not None])

            await self._replace(schedule.cluster, schedule.id, settled)
        except Exception:  # it stays as it is, and the next look begins it again
            log.exception("a copy could not be tried again", **_named(schedule))

    async def _replace(
        self,
        cluster: str,
        schedule_id: str,
        change: Callable[[Schedule], Awaitable[Schedule]],
        rules: Sequence[KeptRule] = (),
    ) -> Schedule | None:
        """The changed schedule, durable; None when there is no such schedule any more."""
        while True:
            known = await self._store.schedules.get(cluster, schedule_id)
            if known is None:
                return None
            changed = await change(known)
            if changed == known and not rules:
                return known
            changed = msgspec.structs.replace(changed, version=known.version + 1)
            if await self._put(changed, rules, frozenset(known.job.places)):
                return changed

    async def _put(self, schedule: Schedule, rules: Sequence[KeptRule], named: Set[str]) -> bool:
        """As `Schedules.put`. A destination that a kept schedule has `named` stays; what it names now for the first
        time may be about to go: so that is looked up and kept while nothing goes."""
        new = {copy.destination for copy in schedule.job.copies} - named
        if not new:
            return await self._store.schedules.put(schedule, rules)
        async with self._orchestrator.staying(schedule.cluster, sorted(new)):
            return await self._store.schedules.put(schedule, rules)

    def _tell(self, schedule: Schedule, missed: Missed) -> None:
        zone = schedule.timetable.zone
        span = {"first": shown(missed.first, zone), "last": shown(missed.last, zone), "count": missed.count}
        log.warning("scheduled backups are skipped", **_named(schedule), **span, why=missed.why)


def _named(schedule: Schedule) -> dict[str, str]:
    return {"cluster": schedule.cluster, "schedule": schedule.id}
