"""What a person sees of a copy that takes long: counts move within an object, and end exactly at the totals."""

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.repository_source import RestoreSources
from agent.jobs.restore.tools import RestoreTools
from agent.progress.tally import CommandTally
from agent.repository.on_server import OnServer
from agent.storage.limited import Limited
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import DestinationFull, Storage
from agent.wire.commands import BackupArguments, Counts, RestoreArguments, SnapshotArguments, Target, UploadArguments
from agent.wire.destinations import ON_SERVER
from tests.fast.jobs.agent_in_memory import Agent, Command, Crash, Faults, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.storage.memory import MemoryStorage

MIB = 1024 * 1024
SIZE = 3 * MIB


class Narrow:
    """A limit that lets `most` bytes through and holds what follows until it is told to go on."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._held = threading.Event()
        self._go_on = threading.Event()

    def pass_bytes(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            self._held.set()
            assert self._go_on.wait(60)

    async def held(self) -> None:
        """Return when something is held."""
        assert await asyncio.to_thread(self._held.wait, 60)

    def go_on(self) -> None:
        """Hold nothing any more."""
        self._go_on.set()


@dataclass
class Shown(Command):
    """A command with the counters of a real one."""

    counters: CommandTally = field(default_factory=CommandTally)

    @property
    def tally(self) -> Any:
        return self.counters

    def of(self, destination: str = "d1") -> Counts:
        """What the command's view shows of the table."""
        return self.counters.view()[destination]["ks"]["t"]


def backup(tag: str = "t1", *destinations: str, keep: bool = False) -> Shown:
    targets = [target(name) for name in destinations or ("d1",)]
    return Shown(f"command-{tag}", BackupArguments(SnapshotArguments(tag, keep=keep), targets))


def fetch(node: Node, storages: dict[str, Storage], source: Target | None, place: Path) -> tuple[FetchJob, Shown]:
    """The phase of a restore of `t1`, on a node whose data is elsewhere."""
    (place / "data" / "system").mkdir(parents=True, exist_ok=True)
    cassandra = CassandraNode(CassandraSettings(data_directories=(str(place / "data"),)), place / "state")
    sources = RestoreSources(Repositories(storages), node, OnServer(place / "agent" / "on-server"))
    arguments = RestoreArguments("t1", HOST, {"ks": ["t"]}, source=source)
    return FetchJob(RestoreTools(cassandra, sources, place / "state")), Shown("fetch", arguments, job="job-1")


def whole(counts: Counts) -> bool:
    """Whether all is done, and nothing counted twice."""
    return (counts.done_files, counts.done_bytes) == (counts.total_files, counts.total_bytes)


def under_way(counts: Counts) -> bool:
    """Whether the large file is partly counted."""
    return MIB <= counts.done_bytes < SIZE and counts.done_files < counts.total_files


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node")
    node.sstable("ks", "t", 1, SIZE)
    node.sstable("ks", "t", 2, 900)
    return node


@pytest.fixture
def place(tmp_path: Path) -> LocalStorage:
    (tmp_path / "place").mkdir()
    return LocalStorage(tmp_path / "place")


async def test_a_copy_under_a_limit_moves_within_an_object(node: Node, place: LocalStorage, tmp_path: Path) -> None:
    """Promise: the counts of a large file grow while it is on its way, for each destination by itself, and are the
    totals at the end."""
    narrow = Narrow(MIB + MIB // 2)
    agent = Agent(node, {"d1": Limited(place, narrow), "d2": MemoryStorage()}, tmp_path / "state")
    command = backup("t1", "d1", "d2")
    running = asyncio.create_task(agent.backup.run(command))
    await narrow.held()
    assert under_way(command.of("d1"))
    while command.of("d2").done_bytes < SIZE:  # noqa: ASYNC110 - it need not wait for the other one
        await asyncio.sleep(0.001)
    assert under_way(command.of("d1"))
    narrow.go_on()
    await running
    agent.close()
    await place.close()
    assert whole(command.of("d1"))
    assert whole(command.of("d2"))


async def test_a_fetch_under_a_limit_moves_within_an_object(node: Node, place: LocalStorage, tmp_path: Path) -> None:
    """Promise: the same of a restore, and of one that goes on with what an earlier run has fetched."""
    agent = Agent(node, {"d1": place}, tmp_path / "state")
    await agent.backup.run(backup())
    agent.close()
    narrow = Narrow(MIB + MIB // 2)
    job, command = fetch(node, {"d1": Limited(place, narrow)}, target(), tmp_path / "restored")
    running = asyncio.create_task(job.run(command))
    await narrow.held()
    assert under_way(command.of())
    narrow.go_on()
    await running
    assert whole(command.of())
    for path in (tmp_path / "restored" / "state").rglob("fetched*"):
        path.unlink()  # killed before its end was noted
    job, command = fetch(node, {"d1": Limited(place, narrow)}, target(), tmp_path / "restored")
    await job.run(command)
    await place.close()
    assert whole(command.of())


async def test_a_fetch_counts_the_same_files_from_the_start_and_when_all_are_there(
    node: Node, place: LocalStorage, tmp_path: Path
) -> None:
    """Promise: the totals of a fetch are known before its first byte came and stay; a restore that goes on with what
    was fetched shows its files and bytes again."""
    agent = Agent(node, {"d1": place}, tmp_path / "state")
    await agent.backup.run(backup())
    agent.close()
    narrow = Narrow(MIB)
    job, command = fetch(node, {"d1": Limited(place, narrow)}, target(), tmp_path / "restored")
    running = asyncio.create_task(job.run(command))
    await narrow.held()
    first = command.of()
    narrow.go_on()
    await running
    last = command.of()
    assert (first.total_files, first.total_bytes) == (last.total_files, last.total_bytes)
    job, command = fetch(node, {}, target(), tmp_path / "restored")
    await job.run(command)
    await place.close()
    assert command.of() == last
    assert whole(last)
    assert last.total_files == 16


async def test_what_a_node_fetches_from_itself_is_counted_once(node: Node, tmp_path: Path) -> None:
    """Promise: of an on-server backup, whose files are compared and linked, every byte counts once."""
    agent = Agent(node, {}, tmp_path / "restored" / "agent")
    await agent.snapshot.run(Shown("s", SnapshotArguments("t1", keep=True)))
    agent.close()
    job, command = fetch(node, {}, None, tmp_path / "restored")
    await job.run(command)
    assert whole(command.of(ON_SERVER))


async def test_what_a_killed_copy_had_counted_is_not_counted_again(node: Node, tmp_path: Path) -> None:
    """Promise: killed before any operation on the store and resumed, the counts end at the totals."""
    faults, at, crashes = Faults(), 0, True
    while crashes:
        at += 1
        storage = MemoryStorage(hook=faults)
        faults.begin(at)
        state = tmp_path / f"state {at}"
        agent = Agent(node, {"d1": storage}, state)
        command = backup(f"t{at}")
        try:
            await agent.backup.run(command)
        except (Crash, BaseExceptionGroup):
            crashes = True
        else:
            crashes = False
        agent.close()
        faults.begin(None)
        resumed = Shown(command.command_id, command.arguments, current=command.current, saved=command.saved)
        agent = Agent(node, {"d1": storage}, state)
        await agent.backup.run(resumed)
        assert whole(resumed.of())
        agent.close()
    assert whole(command.of())


@pytest.mark.parametrize("done", [("d1",), ("d1", "d2")])
async def test_what_was_published_before_a_kill_is_counted_after_it(
    done: tuple[str, ...], node: Node, tmp_path: Path
) -> None:
    """Promise: an upload that is killed once destinations are done, or while its snapshot is cleared, ends with the
    counts of all of them, also when what it resumes found them done itself."""
    whole_upload, faults = Faults(), Faults()
    storages: dict[str, Storage] = {"d1": MemoryStorage(hook=whole_upload), "d2": MemoryStorage(hook=faults)}
    agent = Agent(node, storages, tmp_path / "state")
    await agent.snapshot.run(Shown("s", SnapshotArguments("t1")))
    if "d2" not in done:
        faults.fail["put"] = DestinationFull("no room")
    node.refuse_clear = Crash()
    command = Shown("u", UploadArguments("t1", [target("d1"), target("d2")]))
    if "d2" in done:
        with pytest.raises((Crash, BaseExceptionGroup)):
            await agent.upload.run(command)
        assert command.current == "clearing"
    else:
        await agent.upload.run(command)
        assert command.current == "published"
    before = command.of("d1")
    agent.close()
    faults.fail.clear()
    node.refuse_clear = None
    for _ in range(2):
        agent = Agent(node, storages, tmp_path / "state")
        command = Shown(command.command_id, command.arguments, current=command.current, saved=command.saved)
        await agent.upload.run(command)
        agent.close()
        assert command.of("d1") == command.of("d2") == before
        assert whole(before)


async def test_bytes_that_did_not_arrive_are_taken_back(node: Node, place: LocalStorage, tmp_path: Path) -> None:
    """Promise: of a destination that fails half way, only what is there is counted."""

    class Full:
        left = MIB + MIB // 2

        def pass_bytes(self, count: int) -> None:
            self.left -= count
            if self.left < 0:
                raise DestinationFull("no room")

    agent = Agent(node, {"d1": Limited(place, Full()), "d2": MemoryStorage()}, tmp_path / "state")
    command = backup("t1", "d1", "d2")
    await agent.backup.run(command)
    agent.close()
    await place.close()
    assert command.of("d1").done_bytes < MIB
    assert whole(command.of("d2"))
