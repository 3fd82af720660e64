"""A world for schedules: a clock that people set, a machine that sleeps, a coordinator that is killed anywhere, backups
that take their time. In: a seed. Out: what the real schedules, over the real store, made of it."""

import random
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from coordinator.model.orders import BackupOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.model.schedules import Schedule
from coordinator.orchestrate.errors import MissingNodes
from coordinator.orchestrate.protocol import Orchestrator
from coordinator.orchestrate.schedules.schedules import JobSchedules
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore

T = TypeVar("T")
CLUSTER = "world"
HOUR = 3_600.0


class Killed(BaseException):
    """The process is gone; nothing that it was at goes on."""


class MortalDatabase(Database):
    """The real one, of a process that dies at a write, before or after it is durable."""

    die_in: int | None = None
    """writes until then"""
    before = False
    dead = False

    async def _run(self, thread: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        """At once: which thread is first is no matter of a seed."""
        return function()

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self.dead:
            raise Killed
        return await super().read(function)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self.die_in is not None:
            self.die_in -= 1
            if self.die_in < 0:
                self.dead, self.die_in = True, None
                if not self.before:
                    await super().write(function)
        if self.dead:
            raise Killed
        return await super().write(function)


class Made(msgspec.Struct, frozen=True):
    """A backup that was begun: its request, schedule, and when, by the clock on the wall."""

    request: str
    schedule: str
    at: float


class World:
    """`async with World(…)`; `live` lets time pass."""

    def __init__(self, state: Path, start: float, seed: int) -> None:
        self.state = state
        self.now = start
        """true time, unix seconds"""
        self.ahead = 0.0
        """of the clock on the wall"""
        self.furthest = start
        """that the clock ever showed"""
        self.set_back = 0.0
        """most seconds that it was set back at once"""
        self.chance = random.Random(seed)
        self.wrong: list[str] = []
        """what must not be"""
        self.refused: dict[str, float] = {}
        """requests that were given up → the furthest that the clock had shown by then"""
        self.turned_down: set[str] = set()
        """requests that could not be made at some time"""
        self._down_until = 0.0
        self._starting: list[float] = []
        """until when what could not be made yet is tried"""
        self.skipped: dict[str, dict[tuple[int, int], tuple[int, str]]] = {}
        """schedule → span → how many, and why"""
        self.waited = self.deaths = 0
        self._ends: dict[str, float] = {}
        self.longest = 2.0
        """hours that a backup takes at most"""

    async def __aenter__(self) -> "World":
        opened = await Database.open(self.state / FILE, MIGRATIONS)
        # No power fails here, only processes.
        await opened._run(opened._thread, lambda: opened._connection.execute("PRAGMA synchronous = OFF").fetchone())
        self.database = MortalDatabase(opened._connection, opened._thread, opened._reading, opened._path)
        self.store = SqliteStore(self.database)
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.database.dead = False
        await self.store.close()

    def wall(self) -> float:
        """The clock on the wall."""
        return self.now + self.ahead

    def set_clock(self, ahead: float) -> None:
        """Somebody sets the clock on the wall: so many seconds ahead of the true time."""
        before, self.ahead = self.wall(), ahead
        self.set_back = max(self.set_back, before - self.wall())
        self.furthest = max(self.furthest, self.wall())

    def _start(self) -> None:
        self.schedules = JobSchedules(self.store, cast(Orchestrator, self), [CLUSTER], self.wall)

    async def start_backup(
        self, cluster: str, order: BackupOrder, *, request_id: str, warnings: Sequence[str] = ()
    ) -> str:
        """As the orchestrator: durable, once for an id; now and then nodes are missing."""
        if self.now >= self._down_until and request_id not in self.turned_down and self.chance.random() < 0.04:
            self._down_until = self.now + self.chance.choice([0.1, 2.0, 10.0, 30.0]) * HOUR
        if self.now < self._down_until:
            self.turned_down.add(request_id)
            raise MissingNodes("a node is missing")
        running = await self.store.requests.find(state=RequestState.RUNNING)
        if order.backup_id in {request.spec["backup_id"] for request in running}:
            self.wrong.append(f"two at once: {request_id}")
        if await self.store.requests.get(request_id) is not None:
            self.wrong.append(f"twice: {request_id}")
        self._ends[request_id] = self.now + self.chance.uniform(0.01, self.longest) * HOUR
        state = RequestState.RUNNING
        request = Request(request_id, RequestKind.BACKUP, cluster, state, self.wall(), spec_of(order), tag=order.tag)
        await self.store.requests.create(request)
        return request_id

    async def made(self) -> list[Made]:
        """All backups that were begun."""
        requests = await self.store.requests.find(kind=RequestKind.BACKUP)
        return [Made(request.id, request.spec["backup_id"], request.started) for request in requests]

    async def live(self, until: float) -> None:
        """Time passes, with whatever comes along."""
        trouble = self.now + self.chance.expovariate(1 / (40 * HOUR))
        while self.now < until:
            wake = await self._look()
            coming = [until, trouble, *(end for end in self._ends.values())]
            for wanted in ([] if wake is None else [wake], self._starting):
                coming += [max(at - self.ahead, self.now + 0.001) for at in wanted]
            if self.now < self._down_until:
                coming.append(self._down_until)
            self.now = min(coming)
            self.furthest = max(self.furthest, self.wall())
            for request_id, end in list(self._ends.items()):
                if end <= self.now:
                    del self._ends[request_id]
                    await self._end(request_id)
            if self.now >= trouble:
                await self._trouble()
                trouble = self.now + self.chance.expovariate(1 / (40 * HOUR))
        self.database.die_in = None
        for _ in range(2):  # what is due by now is decided, after whatever came last
            await self._look()

    async def _trouble(self) -> None:
        """A stop, a sleep, a death at the next writes, or a clock that is set."""
        match self.chance.choice(["stop", "sleep", "die", "die", "clock"]):
            case "stop":
                await self._pass(self.chance.uniform(0.1, 100) * HOUR)
                self._start()
            case "sleep":
                await self._pass(self.chance.uniform(0.1, 30) * HOUR)
            case "die":
                self.database.die_in, self.database.before = self.chance.randrange(4), self.chance.random() < 0.5
            case "clock":
                self.set_clock(
                    self.chance.choice([0.0, self.ahead, self.chance.uniform(-self.worst, self.worst) * HOUR])
                )

    worst = 6.0
    """hours that a clock is wrong at most"""

    async def _pass(self, seconds: float) -> None:
        """Nobody looks; backups go on in the agents and end."""
        self.now += seconds
        self.furthest = max(self.furthest, self.wall())
        for request_id in [request for request, end in self._ends.items() if end <= self.now]:
            del self._ends[request_id]
            await self._end(request_id)

    async def _end(self, request_id: str) -> None:
        dying, self.database.die_in = self.database.die_in, None  # the end is another process's write
        request = await self.store.requests.get(request_id)
        if request is not None:
            await self.store.requests.finish(
                msgspec.structs.replace(request, state=RequestState.SUCCESS, finished=self.wall())
            )
        self.database.die_in = dying

    async def _look(self) -> float | None:
        try:
            wake = await self.schedules.look()
            await self.schedules.begun()
        except Killed:
            wake = None
        if self.database.dead:
            await self.schedules.begun()
            self.database.dead = False
            self.deaths += 1
            self._start()
            wake = self.wall()
        self._starting = []
        for schedule in await self.schedules.all(CLUSTER):
            self._read(schedule)
        return wake

    def _read(self, schedule: Schedule) -> None:
        self.waited += schedule.waiting is not None
        if schedule.run is not None and schedule.run.state == "refused":
            self.refused.setdefault(schedule.run.request, self.furthest)
        if schedule.run is not None and schedule.run.state == "starting":
            self._starting.append(schedule.run.due.until + 1)
        spans = self.skipped.setdefault(schedule.id, {})
        for missed in schedule.missed:
            spans[missed.first, missed.last] = (missed.count, missed.why)
