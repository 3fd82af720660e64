"""FETCH that is done again: every SSTable stands once in held/, and it is what this command asks for."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent.cassandra.directories import Volume
from agent.cassandra.imports import held_sstables
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.staging import make_directory, make_root, staging_root
from agent.jobs.restore.errors import JobDiffers, JobFinished
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.notes import BatchLine, RestoreNotes
from agent.jobs.restore.tools import RestoreTools
from agent.jobs.restore.volumes import StagingPlan
from agent.wire.commands import RestoreArguments
from agent.wire.results import FetchResult
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context

SSTABLES = ["nb-1-big", "nb-2-big", "nb-3-big"]


class Fixture:
    """A node with two data directories, neither of them where the backup was taken."""

    def __init__(self, tmp_path: Path) -> None:
        self.data = [tmp_path / "one" / "data", tmp_path / "two" / "data"]
        for directory in self.data:
            (directory / "system").mkdir(parents=True)
        self.state = tmp_path / "state"
        settings = CassandraSettings(data_directories=tuple(str(directory) for directory in self.data))
        self.cassandra = CassandraNode(settings, self.state)
        self.backup = BackupInMemory(SSTABLES)
        self.notes = RestoreNotes(self.state, "job-1")
        self.roots = [staging_root(str(directory), "job-1") for directory in self.data]
        self.arguments = RestoreArguments("tag", HOST, {"ks": ["t"]})

    async def fetch(self, arguments: RestoreArguments | None = None) -> FetchResult:
        job = FetchJob(RestoreTools(self.cassandra, self.backup, self.state))
        result = (await job.run(Context(arguments or self.arguments))).result
        assert isinstance(result, FetchResult)
        return result

    def held(self) -> dict[str, int]:
        found = held_sstables(self.roots, "ks", "t")
        assert len({one.sstable for one in found}) == len(found)
        return {one.sstable: one.root for one in found}

    def put(self, root: int, name: str, content: bytes) -> None:
        make_root(self.roots[root])
        (make_directory(self.roots[root], ("held", "ks", "t")) / name).write_bytes(content)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(tmp_path)
    yield fixture
    await fixture.cassandra.close()


async def test_a_fetch_that_was_killed_goes_on_on_the_volume_where_it_began(node: Fixture) -> None:
    """Each SSTable is staged on one volume, though the one with most room is another by now; a copy too many and
    unfinished files go, for the import takes whatever stands there."""
    await node.fetch()
    assert node.held() == dict.fromkeys(SSTABLES, 0)
    await node.notes.forget_fetched()  # killed before its end was noted …
    for part in ("Data.db", "Statistics.db"):  # … with one SSTable on the other volume, and one on both
        name = f"nb-2-big-{part}"
        node.put(1, name, (node.roots[0].held("ks", "t") / name).read_bytes())
        (node.roots[0].held("ks", "t") / name).unlink()
        node.put(1, f"nb-3-big-{part}", node.backup.content("nb-3-big", part))
    node.put(1, ".nb-1-big-Data.db.part", b"half")
    node.put(1, "nb-9-big-Data.db", b"of no backup")
    node.backup.fetched.clear()
    result = await node.fetch()
    assert node.backup.fetched == []
    assert result.tables["ks"]["t"][2] == len(SSTABLES)
    assert node.held() == {"nb-1-big": 0, "nb-2-big": 1, "nb-3-big": 0}
    assert sorted(path.name for path in node.roots[1].held("ks", "t").iterdir()) == [
        "nb-2-big-Data.db",
        "nb-2-big-Statistics.db",
    ]


def test_what_was_begun_counts_more_than_the_room() -> None:
    """And its bytes count where it is."""
    volumes = [Volume("/a", 1, "a", 100, 90), Volume("/b", 2, "b", 100, 10)]
    entries = BackupInMemory(["nb-1-big"]).entries["nb-1-big"]
    plan = StagingPlan(["/gone"], volumes)
    assert plan.place(entries, 1) == 1
    assert plan.bytes_on == [0, sum(entry.size for entry in entries)]
    assert plan.place(entries) == 0


async def test_what_vanished_since_it_was_fetched_is_fetched_again(node: Fixture) -> None:
    """The same restore, sent again, heals it in one call: a file that is gone, and a volume that was wiped, with which
    batches that were imported may be gone too."""
    await node.fetch()
    (node.roots[0].held("ks", "t") / "nb-2-big-Data.db").unlink()
    await node.notes.put_batch(BatchLine(1, "ks", "t", [(0, "nb-1-big")], True))
    node.backup.fetched.clear()
    await node.fetch()
    assert node.backup.fetched == ["nb-2-big-Data.db"]
    assert len(await node.notes.batches()) == 1
    shutil.rmtree(node.data[1].parent)
    (node.data[1] / "system").mkdir(parents=True)
    await node.fetch()
    assert await node.notes.batches() == []
    assert sorted(node.held()) == SSTABLES
    node.backup.fetched.clear()
    await node.fetch()
    assert node.backup.fetched == []


def test_directories_of_one_device_have_the_same_room() -> None:
    """Whatever others wrote there between two looks: the first of them is taken."""
    volumes = [Volume("/a", 1, "a", 100, 50), Volume("/b", 1, "a", 100, 51)]
    assert StagingPlan(["/gone"], volumes).place(BackupInMemory(["nb-1-big"]).entries["nb-1-big"]) == 0


async def test_an_undone_attempt_does_not_use_the_job_up(node: Fixture) -> None:
    """Cleaned before its import and fetched anew, the job can still be taken up after its import has begun."""
    await node.fetch()
    await node.notes.put_cleaned()
    await node.fetch()
    await node.notes.begin_import()
    assert (await node.fetch()).tables["ks"]["t"][2] == len(SSTABLES)
    await node.notes.put_cleaned()
    with pytest.raises(JobFinished):
        await node.fetch()


async def test_a_job_that_is_asked_for_something_else_begins_afresh(node: Fixture) -> None:
    """What another backup left in held/ is never imported as this one's; after the import has begun it is refused."""
    await node.fetch()
    node.backup = BackupInMemory(SSTABLES[:2])
    other = msgspec.structs.replace(node.arguments, tag="other")
    assert (await node.fetch(other)).tables["ks"]["t"][2] == 2
    assert len(node.backup.fetched) == 4
    assert sorted(node.held()) == SSTABLES[:2]
    await node.notes.begin_import()
    assert (await node.fetch(other)).tables["ks"]["t"][2] == 2
    for differing in (node.arguments, msgspec.structs.replace(other, tables={"ks": ["t", "u"]})):
        with pytest.raises(JobDiffers):
            await node.fetch(differing)


@pytest.mark.parametrize("there", [False, True], ids=["fetched now", "fetched before"])
async def test_a_fetch_that_is_cancelled_leaves_nothing_staged(
    node: Fixture, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Promise: what a cancelled restore fetched goes, also when an earlier command had fetched all of it and this one
    only waits for other restores' batches; the same job fetches it anew."""
    waits = asyncio.Event()

    async def wait_for_ever(*given: object) -> None:
        waits.set()
        await asyncio.Event().wait()

    if there:
        await node.fetch()
    monkeypatch.setattr("agent.jobs.restore.fetch.end_other_imports", wait_for_ever)
    context = Context(node.arguments)
    fetching = asyncio.create_task(FetchJob(RestoreTools(node.cassandra, node.backup, node.state)).run(context))
    await asyncio.wait_for(waits.wait(), 10)
    assert sorted(node.held()) == SSTABLES
    context.undo = True
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert [root.path for root in node.roots if root.path.exists()] == []
    monkeypatch.undo()
    assert (await node.fetch()).tables["ks"]["t"][2] == len(SSTABLES)


async def test_a_fetch_that_is_resumed_only_to_be_undone_leaves_nothing_staged(
    node: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the cancel of an agent that was killed is carried out at its next start, by the first stage that the
    command enters, also when nothing was left to fetch."""
    await node.fetch()
    context = Context(node.arguments)
    context.undo = True

    async def cancel(stage: str, data: object = None) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(context.stages, "enter", cancel)
    with pytest.raises(asyncio.CancelledError):
        await FetchJob(RestoreTools(node.cassandra, node.backup, node.state)).run(context)
    assert [root.path for root in node.roots if root.path.exists()] == []
