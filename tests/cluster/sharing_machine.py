"""Coordinators that share one state, in one process, over toy agents: the lead, what acts by it, and what goes on apart
from the state. In: agents' URLs and whether the state answers. Out: lives that can be ended at any write, as a kill
ends them.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.leading.decision import terms_of
from coordinator.leading.leadership import Leadership, Term
from coordinator.leading.led_store import LOOKS, led
from coordinator.orchestrate.apart_jobs import ApartJobs
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from coordinator.orchestrate.run import Surroundings
from coordinator.serving.in_turns import InTurns
from coordinator.serving.ready import Ready
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import PARTS, LeadRecord, Store
from coordinator.store.sqlite import FILE, SqliteStore
from kit.logs import Redactor
from kit.notify import Notifier
from tests.cluster.lead_in_memory import LeadInMemory, Shelf
from tests.cluster.loop_time import seconds, unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, DEADLINES, PATIENCE
from tests.cluster.toy_coordinator import TIMING as TOY_TIMING

LEASE_SECONDS = 2.0
TIMING = msgspec.structs.replace(TOY_TIMING, take_up=1.0)


class Mortality:
    """Of one life. It dies at the write number `dies_at` (from 1): before it, or, if `after`, once it is durable. From
    then on nothing of it writes, or is told that something was written."""

    def __init__(self, dies_at: int = 0, *, after: bool = False) -> None:
        self._dies_at = dies_at
        self._after = after
        self.writes = 0
        self.dead = asyncio.Event()
        self.buried = asyncio.Event()

    async def write(self, work: Callable[[], Any]) -> Any:
        """Do the work, unless it is over."""
        self.writes += 1
        fatal = self.writes == self._dies_at
        if self.dead.is_set() or (fatal and not self._after):
            await self._die()
        done = await work()
        if self.dead.is_set() or fatal:
            await self._die()
        return done

    async def _die(self) -> None:
        self.dead.set()
        await self.buried.wait()
        raise asyncio.CancelledError


class _Part:
    def __init__(self, part: Any, mortality: Mortality, away: Callable[[], bool]) -> None:
        self._part = part
        self._mortality = mortality
        self._away = away

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)

        async def asked(*arguments: Any, **named: Any) -> Any:
            if self._away():
                raise StoreUnreachable("the nodes that hold the state are down")
            if name in LOOKS:
                return await call(*arguments, **named)
            return await self._mortality.write(lambda: call(*arguments, **named))

        return asked


class _View:
    """The store as one life sees it."""

    def __init__(self, store: Store, mortality: Mortality, away: Callable[[], bool]) -> None:
        self._store = store
        for part in PARTS:
            setattr(self, part, _Part(getattr(store, part), mortality, away))

    def kept_on(self) -> frozenset[str]:
        return self._store.kept_on()

    async def close(self) -> None:
        await self._store.close()


class _OwnStores:
    """Opens the stores of what goes on apart."""

    def __init__(self, mortality: Mortality) -> None:
        self._mortality = mortality

    async def open(self, state_directory: Path, *, now: float) -> Store:
        store = await SqliteStore.open(state_directory, now=now)
        return cast(Store, _View(store, self._mortality, lambda: False))


class SharedState:
    """What all have: a store, and the record of the lead. `away`: whether nobody gets an answer."""

    def __init__(self, store: SqliteStore, away: Callable[[], bool]) -> None:
        self.store = store
        self.shelf = Shelf()
        self.away = away

    @classmethod
    async def open(cls, directory: Path, away: Callable[[], bool]) -> "SharedState":
        """The state in that directory, which is there."""
        return cls(SqliteStore(await Database.open(directory / FILE, MIGRATIONS)), away)


class Machine:
    """A coordinator among others; `start` a life of it, and `end` it."""

    ahead = 0.0
    """seconds of its clock"""
    cut_off = False
    """whether the state answers others, not this one"""
    timing = TIMING
    """of what it leads, from its next life on"""

    def __init__(self, name: str, directory: Path, state: SharedState, urls: list[str]) -> None:
        self._name = name
        self._directory = directory / name
        self._state = state
        self._urls = urls
        self._lives = 0
        self._task: asyncio.Task[None] | None = None
        self.orchestrator: FleetOrchestrator | None = None
        """while it leads"""

    def start(self, mortality: Mortality | None = None) -> None:
        """Begin a life."""
        self._lives += 1
        self.mortality = mortality or Mortality()
        record = LeadInMemory(self._state.shelf, self._fate)
        me = f"{self._name} {self._lives}"
        self.leadership = Leadership(record, me, terms_of(LEASE_SECONDS), "http://127.0.0.1:1", monotonic=seconds)
        self._task = asyncio.create_task(self._live(_Turns(self._state.store, record, self)), name=self._name)

    async def end(self) -> None:
        """Cut it off where it stands."""
        if self._task is None:
            return
        self.mortality.dead.set()
        self.mortality.buried.set()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    def check(self) -> None:
        """Fail if the life ended by itself."""
        if self._task is not None and self._task.done():
            self._task.result()

    def _clock(self) -> float:
        return unix_seconds() + self.ahead

    def _fleet(self, **named: Any) -> Fleet:
        return Fleet(
            {CLUSTER: ClusterAgents(self._urls, deadlines=DEADLINES)}, PATIENCE, unix_seconds, seconds, **named
        )

    async def _fate(self, call: str) -> str:
        return "lost" if self._hears_nothing() or self.mortality.dead.is_set() else ""

    def _hears_nothing(self) -> bool:
        return self.cut_off or self._state.away()

    async def _live(self, turns: "_Turns") -> None:
        async with AsyncExitStack() as stack:
            self.apart = await stack.enter_async_context(
                ApartJobs(
                    self._directory,
                    self._fleet,
                    TIMING,
                    self._clock,
                    seconds,
                    lambda: self.leadership.away,
                    _OwnStores(self.mortality),
                )
            )
            async with asyncio.TaskGroup() as group:
                for part in (self.leadership.keep_on(), self.apart.keep_on(), turns.keep_on()):
                    group.create_task(part)

    async def act(self, term: Term) -> None:
        """Act in a term, until cancelled."""
        view = cast(Store, _View(self._state.store, self.mortality, self._hears_nothing))
        async with self._fleet(hold=term.hold) as fleet:
            around = Surroundings(
                led(view, term.hold),
                fleet.registry,
                fleet.reports,
                self.timing,
                clock=self._clock,
                monotonic=seconds,
                apart=self.apart,
            )
            async with FleetOrchestrator(around) as orchestrator:
                self.orchestrator = orchestrator
                try:
                    await asyncio.Event().wait()
                finally:
                    self.orchestrator = None


class _Turns(InTurns):
    """The shipped coordinator's turns, around what acts in a machine."""

    def __init__(self, store: Store, record: LeadRecord, machine: Machine) -> None:
        super().__init__(cast(Ready, None), store, record, Redactor(), Notifier({}))
        self._leadership = machine.leadership
        self._machine = machine

    async def keep_on(self) -> None:
        await self._take_turns()

    async def _act(self, term: Term) -> None:
        await self._machine.act(term)
