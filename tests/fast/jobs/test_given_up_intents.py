"""Promise (I1, I5): a person gives up the intent of an agent that lives after all, so that its backup and another
agent's sweep run side by side: whatever the order of their steps, no success has lost an object, and no broken manifest
stays."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.jobs.copying.errors import CopyFailed
from agent.jobs.sweep import SILENCE_SECONDS
from agent.repository.errors import BackupNotFound, IntentForeign
from agent.repository.intents import Intents, Writer
from agent.repository.keys import intent_key, manifest_key, sweep_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Denied, NotFound, Transient
from agent.wire.commands import DeleteArguments, SnapshotArguments, State, SweepArguments, UploadArguments
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Crash, MemoryReader, target
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_crashes import crashed
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

MANIFEST = manifest_key(CLUSTER, "t1", HOST)
INTENT = intent_key(CLUSTER, HOST, "t1")
MARK = sweep_key(CLUSTER, HOST)


class Door:
    """The hook of one agent's store: notes its operations, stops before number `at`, or at `stop`, until it is
    let in, and fails those of `fail`."""

    def __init__(self, at: int = 0) -> None:
        self.seen: list[tuple[str, str]] = []
        self.at = at
        self.stop: tuple[str, str] = ("", "")
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.fail: dict[tuple[str, str], BaseException] = {}

    async def __call__(self, verb: str, key: str) -> None:
        self.seen.append((verb, key))
        if len(self.seen) == self.at or (verb == self.stop[0] and self.stop[1] in key):
            self.reached.set()
            await self.open.wait()
        if (verb, key) in self.fail:
            raise self.fail[verb, key]


class Two:
    """An agent that was silent (`old`) and another one (`new`) at one store. There is a deleted backup, so that the
    sweep has something to do in any case."""

    def __init__(self, place: Path, old_at: int = 0, new_at: int = 0) -> None:
        self.node = Node(place / "node")
        self.node.sstable("shop", "orders", 1, 5_000)
        self.clock = Clock()
        self.old_door, self.new_door = Door(old_at), Door(new_at)
        self.store = MemoryStorage(clock=self.clock, hook=self.old_door)
        self.place = place
        self.old = self.agent("old", self.store)
        theirs = MemoryStorage(clock=self.clock, hook=self.new_door)
        theirs._objects = self.store._objects
        self.new = self.agent("new", theirs)
        self.new.on_sleep.append(self._later)

    def agent(self, name: str, store: MemoryStorage) -> Agent:
        return Agent(self.node, {"d1": store}, self.place / name, agent_id=name)

    async def _later(self, seconds: float) -> None:
        self.clock.now += seconds

    def backup(self) -> "asyncio.Task[State]":
        async def run() -> State:
            return (await self.old.backup.run(backup("t1"))).state

        return asyncio.create_task(run())

    def sweep(self) -> "asyncio.Task[object]":
        async def run() -> object:
            self.clock.now += SILENCE_SECONDS + 1
            given_up = [name for name, key in (("t1", INTENT), ("~sweep", MARK)) if key in self.store._objects]
            return await self.new.sweep.run(Command("sweep", SweepArguments(target(), given_up, 0.0)))

        return asyncio.create_task(run())

    def green(self) -> bool:
        """Raises when a manifest names what is not there. Whether the backup is."""
        return ("t1", HOST) in Oracle(MemoryReader(self.store)).check()

    def close(self) -> None:
        self.old.close()
        self.new.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    two = Two(tmp_path)
    yield two
    two.close()


async def paused(task: "asyncio.Task[object] | asyncio.Task[State]", door: Door) -> None:
    """Until the task stands before its door, or has ended."""
    reached = asyncio.ensure_future(door.reached.wait())
    await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()


async def ended_together(place: Path, old_at: int, new_at: int) -> tuple[str, bool]:
    """The backup stops before that step of its own, the sweep works until that one of its own and stops, the backup
    goes on to its end, then the sweep. How the backup ended, and whether the sweep came as far as its step."""
    two = Two(place, old_at, new_at)
    uploading = two.backup()
    await paused(uploading, two.old_door)
    sweeping = two.sweep()
    await paused(sweeping, two.new_door)
    two.old_door.open.set()
    (ended,) = await asyncio.gather(uploading, return_exceptions=True)
    two.new_door.open.set()
    (swept,) = await asyncio.gather(sweeping, return_exceptions=True)
    two.close()
    # What is taken back while a sweep looks can't be read, and that sweep deletes nothing.
    assert not isinstance(swept, BaseException) or isinstance(swept, IntentForeign | BackupNotFound | NotFound)
    assert two.green() == (ended is State.SUCCESS)
    if isinstance(ended, CopyFailed):
        code = next(one for one in ("intent_foreign", "manifest_incomplete") if one in ended.message)
        return code, two.new_door.reached.is_set()
    assert ended is State.SUCCESS, ended
    return "success", two.new_door.reached.is_set()


async def test_in_whatever_order_they_work_no_success_lost_anything(tmp_path: Path) -> None:
    """From the check of the objects on; before it, what went is missed in any case."""
    alone = Two(tmp_path / "alone")
    assert await alone.backup() is State.SUCCESS
    alone.close()
    steps = alone.old_door.seen
    data = [number for number, (verb, key) in enumerate(steps, 1) if verb == "put" and "/data/" in key]
    outcomes = set()
    for old_at in range(data[-1] + 1, len(steps) + 1):
        new_at, reached = 1, True
        while reached:
            outcome, reached = await ended_together(tmp_path / f"{old_at}-{new_at}", old_at, new_at)
            outcomes.add(outcome)
            new_at += 1
    assert outcomes == {"success", "intent_foreign", "manifest_incomplete"}


async def test_a_sweep_that_is_still_deleting_is_seen_by_its_mark(two: Two) -> None:
    """All objects are there when the backup looks, and go just afterwards."""
    two.old_door.stop, two.new_door.stop = ("put", MANIFEST), ("delete", "/data/")
    uploading = two.backup()
    await paused(uploading, two.old_door)
    sweeping = two.sweep()
    await paused(sweeping, two.new_door)
    two.old_door.open.set()
    with pytest.raises(CopyFailed, match="intent_foreign"):
        await uploading
    two.new_door.open.set()
    await sweeping
    assert not two.green()


async def stopped_after_the_manifest(two: Two, fail: tuple[str, str], error: BaseException) -> Command:
    """The old agent's upload fails, or dies, at that operation after it has put the manifest of a backup whose objects
    go; the sweep has ended. The snapshot stays for the next try."""
    await two.old.snapshot.run(Command("s", SnapshotArguments("t1")))
    command = Command("u", UploadArguments("t1", [target()]))
    two.old_door.stop, two.new_door.stop = ("put", MANIFEST), ("delete", "/data/")
    uploading = asyncio.create_task(two.old.upload.run(command))
    await paused(uploading, two.old_door)
    sweeping = two.sweep()
    await paused(sweeping, two.new_door)
    two.old_door.fail = {fail: error}
    two.old_door.open.set()
    (ended,) = await asyncio.gather(uploading, return_exceptions=True)
    assert isinstance(ended, BaseException)
    assert "intent_foreign" in str(ended) or crashed(ended)
    assert MANIFEST in two.store._objects
    two.old_door.fail = {}
    with pytest.raises(CopyFailed, match="intent_foreign"):  # objects may go yet
        await two.old.upload.run(command)
    assert MANIFEST in two.store._objects
    two.new_door.open.set()
    await sweeping
    return command


@pytest.mark.parametrize("error", [Denied("no deletes here"), Transient("no answer")])
async def test_a_manifest_that_could_not_be_taken_back_is_made_good(two: Two, error: Exception) -> None:
    """By the next try: its objects are put again."""
    command = await stopped_after_the_manifest(two, ("delete", MANIFEST), error)
    assert (await two.old.upload.run(command)).state is State.SUCCESS
    assert two.green()


async def test_an_agent_that_died_with_an_unproven_manifest_proves_it_when_it_resumes(two: Two) -> None:
    """Promise: a manifest that was put beside a given-up intent is never believed unseen."""
    command = await stopped_after_the_manifest(two, ("head", MARK), Crash())
    again = two.agent("old", two.store)
    assert (await again.upload.run(command)).state is State.SUCCESS
    again.close()
    assert two.green()


async def test_an_old_backup_is_not_taken_away_because_another_agent_sweeps(two: Two) -> None:
    """It was published before the sweep began, which keeps what it needs; uploaded again, it is left as it is."""
    await two.old.snapshot.run(Command("s", SnapshotArguments("t1", keep=True)))
    await two.old.upload.run(Command("u1", UploadArguments("t1", [target()])))
    await two.old.backup.run(backup("t0"))
    await two.old.delete.run(Command("d", DeleteArguments("t0", target())))
    two.new_door.stop = ("delete", "t0")
    sweeping = two.sweep()
    await paused(sweeping, two.new_door)
    with pytest.raises(CopyFailed, match="intent_foreign"):
        await two.old.upload.run(Command("u2", UploadArguments("t1", [target()])))
    two.new_door.open.set()
    await sweeping
    two.old_door.seen.clear()
    assert (await two.old.upload.run(Command("u3", UploadArguments("t1", [target()])))).state is State.SUCCESS
    assert not [key for verb, key in two.old_door.seen if verb in ("put", "delete")]
    assert two.green()


async def test_another_agents_intent_of_the_same_tag_is_neither_believed_nor_dropped(two: Two) -> None:
    """Given up, the intent may be followed by that of another agent which makes the same backup."""
    two.old_door.stop = ("put", MANIFEST)
    uploading = two.backup()
    await paused(uploading, two.old_door)
    del two.store._objects[INTENT]
    taken = next(key for key in two.store._objects if "/data/" in key)
    theirs = OpenedRepository("d1", two.store, REPOSITORY, CLUSTER, OPEN, 4)
    del two.store._objects[taken]
    await Intents(theirs, HOST, Writer("new", "i9")).begin("t1", "its command")
    two.old_door.open.set()
    with pytest.raises(CopyFailed, match="manifest_incomplete"):
        await uploading
    assert INTENT in two.store._objects
    assert not two.green()


async def test_a_sweep_that_is_cut_between_its_deletions_leaves_its_mark(two: Two) -> None:
    """What it asked for last may be done later: no backup comes between. Its agent's next sweep clears it."""
    await two.old.backup.run(backup("t1"))
    await two.old.delete.run(Command("d", DeleteArguments("t1", target())))
    taken = next(key for key in two.store._objects if "/data/" in key)
    two.new_door.fail = {("delete", taken): Transient("no answer")}
    with pytest.raises(Transient):
        await two.sweep()
    assert MARK in two.store._objects
    two.new_door.fail = {}
    two.clock.now += 1.0
    await two.new.sweep.run(Command("again", SweepArguments(target(), [], 0.0)))
    assert not two.store._objects
