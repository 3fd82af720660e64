"""A job that crashes at each of its moments. In: a scenario. Out: what it left each time, judged.

For each moment: the same state as before, the job until it crashes there, the oracle; then a new process on what is
left, to which the command is sent again, until it rests; the oracle, the invariants and the job's own promise.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.wire.commands import Kind, State
from tests.simulation.ground import LATER, Ground, Prepare
from tests.simulation.loop import simulate
from tests.simulation.process import Calm, Fate, Process
from tests.simulation.world import World, begun, ended_once, told_secrets, unowned

ORDERS = ("snapshot ", "clearsnapshot ", "import ")
OWED_SECONDS = 1_200.0
"""By then the loop of owed snapshots has cleared what Cassandra did not answer for."""


class OneFault(Calm):
    """Calm but for one moment. A step in a thread is one moment, before which the process dies; a request is three:
    before it, after it was carried out, and when only its answer is lost."""

    def __init__(self, at: int | None) -> None:
        self._at = at
        self.count = 0
        self.told = ""
        self.lost = False
        self.over = False
        """the job has come to its end: what follows is no moment of it"""

    def step(self, process: Process, what: str) -> Fate:
        """See `Faults`."""
        return self._fate(what, (Fate.KILLED_BEFORE,))

    def request(self, process: Process, what: str) -> Fate:
        """See `Faults`."""
        return self._fate(what, (Fate.KILLED_BEFORE, Fate.KILLED_AFTER, Fate.LOST))

    def arrives(self) -> bool:
        """What was on its way to the store when the process died before its request never comes there."""
        return "killed_after" in self.told

    def _fate(self, what: str, fates: tuple[Fate, ...]) -> Fate:
        found = Fate.ANSWERED
        for fate in () if self.over else fates:
            self.count += 1
            if self.count == self._at:
                found = fate
                self.told = f"moment {self.count}: {fate.name.lower()}: {what}"
                self.lost = fate is Fate.LOST
        return found

    @property
    def cassandra_fell_silent(self) -> bool:
        """Whether an order got no answer: then a command may fail, and is to be given again."""
        return self.lost and self.told.partition("lost: ")[2].startswith(ORDERS)


@dataclass(frozen=True)
class Command:
    """What is asked of an agent."""

    id: str
    kind: Kind
    arguments: Any


@dataclass(frozen=True)
class Scenario:
    """`prepare` is called with a calm agent, `promise` after all has come to rest; `kept`: snapshots that stay."""

    prepare: Prepare
    job: Command
    promise: Callable[[World], None]
    kept: frozenset[str] = frozenset()
    destinations: tuple[str, ...] = ("d1",)
    encrypted: bool = False
    deletes: str = ""
    """the tag that the job deletes"""
    fenced: bool = False
    """no agent goes on with the job by itself: it is asked for again, as another command"""
    owes: bool = False
    """what Cassandra did not answer for is done later without being asked for again"""


class Stage:
    """A scenario at a place, to be begun again and again."""

    def __init__(self, scenario: Scenario, place: Path) -> None:
        self._scenario = scenario
        self._ground = Ground(place, scenario.prepare, scenario.destinations, encrypted=scenario.encrypted)
        self.world = self._ground.world

    def crash(self, at: int | None) -> OneFault:
        """The job with its one fault at that moment; which it was. Raises what is wrong, with the trace."""
        self._ground.begin_again()
        faults = OneFault(at)
        try:
            simulate(self._crashed(faults), begin=LATER)
        except Exception as error:
            error.add_note("\n".join([faults.told, *self.world.trace]))
            raise
        return faults

    async def _crashed(self, faults: OneFault) -> None:
        world, job = self.world, self._scenario.job
        world.check()  # by which it knows what was there
        if self._scenario.deletes:
            world.deleted(self._scenario.deletes)
        agent = world.agent(faults=faults)
        if not await begun(agent, (job.id, job.kind, job.arguments)):
            world.check()
            agent = world.agent()
            assert await begun(agent, (job.id, job.kind, job.arguments))
        faults.over = True
        view = await ended_once(agent, job.id)
        if view.state is not State.SUCCESS:
            allowed = faults.cassandra_fell_silent or (self._scenario.fenced and faults.told)
            assert allowed, f"it ended {view.state}: {view.error}"
        if view.state is not State.SUCCESS and not self._scenario.owes:
            if not self._scenario.fenced:  # those are asked for again while Cassandra is still at the first
                await asyncio.sleep(OWED_SECONDS)
            await agent.post(f"{job.id}-again", job.kind, job.arguments)
            await agent.rest()
            view = await ended_once(agent, f"{job.id}-again")
            assert view.state is State.SUCCESS, f"sent again it ended {view.state}: {view.error}"
        await asyncio.sleep(OWED_SECONDS)
        await agent.stop()
        world.check(idle=True)
        assert unowned(world.node, world.place / "state a1") == []
        assert world.snapshots() == self._scenario.kept
        self._scenario.promise(world)
        assert told_secrets(world) == []


def moments(stage: Stage, part: int, parts: int) -> Iterator[OneFault]:
    """Every moment of the job, or each `parts`-th from number `part` on: each as it was run and judged."""
    whole = stage.crash(None).count
    for at in range(1 + part, whole + 1, parts):
        yield stage.crash(at)
