"""The import of held SSTables, on directories: counts, resumes, refusals."""

import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.cql import Cql, Row
from agent.cassandra.errors import CassandraUnavailable, ControlOfAnotherNode, ImportFailed, StagingRefused
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings, CqlSettings
from agent.cassandra.staging import make_directory, make_root, staging_root
from agent.jobs.restore.errors import CountsDiffer, ImportStopped, NotFetched
from agent.jobs.restore.notes import BatchLine, Fetched, RestoreNotes
from agent.jobs.restore.phases import restore_jobs
from agent.jobs.restore.tools import RestoreTools
from agent.model.refusals import ImportHasBegun, TooLate
from agent.pipeline.errors import TargetFull
from agent.progress.tally import CommandTally
from agent.wire.commands import Counts, Kind, RestoreArguments
from agent.wire.destinations import ON_SERVER
from tests.fast.cassandra.directory_control import DirectoryControl, refuse
from tests.fast.cassandra.proven_control import OTHER, OWN, proven
from tests.fast.failing_disk import FailingDisk
from tests.fast.restore.context import Context
from tests.fast.restore.latest_first import OneTable

HOST = "f07c0f1d-962d-4981-b44f-35682d1a3fe8"
SSTABLES = 5


class NoSources:
    def opened(self, arguments: Any, waiting: Any = None, *, indexes: bool = False) -> Any:
        raise AssertionError("an import needs no source")


class Sampled(Cql):
    """A node whose every read is answered with `answer`."""

    def __init__(self, answer: list[Row] | CassandraUnavailable) -> None:
        super().__init__(CqlSettings())
        self._answer = answer

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[Row]:
        assert statement == 'SELECT * FROM "ks"."t" LIMIT 1'
        if isinstance(self._answer, CassandraUnavailable):
            raise self._answer
        return self._answer


class Fixture:
    """A node of directories, with five SSTables of one table in held/."""

    def __init__(self, tmp_path: Path) -> None:
        self.data = tmp_path / "cassandra" / "data"
        (self.data / "system").mkdir(parents=True)
        self.state = tmp_path / "state"
        nobody = CqlSettings(host="127.0.30.99", connect_seconds=1.0)
        settings = CassandraSettings(data_directories=(str(self.data),), cql=nobody)
        self.cassandra = node = CassandraNode(settings, self.state)
        self.control = DirectoryControl(self.data)
        node.control = self.control
        node.view = OneTable(node.cql)
        tools = RestoreTools(node, NoSources(), self.state, clock=lambda: 100.0, imports_at_a_time=2)
        self.jobs = restore_jobs(tools)
        self.notes = RestoreNotes(self.state, "job-1")
        self.root = staging_root(str(self.data), "job-1")
        self.arguments = RestoreArguments("tag", HOST, {"ks": ["t"]}, batch_sstables=2)

    async def hold(self) -> None:
        make_root(self.root)
        held = make_directory(self.root, ("held", "ks", "t"))
        for number in range(1, SSTABLES + 1):
            (held / f"nb-{number}-big-Data.db").write_bytes(b"data %d" % number)
            (held / f"nb-{number}-big-Statistics.db").write_bytes(b"statistics")
        await self.notes.put_staging([self.root])
        await self.notes.put_fetched(Fetched("tag", HOST, {"ks": {"t": [10, 80, SSTABLES]}}))

    async def run(self, kind: Kind, change: Callable[[Context], None] = lambda context: None) -> Any:
        context = Context(self.arguments)
        change(context)
        return (await self.jobs[kind](context)).result

    def imports(self) -> int:
        return sum(1 for call in self.control.calls if call[0] == "import")

    def held(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.root.held("ks", "t").iterdir()}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(tmp_path)
    await fixture.hold()
    yield fixture
    await fixture.cassandra.close()


async def test_everything_held_is_imported_once_and_held_keeps_its_bytes(node: Fixture) -> None:
    """Links go, the verified bytes stay as they were, although Cassandra rewrites Statistics.db of what it is given."""
    before = node.held()
    result = await node.run(Kind.IMPORT)
    assert result.imported == {"ks": {"t": SSTABLES}}
    assert node.control.data_files("ks", "t") == [b"data %d" % number for number in range(1, SSTABLES + 1)]
    assert node.imports() == 3
    assert node.held() == before
    assert (await node.run(Kind.CHECK)).imported == {"ks": {"t": SSTABLES}}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([{"k": 1}], []),
        ([], ["ks.t shows no row (expired or deleted data, or another node's)"]),
        (CassandraUnavailable("it is busy"), ["ks.t could not be read: it is busy"]),
    ],
    ids=["a row", "no row", "no answer"],
)
async def test_a_sampled_read_only_warns(
    node: Fixture, answer: list[Row] | CassandraUnavailable, told: list[str]
) -> None:
    """Promise: what was verified and imported is in, whatever one read at ONE on this node shows of it."""
    await node.run(Kind.IMPORT)
    node.cassandra.cql = Sampled(answer)
    result = await node.run(Kind.CHECK)
    assert result.imported == {"ks": {"t": SSTABLES}}
    assert result.warnings == told


@pytest.mark.parametrize("place", ["", "/truncated-1-other"])
async def test_a_check_ends_well_although_cassandras_own_snapshots_can_not_be_counted(
    node: Fixture, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Promise: what was verified is in, and no directory of another table makes an error of that; a warning says what
    is not known."""
    await node.run(Kind.IMPORT)
    snapshots = node.control.directory("other", "other") / "snapshots"
    (snapshots / "truncated-1-other").mkdir(parents=True)
    (snapshots / "truncated-1-other" / "nb-1-big-Data.db").write_bytes(b"x")
    assert (await node.run(Kind.CHECK)).kept_snapshots == 1
    FailingDisk(monkeypatch).fail(f"{snapshots}{place}", errno.EACCES, "scandir")
    result = await node.run(Kind.CHECK)
    assert result.imported == {"ks": {"t": SSTABLES}}
    assert (result.kept_snapshots, result.kept_bytes) == (0, 0)
    assert any(str(snapshots) in warning for warning in result.warnings)


async def test_nothing_is_imported_into_another_node(node: Fixture) -> None:
    """Promise: an agent that came back with another node's port has not begun the import; with the right one it goes
    on."""
    node.cassandra.control = proven(node.control, behind=OTHER)
    with pytest.raises(ControlOfAnotherNode):
        await node.run(Kind.IMPORT)
    assert (node.imports(), node.notes.import_begun()) == (0, False)
    node.cassandra.control = proven(node.control, behind=OWN)
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}


async def test_a_second_command_of_the_job_imports_nothing_twice(node: Fixture) -> None:
    """The same restore posted again."""
    await node.run(Kind.IMPORT)
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
    assert node.imports() == 3


async def test_an_import_cut_within_a_batch_goes_on_there(node: Fixture) -> None:
    """Batches that are done are passed over, the cut one is made afresh from held/; each SSTable is counted once."""
    moved: list[str] = []

    def cut(name: str) -> None:
        if len(moved) == 1:
            raise CassandraUnavailable("Cassandra went away")
        moved.append(name)

    node.control.before_data = cut
    with pytest.raises(CassandraUnavailable):
        await node.run(Kind.IMPORT)
    node.control.before_data = lambda name: None
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
    there = node.control.data_files("ks", "t")
    assert set(there) == {b"data %d" % number for number in range(1, SSTABLES + 1)}
    assert len(there) <= SSTABLES + 1  # what came in before the cut is there twice, which reads merge
    await node.run(Kind.CHECK)  # the cut batch's links stand in nobody's way


async def test_an_import_counts_files_and_bytes_batch_by_batch(node: Fixture) -> None:
    """The totals are those of what was fetched; a batch counts when it is in, and after a cut what was in before."""
    tally = CommandTally()
    seen: list[Counts] = []

    def counted(context: Context) -> None:
        context.tally = tally  # type: ignore[assignment]

    def told() -> Counts:
        return tally.view()[ON_SERVER]["ks"]["t"]

    def cut(name: str) -> None:
        seen.append(told())
        if len(seen) == 5:
            raise CassandraUnavailable("Cassandra went away")

    node.control.before_data = cut
    with pytest.raises(CassandraUnavailable):
        await node.run(Kind.IMPORT, counted)
    assert seen[0] == Counts(0, 10, 0, 80)
    assert told() in (Counts(4, 10, 32, 80), Counts(8, 10, 64, 80), Counts(6, 10, 48, 80))
    before, tally = told(), CommandTally()
    node.control.before_data = lambda name: seen.append(told())
    await node.run(Kind.IMPORT, counted)
    assert seen[5] == before
    assert told() == Counts(10, 10, 80, 80)
    tally = CommandTally()
    await node.run(Kind.IMPORT, counted)
    assert told() == Counts(10, 10, 80, 80)


async def test_a_refused_sstable_fails_the_import_and_the_check_tells(node: Fixture) -> None:
    """Nothing is called a success with a Data.db left in staging."""
    node.control.before_data = refuse
    with pytest.raises(ImportFailed):
        await node.run(Kind.IMPORT)
    with pytest.raises(CountsDiffer) as caught:
        await node.run(Kind.CHECK)
    assert caught.value.fields["left"]


async def test_a_data_file_left_behind_is_a_failure_whatever_the_exit_code(node: Fixture) -> None:
    """nodetool that says 0 and moved nothing."""

    async def idle(keyspace: str, table: str, directories: Any) -> str:
        return "all is fine"

    node.control.import_sstables = idle  # type: ignore[method-assign]
    with pytest.raises(ImportFailed, match="not imported"):
        await node.run(Kind.IMPORT)


@pytest.mark.parametrize("lost", ["*-Data.db", "*-Statistics.db", "nb-2-*"])
async def test_held_files_that_vanished_fail_the_import_before_cassandra_is_told(node: Fixture, lost: str) -> None:
    """Never a quiet success with fewer SSTables; the job forgets that it fetched, so that the same restore, sent again,
    fetches what is missing and imports all of it once."""
    for path in node.root.held("ks", "t").glob(lost):
        path.unlink()
    with pytest.raises(CountsDiffer) as caught:
        await node.run(Kind.IMPORT)
    assert caught.value.fields["tables"]
    assert node.imports() == 0
    assert await node.notes.fetched() is None
    await node.hold()
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
    assert (await node.run(Kind.CHECK)).imported == {"ks": {"t": SSTABLES}}


async def test_what_came_to_held_is_not_imported(node: Fixture) -> None:
    """An SSTable of no backup would add rows."""
    (node.root.held("ks", "t") / "nb-9-big-Data.db").write_bytes(b"foreign")
    with pytest.raises(CountsDiffer):
        await node.run(Kind.IMPORT)
    assert node.imports() == 0


async def test_a_restore_whose_check_finds_less_is_finished_by_sending_it_again(node: Fixture) -> None:
    """Only what no finished batch had is imported again."""
    await node.run(Kind.IMPORT)
    journal = node.state / "jobs" / "job-1" / "imports.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"number":1,' in line))
    with pytest.raises(CountsDiffer):
        await node.run(Kind.CHECK)
    with pytest.raises(NotFetched):
        await node.run(Kind.IMPORT)
    await node.hold()
    before = node.imports()
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
    assert node.imports() == before + 2
    assert (await node.run(Kind.CHECK)).imported == {"ks": {"t": SSTABLES}}


async def test_a_restore_whose_check_finds_more_is_finished_by_sending_it_again(node: Fixture) -> None:
    """The journal counts more than the backup has: nothing that it says of that table counts any more."""
    await node.run(Kind.IMPORT)
    await node.notes.put_batch(BatchLine(9, "ks", "t", [(0, "nb-9-big")], True))
    with pytest.raises(CountsDiffer):
        await node.run(Kind.CHECK)
    await node.hold()
    before = node.imports()
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
    assert node.imports() == 2 * before
    assert (await node.run(Kind.CHECK)).imported == {"ks": {"t": SSTABLES}}


@pytest.mark.parametrize("kind", [Kind.IMPORT, Kind.CHECK])
async def test_a_node_that_was_wiped_after_its_import_imports_all_of_it_again(node: Fixture, kind: Kind) -> None:
    """A node that is replaced by itself keeps its host id, and the agent its notes of batches that are done, but the
    disks are empty: the job is never called finished without its rows."""
    await node.run(Kind.IMPORT)
    shutil.rmtree(node.data.parent)
    (node.data / "system").mkdir(parents=True)
    with pytest.raises(CountsDiffer, match="wiped"):
        await node.run(kind)
    await node.hold()
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
    assert len(node.control.data_files("ks", "t")) == SSTABLES
    assert (await node.run(Kind.CHECK)).imported == {"ks": {"t": SSTABLES}}


async def test_links_left_by_any_batch_go_when_all_is_in(node: Fixture) -> None:
    """Also of a batch that the journal doesn't know: else no later check could ever succeed."""
    left = make_directory(node.root, ("import", "77", "ks", "t")) / "nb-1-big-Data.db"
    left.write_bytes(b"data 1")
    await node.run(Kind.IMPORT)
    assert (await node.run(Kind.CHECK)).imported == {"ks": {"t": SSTABLES}}


@pytest.mark.parametrize("kind", [Kind.TRUNCATE, Kind.SCHEMA, Kind.DROP_VIEWS])
async def test_truncate_and_ddl_are_refused_once_the_import_has_begun(node: Fixture, kind: Kind) -> None:
    """A late command of the same job would remove restored rows."""
    await node.notes.begin_import()
    with pytest.raises(ImportHasBegun):
        await node.run(kind)


async def test_a_forced_stop_ends_between_batches_and_says_what_is_in(node: Fixture) -> None:
    """The next command of the job goes on."""

    def stop(context: Context) -> None:
        node.control.before_data = lambda name: setattr(context, "stop_requested", True)

    with pytest.raises(ImportStopped) as caught:
        await node.run(Kind.IMPORT, stop)
    inside = caught.value.fields["imported"]
    assert isinstance(inside, dict)
    assert 0 < inside["ks"]["t"] < SSTABLES
    node.control.before_data = lambda name: None
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}


async def test_an_import_without_fetched_files_is_refused(tmp_path: Path) -> None:
    """Also one whose time has passed."""
    fixture = Fixture(tmp_path)
    with pytest.raises(NotFetched):
        await fixture.run(Kind.IMPORT)
    await fixture.hold()
    with pytest.raises(TooLate):
        await fixture.run(Kind.IMPORT, lambda context: setattr(context, "not_after", 99.0))
    assert not fixture.notes.import_begun()


async def test_cleaning_leaves_nothing_but_the_notes(node: Fixture) -> None:
    """Also when there is nothing to clean."""
    await node.run(Kind.IMPORT)
    assert (await node.run(Kind.CLEAN)).done == [str(node.root.path)]
    assert not (node.data.parent / ".helenus").exists()
    assert (await node.run(Kind.CLEAN)).done == []
    assert node.notes.import_begun()


@pytest.mark.parametrize("place", ["owner", "held/ks/t"])
async def test_staging_that_cannot_be_looked_at_is_refused_by_name(
    node: Fixture, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Rights that somebody changed are a person's to mend: what was fetched stays noted, the code says what to do."""
    unreadable = node.root.path / place
    stat, listdir = os.stat, os.listdir

    def refused(path: Any, real: Any, *given: Any, **more: Any) -> Any:
        if path == unreadable:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *given, **more)

    monkeypatch.setattr(os, "stat", lambda path, *given, **more: refused(path, stat, *given, **more))
    monkeypatch.setattr(os, "listdir", lambda path, *given, **more: refused(path, listdir, *given, **more))
    for kind in (Kind.IMPORT, Kind.CHECK) if place == "owner" else (Kind.IMPORT,):
        with pytest.raises(StagingRefused, match=place) as caught:
            await node.run(kind)
        assert caught.value.fields["path"] == str(unreadable)
    assert await node.notes.fetched() is not None
    assert node.imports() == 0


async def test_a_full_disk_of_the_state_ends_the_import_by_its_code(
    node: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a fault of the agent: room is made where the error says, and the same import goes on."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetFull, match="state directory") as caught:
        await node.run(Kind.IMPORT)
    assert (caught.value.code, caught.value.fields["path"]) == ("disk_full", str(node.state))
    assert node.imports() == 0
    monkeypatch.undo()
    assert (await node.run(Kind.IMPORT)).imported == {"ks": {"t": SSTABLES}}
