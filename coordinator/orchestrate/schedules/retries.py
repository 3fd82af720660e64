"""Destinations that a scheduled run did not reach are copied to later, from where the run's backup holds.

Each attempt is a sync, decided durably under an id of its own before its request is made, so that a coordinator killed
anywhere makes no second one. It ends with a newer run of the schedule that reaches the destination, with the backup, or
after so many attempts.
"""

from collections.abc import Callable

import msgspec
import structlog

from agent.wire.destinations import ON_SERVER
from coordinator.model.access import SCHEDULE
from coordinator.model.asking import asking
from coordinator.model.errors import NoSuchBackup
from coordinator.model.orders import SyncOrder
from coordinator.model.requests import RequestState
from coordinator.model.schedules import CopyRetry, Schedule, ScheduledRun
from coordinator.orchestrate.errors import BackupDeleted, foreseen
from coordinator.orchestrate.protocol import Orchestrator
from coordinator.schedule.decision import retry_of
from coordinator.store.database import StoreFailed
from coordinator.store.protocol import Store
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

MOST_RETRIES = 10
"""Runs of one schedule whose copies are tried again at a time, the newest ones."""


class CopyRetries:
    """`attempts`: how often a destination is tried again; `delay`: seconds from one to the next."""

    def __init__(
        self, store: Store, orchestrator: Orchestrator, clock: Callable[[], float], attempts: int, delay: float
    ) -> None:
        self._store = store
        self._orchestrator = orchestrator
        self._clock = clock
        self._attempts = attempts
        self._delay = delay

    async def after(self, schedule: Schedule, run: ScheduledRun) -> list[CopyRetry]:
        """What is to be tried again once the schedule's run is over: what it reached needs no older backup any more."""
        status = await self._statuses(run.request)
        reached = [place for place, state in status.items() if state == RequestState.SUCCESS]
        # A node that was missing, or a script that failed, makes an error of every place: what counts is who has most.
        parts = await self._parts(run.request)
        most = max(parts.values(), default=0)
        failed = [
            place
            for place, state in status.items()
            if state == RequestState.ERROR and place != ON_SERVER and parts.get(place, 0) < most
        ]
        sources = [place for place in status if parts.get(place, 0) == most]
        retries = []
        for retry in schedule.retries:
            left = [place for place in retry.destinations if place not in reached]
            if left != retry.destinations:
                self._say("a newer backup reached what was to be copied again", schedule, retry, reached=reached)
            if left:
                retries.append(msgspec.structs.replace(retry, destinations=left))
        known = {retry.run for retry in retries}  # already, where a clock was set back and the run came by again
        if failed and sources and self._attempts and run.request not in known:
            source = None if ON_SERVER in sources else sources[0]
            new = CopyRetry(run.request, run.order.tag, failed, source, self._clock() + self._delay, parts=most)
            retries.append(new)
            self._say("copies of a scheduled backup failed and are tried again", schedule, new)
        for dropped in retries[:-MOST_RETRIES]:
            self._say("too many backups wait to be copied again: the oldest does no more", schedule, dropped)
        return retries[-MOST_RETRIES:]

    async def followed(self, schedule: Schedule, retry: CopyRetry) -> CopyRetry | None:
        """The retry as it stands now; None = it is over. One whose time has come has its next attempt's id."""
        now = self._clock()
        if retry.request:
            request = await self._store.requests.get(retry.request)
            if request is None or request.state is RequestState.RUNNING:
                return retry
            if request.state is RequestState.CANCELLED:
                self._say("a copy of a scheduled backup was cancelled and is not tried again", schedule, retry)
                return None
            status = await self._statuses(retry.request)
            parts = await self._parts(retry.request)
            left = [
                place
                for place in retry.destinations
                # What the source lacks too no further attempt would bring.
                if status.get(place) != RequestState.SUCCESS and not 0 < retry.parts <= parts.get(place, 0)
            ]
            if not left:
                self._say("what a scheduled backup did not reach is copied", schedule, retry)
                return None
            retry = msgspec.structs.replace(retry, destinations=left)
            return self._again(schedule, retry, request.message)
        if retry.at > now + self._delay:
            return msgspec.structs.replace(retry, at=now + self._delay)  # the clock was set back
        if retry.at > now:
            return retry
        wanted = {copy.destination for copy in schedule.job.copies}
        known = wanted & {place.id for place in await self._store.destinations.all(schedule.cluster)}
        there = [place for place in retry.destinations if place in known]
        if not there:
            self._say("what was to be copied to is forgotten, or not of the job any more", schedule, retry)
            return None
        attempt = retry.attempts + 1
        return msgspec.structs.replace(
            retry, destinations=there, attempts=attempt, request=retry_of(retry.run, attempt)
        )

    async def begun(self, schedule: Schedule, retry: CopyRetry) -> CopyRetry | None:
        """The retry once its attempt's request exists, or can't; None = there is nothing left to copy from. Raises
        `StoreFailed`."""
        if await self._store.requests.get(retry.request) is not None:
            return retry
        job = schedule.job
        limits = {copy.destination: copy for copy in job.copies}
        copies = [limits[place] for place in retry.destinations if place in limits]
        if not copies:
            self._say("what was to be copied to is not of the job any more", schedule, retry)
            return None
        order = SyncOrder(retry.tag, copies, job.throttle_bytes_per_second, job.partial, retry.source)
        told = [f"attempt {retry.attempts} of {self._attempts} to copy what the request {retry.run} did not reach"]
        try:
            with asking(SCHEDULE):
                await self._orchestrator.start_sync(schedule.cluster, order, request_id=retry.request, warnings=told)
        except StoreFailed:
            raise  # nobody knows whether the request was made
        except (NoSuchBackup, BackupDeleted) as error:
            self._say("what was to be copied again is gone", schedule, retry, why=error.message)
            return None
        except HelenusError as error:
            return self._again(schedule, retry, error.message)
        except Exception as error:
            log.exception("a copy could not be tried again", cluster=schedule.cluster, schedule=schedule.id)
            if await self._store.requests.get(retry.request) is None:
                return self._again(schedule, retry, foreseen(error).message)
        self._say("a copy of a scheduled backup is tried again", schedule, retry)
        return retry

    def _again(self, schedule: Schedule, retry: CopyRetry, why: str) -> CopyRetry | None:
        """The retry after an attempt that failed; None when that was the last one."""
        if retry.attempts >= self._attempts:
            self._say("a copy of a scheduled backup is given up", schedule, retry, why=why)
            return None
        later = msgspec.structs.replace(retry, at=self._clock() + self._delay, request="")
        self._say("a copy of a scheduled backup failed and is tried again", schedule, later, why=why)
        return later

    async def _statuses(self, request: str) -> dict[str, str]:
        return {event.destination["id"]: event.status for event in await self._store.requests.events_of(request)}

    async def _parts(self, request: str) -> dict[str, int]:
        """Place → of how many nodes the ended request left a whole part there."""
        found = await self._store.requests.get(request)
        told = {} if found is None else found.result.get("destinations", {})
        return {place: int(each.get("parts", 0)) for place, each in told.items()}

    def _say(self, what: str, schedule: Schedule, retry: CopyRetry, **more: object) -> None:
        log.warning(
            what,
            cluster=schedule.cluster,
            schedule=schedule.id,
            tag=retry.tag,
            destinations=retry.destinations,
            attempts=retry.attempts,
            again_at=None if retry.request else round(retry.at),
            **more,
        )
