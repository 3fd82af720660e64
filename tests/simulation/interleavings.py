"""Two agents at one node's prefix, as their seed has it. In: a seed. Out: the trace of the run, or all that went wrong.

Both agents have the node's host id: the second one returns from a copy of the machine, with a state of its own. Each is
given two jobs, at times that are drawn; requests are slow, stand still for up to half an hour, or lose their answer;
agents die and come back; a person gives up what another agent seems to have left, once that was silent for long enough.
In the end all agents rest, one sweeps, and the store is looked at.

What a person is told not to do is not done: nobody gives up the sweep of an agent that lives, for no store can keep a
request to delete, which that one may still send, from being carried out.
"""

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

from agent.commands.errors import TagInUse
from agent.repository.keys import SWEEP, intents_prefix, parse_intent
from agent.wire.commands import (
    BackupArguments,
    DeleteArguments,
    Kind,
    SnapshotArguments,
    State,
    SweepArguments,
    SyncArguments,
)
from tests.fast.jobs.node import HOST, Node
from tests.simulation.agent import CLUSTER, SimulatedAgent, target
from tests.simulation.ground import LATER, Ground
from tests.simulation.loop import simulate
from tests.simulation.process import Calm, Crash, Fate, Process
from tests.simulation.world import (
    World,
    digests,
    ended_once,
    named_objects,
    of_tables,
    told_secrets,
    unowned,
)

JOBS = 2
MOST_DEATHS = 3
SILENCE = 700.0
"""Seconds after which whatever another agent left may be given up."""


class Drawn(Calm):
    """What goes wrong with one process, as it is drawn."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.over = False
        """nothing goes wrong any more"""
        self._dies = draw.choice([0.0, 0.0, 0.005, 0.02])
        self._loses = draw.choice([0.0, 0.01, 0.05])
        self._stands = draw.choice([0.0, 0.02, 0.1])

    def step(self, process: Process, what: str) -> Fate:
        """See `Faults`."""
        return Fate.KILLED_BEFORE if not self.over and self._draw.random() < self._dies else Fate.ANSWERED

    def request(self, process: Process, what: str) -> Fate:
        """See `Faults`."""
        if self.over:
            return Fate.ANSWERED
        if self._draw.random() < self._dies:
            return self._draw.choice([Fate.KILLED_BEFORE, Fate.KILLED_AFTER])
        return Fate.LOST if self._draw.random() < self._loses else Fate.ANSWERED

    def travel(self, what: str) -> tuple[float, float, float]:
        """See `Faults`. What is on its way arrives within seconds; it is the process that stands still for longer."""
        if self.over:
            return super().travel(what)
        draw = self._draw
        before = draw.choice([1.0, 40.0, 300.0, 1_800.0]) * draw.random() if draw.random() < self._stands else 0.0
        return before, draw.choice([0.01, 0.1, 3.0]) * draw.random(), 0.05 * draw.random()

    def arrives(self) -> bool:
        """See `Faults`."""
        return self._draw.random() < 0.5


class Player:
    """One agent through its lives: its jobs, and what has become of them."""

    def __init__(self, name: str, node: Node, world: World, draw: random.Random) -> None:
        self.name, self.node = name, node
        self.taken: list[str] = []
        """tags of backups that ended in success"""
        self.agent: SimulatedAgent | None = None
        self._world, self._draw = world, draw
        self._page = draw.choice([2, 5, 1000])
        self._given: list[tuple[str, Kind, Any]] = []
        self._number = 0
        self._deaths = 0
        self.others: list[Player] = []

    @property
    def lives(self) -> bool:
        """Whether its process runs."""
        return self.agent is not None and not self.agent.process.dead

    async def play(self) -> None:
        """Give it its jobs, bring it back whenever it dies, until all it was given has ended."""
        while True:
            faults = Drawn(self._draw)
            faults.over = self._deaths >= MOST_DEATHS
            self.agent = self._world.agent(self.name, faults, self.node, part=self._draw.random, page=self._page)
            try:
                await self.agent.start()
                for given in list(self._given):
                    await self._post(given)
                while self._number < JOBS:
                    await asyncio.sleep(self._draw.choice([0.1, 30.0, 1_500.0]) * self._draw.random())
                    self._given.append(self._job())
                    await self._post(self._given[-1])
                await self.agent.rest()
                faults.over = True
                return
            except Crash:
                self._deaths += 1
                await self.agent.bury()
                await asyncio.sleep(self._draw.choice([0.1, 10.0, 2_000.0]) * self._draw.random())

    async def judged(self) -> None:
        """I7 of each command; which backups are promised from now on."""
        assert self.agent is not None
        for command_id, kind, arguments in self._given:
            view = await ended_once(self.agent, command_id)
            self._world.tell(f"{self.name} {command_id} {kind.value} ended {view.state.value} {_code(view.error)}")
            if view.state is State.SUCCESS and kind in (Kind.BACKUP, Kind.SYNC):
                self.taken.append(arguments.tag if kind is Kind.SYNC else arguments.snapshot.tag)

    async def _post(self, job: tuple[str, Kind, Any]) -> None:
        assert self.agent is not None
        try:
            await self.agent.post(*job)
        except TagInUse:  # its first job works on that backup
            self._given.remove(job)

    def _job(self) -> tuple[str, Kind, Any]:
        draw = self._draw
        self._number += 1
        command_id = f"{self.name}-{self._number}"
        # The copy of the machine has no on-server backup.
        kinds = ["backup", "backup", "sweep", "sweep", "delete", *(["sync"] if self.node is self._world.node else [])]
        match draw.choice(kinds):
            case "backup":
                arguments = BackupArguments(SnapshotArguments(draw.choice(["t2", "t3"])), [target()])
                return command_id, Kind.BACKUP, arguments
            case "sweep":
                return command_id, Kind.SWEEP, SweepArguments(target(), self._given_up())
            case "delete":
                tag = draw.choice(["t1", "t2"])
                self._world.deleted(tag)
                return command_id, Kind.DELETE, DeleteArguments(tag, target())
            case _:
                return command_id, Kind.SYNC, SyncArguments("k", [target()])

    def _given_up(self) -> list[str]:
        """What a person who looks now gives up, or nothing."""
        if self._draw.random() < 0.4:
            return []
        alive = any(other.lives for other in self.others)
        prefix = intents_prefix(CLUSTER, HOST)
        found = [parse_intent(prefix, key) for key in sorted(self._world.stores["d1"]._objects) if prefix in key]
        return [name for name in found if name is not None and not (name == SWEEP and alive)]


class Interleavings:
    """A prepared ground for any number of seeds."""

    def __init__(self, place: Path) -> None:
        self._plain = Ground(place / "plain", _prepared)
        self._encrypted = Ground(place / "encrypted", _prepared, encrypted=True)

    def run(self, seed: int) -> list[str]:
        """Play the seed, each fifth in an encrypted repository; its trace. Raises what went wrong, with seed and
        trace."""
        ground = self._encrypted if seed % 5 == 4 else self._plain
        ground.begin_again()
        draw = random.Random(seed)
        try:
            simulate(_played(ground.world, draw), lambda: 0.004 * draw.random(), begin=LATER)
        except (Exception, Crash) as error:
            error.add_note("\n".join([f"seed {seed}", *ground.world.trace]))
            raise
        return list(ground.world.trace)


async def _played(world: World, draw: random.Random) -> None:
    world.check()
    copy = Node(world.place / "node a2")
    copy._ids = dict(world.node._ids)
    copy._random.seed(2)
    copy.sstable("shop", "orders", 7, 900)
    players = [Player("a1", world.node, world, draw), Player("a2", copy, world, draw)]
    for player in players:
        player.others = [other for other in players if other is not player]
    async with asyncio.TaskGroup() as group:
        for player in players:
            group.create_task(player.play())
    for player in players:
        await player.judged()
        for tag in player.taken:
            if tag not in world.oracles["d1"]._gone:
                world.expect(tag)
    world.check()
    await asyncio.sleep(1_200.0)
    first, second = players
    assert first.agent is not None
    assert second.agent is not None
    await second.agent.stop()
    await asyncio.sleep(SILENCE)
    await _swept(world, first.agent)
    await first.agent.stop()
    _judged(world, players)


def _judged(world: World, players: list[Player]) -> None:
    """After all has come to rest, and one sweep."""
    found = world.check(idle=True)["d1"]
    for player in players:
        for tag in player.taken:
            if (tag, HOST) in found and tag != "k":
                theirs = [digests(other.node.files()) for other in players if tag in other.taken]
                assert of_tables(found[tag, HOST]) in theirs, f"{tag} holds other bytes than were taken"
        assert unowned(player.node, world.place / f"state {player.name}") == []
    assert world.data_keys() == named_objects(world), "a sweep has left what nobody needs"
    assert told_secrets(world) == []


async def _swept(world: World, agent: SimulatedAgent) -> None:
    prefix = intents_prefix(CLUSTER, HOST)
    left = [parse_intent(prefix, key) or "" for key in sorted(world.stores["d1"]._objects) if prefix in key]
    await agent.post("last", Kind.SWEEP, SweepArguments(target(), left))
    await agent.rest()
    view = await ended_once(agent, "last")
    assert view.state is State.SUCCESS, f"the last sweep ended {view.state}: {view.error}"


async def _prepared(world: World, agent: SimulatedAgent) -> None:
    """Two backups, of which one is deleted and not swept yet, an on-server backup, and an SSTable that is in none."""
    world.node.sstable("shop", "orders", 1, 3_000)
    world.node.sstable("many", "t1", 1, 500)
    await agent.post("t0", Kind.BACKUP, BackupArguments(SnapshotArguments("t0"), [target()]))
    await agent.rest()
    shutil.rmtree(world.node.table("many", "t1"))
    world.node.sstable("shop", "orders", 2, 2_000)
    await agent.post("t1", Kind.BACKUP, BackupArguments(SnapshotArguments("t1"), [target()]))
    await agent.post("k", Kind.SNAPSHOT, SnapshotArguments("k", keep=True))
    await agent.rest()
    world.expect("t1")
    await agent.post("d", Kind.DELETE, DeleteArguments("t0", target()))
    world.deleted("t0")
    await agent.rest()
    # What the second agent returns with: the same files, and those of the deleted backup as well.
    shutil.copytree(world.node.data, world.place / "node a2" / "data", ignore=shutil.ignore_patterns("snapshots"))
    world.node.sstable("many", "t1", 1, 500)
    world.node.sstable("shop", "orders", 3, 1_000)


def _code(error: dict[str, Any] | None) -> str:
    return "" if error is None else f"{error['code']}: {error['message']}"
