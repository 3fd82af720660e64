"""A coordinator without its API: the real store, fleet and orchestrator over toy agents, with short times."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.wire.destinations import LocalSettings, Settings
from coordinator.fleet.client import Deadlines
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.fleet.reports import ReportTiming
from coordinator.model.orders import BackupOrder, Copy, DestinationOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.archiving.archiving import Archiving
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from coordinator.orchestrate.retention.retention import Retention
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.schedules.schedules import JobSchedules, ScheduleTiming
from coordinator.orchestrate.timing import Timing
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from tests.cluster.loop_time import seconds, unix_seconds

CLUSTER = "toy"
DEADLINE = 20.0
TIMING = Timing(
    agent_return=0.5,
    brief=0.3,
    fence=600.0,
    force_margin=0.2,
    report_age=0.0,
    retry_pause=0.02,
    cancel=5.0,
    owed_cancel=0.05,
    outlive=0.05,
    take_over=0.8,
    retention_look=0.05,
    retention_again=0.1,
    archiving_look=0.1,
    enroll_again=0.2,
)
SCHEDULES = ScheduleTiming(look=0.05, grace=0.0, retries=3, retry_delay=0.2)
DEADLINES = Deadlines(connect=1.0, call=1.0, listing=2.0, check=2.0, silence=5.0)
SLOW = Deadlines(connect=5.0, call=20.0, listing=20.0, check=20.0)
"""For real time: no node fails because a machine was busy."""
PATIENCE = ReportTiming(poll=0.5, backoff_first=0.01, backoff_last=0.05)


class ToyCoordinator:
    """One life of a coordinator over a state directory: `async with ToyCoordinator(state, urls) as coordinator`."""

    def __init__(
        self,
        state: Path,
        urls: list[str],
        *,
        timing: Timing = TIMING,
        database: type[Database] = Database,
        deadlines: Deadlines = DEADLINES,
        clock: Callable[[], float] = unix_seconds,
        schedules: ScheduleTiming = SCHEDULES,
        uploads_at_once: int = 0,
        state_on: frozenset[str] = frozenset(),
        state_keyspace: str = "",
    ) -> None:
        self._state = state
        self._urls = urls
        self._timing = timing
        self._database = database
        self._deadlines = deadlines
        self._clock = clock
        self._schedules = schedules
        self._uploads_at_once = uploads_at_once
        self._state_on = state_on
        self._state_keyspace = state_keyspace
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._state.mkdir(parents=True, exist_ok=True)
            self.database = await self._database.open(self._state / FILE, MIGRATIONS)
            self.store = SqliteStore(self.database)
            stack.push_async_callback(self.store.close)
            agents = {CLUSTER: ClusterAgents(self._urls, deadlines=self._deadlines)}
            self.fleet = await stack.enter_async_context(Fleet(agents, PATIENCE, self._clock, seconds))
            around = Surroundings(
                store=self.store,
                registry=self.fleet.registry,
                reports=self.fleet.reports,
                timing=self._timing,
                clock=self._clock,
                monotonic=seconds,
                uploads_at_once=self._uploads_at_once,
                state_on=self._state_on,
                state_keyspace=self._state_keyspace,
            )
            self.news = around.news
            self.orchestrator = await stack.enter_async_context(FleetOrchestrator(around))
            retention = Retention(around, self.orchestrator.list_backups, self.orchestrator.start_delete)
            self.retention = await stack.enter_async_context(retention)
            self.archiving = await stack.enter_async_context(Archiving(around, self.orchestrator.make))
            followed = JobSchedules(self.store, self.orchestrator, [CLUSTER], self._clock, self._schedules)
            self.schedules = await stack.enter_async_context(followed)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def ended(self, request_id: str) -> Request:
        """The request once it has ended; fails when it takes too long."""
        async with asyncio.timeout(DEADLINE):
            while True:
                request = await self.store.requests.get(request_id)
                assert request is not None
                if request.state is not RequestState.RUNNING:
                    return request
                await asyncio.sleep(0.03)

    async def until_says(self, tag: str, text: str) -> Request:
        """The one running request of the tag, once its message says this; fails when that takes too long."""
        async with asyncio.timeout(DEADLINE):
            while True:
                [request] = await self.store.requests.find(tag=tag)
                if text in request.message:
                    return request
                assert request.state is RequestState.RUNNING, request
                await asyncio.sleep(0.03)

    async def backup(self, **changes: Any) -> tuple[str, Request]:
        """Take a backup; its tag and the ended request."""
        tag, at = await self.store.requests.claim_tag(CLUSTER, "adhoc", int(unix_seconds()))
        request_id = await self.orchestrator.start_backup(CLUSTER, BackupOrder(tag=tag, time=at, **changes))
        return tag, await self.ended(request_id)

    async def destination(self, name: str, settings: Settings | None = None) -> None:
        """Add a destination (a directory per node unless told otherwise)."""
        order = DestinationOrder("add", name, settings or LocalSettings(path=name))
        change = await self.orchestrator.start_destination_change(CLUSTER, order)
        assert (await self.ended(change.request_id)).state is RequestState.SUCCESS


def copies(*names: str) -> list[Copy]:
    """Copies to destinations, without limits."""
    return [Copy(name) for name in names]
