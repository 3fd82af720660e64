"""Schedules over the toy cluster, by a clock that a test sets."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from coordinator.model.orders import Copy
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.model.schedules import ONCE, BackupJob, Schedule, Timetable
from coordinator.orchestrate.schedules.runs import is_over
from coordinator.orchestrate.schedules.schedules import ScheduleTiming
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, SCHEDULES, ToyCoordinator
from tests.orchestrate.conftest import Scene

HOUR = 3_600.0


class Clock:
    """The loop's time, and as much `ahead` as a test sets it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return unix_seconds() + self.ahead


async def coordinator_by(scene: Scene, clock: Clock, timing: ScheduleTiming = SCHEDULES) -> ToyCoordinator:
    """A coordinator over the scene's agents that goes by the clock."""
    urls = [agent.url for agent in scene.agents]
    made = ToyCoordinator(scene.directory / "coordinator", urls, clock=clock, schedules=timing)
    return await scene.stack.enter_async_context(made)


def due_now(now: float, *copies: str, interval: int = 1, keep: bool = True, partial: bool = False) -> Schedule:
    """A schedule whose first run is due already, then every `interval` hours (`ONCE`: never again)."""
    first = datetime.fromtimestamp(int(now), UTC)
    at = (first.strftime("%Y-%m-%d"), first.strftime("%H:%M:%S"), "UTC")
    timetable = Timetable(*at, ONCE) if interval == ONCE else Timetable(*at, interval, "hours")
    job = BackupJob(keep=keep, copies=[Copy(name) for name in copies], partial=partial)
    return Schedule(str(uuid.uuid4()), CLUSTER, 1, timetable, job, {}, decided=int(now) - 1)


async def runs_of(coordinator: ToyCoordinator, schedule: Schedule) -> list[Request]:
    """The requests of its backups, oldest first."""
    requests = await coordinator.store.requests.find(kind=RequestKind.BACKUP)
    return [request for request in requests if request.spec["backup_id"] == schedule.id]


async def syncs(coordinator: ToyCoordinator) -> list[Request]:
    """All syncs, oldest first."""
    return await coordinator.store.requests.find(kind=RequestKind.SYNC)


async def until_true(true: Callable[[], Awaitable[bool]]) -> None:
    """Return once it is so; fails when that takes too long."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if await true():
                return
            await asyncio.sleep(0.02)


async def until(coordinator: ToyCoordinator, schedule: Schedule, true: Callable[[Schedule], bool]) -> Schedule:
    """The schedule once it is so; fails when that takes too long."""
    async with asyncio.timeout(DEADLINE):
        while True:
            known = await coordinator.schedules.get(CLUSTER, schedule.id)
            if true(known):
                return known
            await asyncio.sleep(0.02)


async def run_ended(coordinator: ToyCoordinator, schedule: Schedule, number: int = 1) -> Schedule:
    """The schedule once so many backups of it were begun and the last one is over."""
    async with asyncio.timeout(DEADLINE):
        while True:
            runs = await runs_of(coordinator, schedule)
            known = await coordinator.schedules.get(CLUSTER, schedule.id)
            last = runs[-1].id if runs else ""
            if len(runs) == number and known.run is not None and known.run.request == last and is_over(known.run):
                return known
            assert len(runs) <= number
            await asyncio.sleep(0.02)


def succeeded(request: Request) -> bool:
    """Whether it ended well."""
    return request.state is RequestState.SUCCESS
