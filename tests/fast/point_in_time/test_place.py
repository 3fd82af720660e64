"""PIT_PLACE, PIT_VERIFY, PIT_UNDO and PIT_CLEAN on a node of real files: what moves, what stays, what is refused."""

import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.errors import FilesAppeared, FilesVanished
from agent.cassandra.jvm_options import KEEP_DOWN
from agent.cassandra.live_directories import live_directories
from agent.cassandra.set_aside import planned
from agent.jobs.point_in_time.clean import PitCleanJob
from agent.jobs.point_in_time.given_back import ready_for_start
from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_errors import (
    BeingUndone,
    CassandraRuns,
    NotDrained,
    NotQuiesced,
    RestoreOpened,
    RestoreUnfinished,
)
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.point_errors import NotCovered
from agent.jobs.point_in_time.start import PitStartJob
from agent.jobs.restore.errors import JobMissing, StagingLeft
from agent.model.refusals import TooLate
from agent.wire.point_in_time import PitArguments, PitPlaceResult
from agent.wire.results import PhaseResult
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.point_in_time.node_on_disk import HELD, JOB, ORDERS, OWN_PROPERTIES, STOCK, NodeOnDisk, T
from tests.fast.restore.context import Context
from tests.fast.storage.memory import MemoryStorage


@pytest.fixture
async def node(tmp_path: Path) -> NodeOnDisk:
    """A node that is ready for PIT_PLACE."""
    made = NodeOnDisk(tmp_path)
    await made.prepare()
    return made


async def clean(node: NodeOnDisk) -> None:
    await PitCleanJob(node.tools).run(node.context())


async def placed_and_started(node: NodeOnDisk) -> None:
    await node.place()
    await node.cassandra_ran(replayed=True)
    await node.service.start()


async def test_only_what_is_asked_for_gives_way_to_what_was_fetched(node: NodeOnDisk) -> None:
    """Promise: of the asked table its SSTables and those of its indexes are replaced, on every data directory; its
    snapshots and backups, other tables and directories stay; hints and commit log are empty."""
    before = node.tree()
    result = (await node.place()).result
    after = node.tree()
    stays = {path: file for path, file in before.items() if STOCK in path or "snapshots" in path or "backups" in path}
    held = {
        str(node.orders(0, below, name).relative_to(node.base)): f"of the backup {below}/{name}".encode()
        for below, names in HELD.items()
        for name in names
    }
    assert {path: file for path, file in after.items() if path in stays} == stays
    assert {path: content for path, (_, content) in after.items() if path not in stays} == held
    assert isinstance(result, PitPlaceResult)
    assert result.placed == {"shop": {"orders": 2}}
    assert set(result.set_aside) == {
        *(str(node.orders(number, *below)) for number in (0, 1) for below in ([], [".by_state"])),
        str(node.hints),
        str(node.commitlog),
    }
    assert sum(result.set_aside.values()) > 0


async def test_every_segment_is_archived_before_the_log_is_set_aside(node: NodeOnDisk) -> None:
    """Promise: what no destination has yet is found by shipping, whatever becomes of what is set aside."""
    await node.place()
    assert node.archived == ["CommitLog-7-12.log", "CommitLog-7-13.log"]


async def test_a_log_that_is_archived_no_more_is_set_aside_without(node: NodeOnDisk, tmp_path: Path) -> None:
    """Promise: who switched archiving off and removed its directory can still go back to a point of before: nothing is
    archived, and PIT_PLACE does not end with all nodes down."""
    site = ArchivingSite(tmp_path / "archiving", {"d1": MemoryStorage()})
    await site.begin()
    await site.order(enabled=False)
    await site.stop()
    shutil.rmtree(site.archive)
    node.tools = replace(node.tools, archive=site.archiver.archive)
    await node.place()
    assert await node.notes.placed() is not None


async def test_placed_files_have_the_mode_that_cassandra_gives_its_own(node: NodeOnDisk) -> None:
    """Promise: whoever may read the node's files may read these."""
    node.orders(0).chmod(0o750)
    node.orders(0, ".by_state").chmod(0o755)
    await node.place()
    assert stat.S_IMODE(node.orders(0, "nb-1-big-Data.db").stat().st_mode) == 0o640
    assert stat.S_IMODE(node.orders(0, ".by_state", "nb-1-big-Data.db").stat().st_mode) == 0o644


async def test_the_next_start_is_told_to_replay_and_all_else_of_its_settings_stays(node: NodeOnDisk) -> None:
    """Promise: what is written from then on is archived as before; clients stay out; only the asked tables replay."""
    told: list[list[str]] = []
    node.service.begins = lambda: told.append(node.options.lines.get(JOB, []))
    await node.place()
    text = node.properties.read_text()
    assert text.startswith("# theirs\narchive_command=/bin/own %path \\\n    /a/%name\nprecision=MILLISECONDS\n")
    assert f"restore_directories={segments_of(node.facts)}\n" in text
    assert "restore_point_in_time=2023:11:14 22:13:20.123456\n" in text
    assert node.options.lines == {JOB: [KEEP_DOWN]}
    await PitStartJob(node.tools).run(node.context())
    assert told == [["-Dcassandra.replayList=shop.orders", "-Dcassandra.start_native_transport=false"]]
    node.arguments = PitArguments("tag", T, {"shop": ["orders"]}, force=True)
    await node.undo()
    await node.stop_again()
    await node.place()
    await PitStartJob(node.tools).run(node.context())
    assert told[-1][-1] == "-Dcassandra.commitlog.ignorereplayerrors=true"


async def test_a_node_without_a_properties_file_has_none_afterwards(node: NodeOnDisk) -> None:
    """Promise: what the restore made goes again."""
    node.properties.unlink()
    await node.place()
    assert node.properties.exists()
    await node.undo()
    assert not node.properties.exists()


async def test_a_properties_file_that_somebody_else_wrote_meanwhile_stays_theirs(node: NodeOnDisk) -> None:
    """Promise: only what says what to restore is taken out of it."""
    await node.place()
    text = node.properties.read_text()
    node.properties.write_text("# another's\n" + text)
    await node.undo()
    assert node.properties.read_text() == "# another's\n" + OWN_PROPERTIES.replace("restore_command=\n", "")


async def test_nothing_is_set_aside_of_a_node_that_is_not_ready(node: NodeOnDisk) -> None:
    """Promise: without facts, a drain, a stopped Cassandra, or in time, nothing is touched, and it is said why."""
    before = node.tree()
    await node.notes.forget_drained()
    with pytest.raises(NotDrained):
        await node.place()
    await node.notes.put_drained()
    node.service.running = True
    with pytest.raises(CassandraRuns):
        await node.place()
    node.service.running = False
    late = node.context()
    late.not_after = 1.0
    with pytest.raises(TooLate):
        await node.place_job().run(late)
    with pytest.raises(NotQuiesced):
        await node.place_job().run(Context(node.arguments, "job-2"))
    with pytest.raises(JobMissing):
        PlaceNotes(node.tools.state, None)
    covered = FetchNotes(node.tools.state, JOB)
    await covered.forget_covered()
    with pytest.raises(NotCovered):
        await node.place()
    assert node.tree() == before


@pytest.mark.parametrize(
    ("name", "error"), [(".CommitLog-7-14.log.1.tmp", FilesAppeared), ("CommitLog-7-14.log", SegmentUnreadable)]
)
async def test_what_would_keep_cassandra_from_starting_is_found_before_anything_is_set_aside(
    node: NodeOnDisk, name: str, error: type[Exception]
) -> None:
    """Promise: the segments' directory holds whole segments alone."""
    before = node.tree()
    (segments_of(node.facts) / name).write_bytes(b"junk")
    with pytest.raises(error):
        await node.place()
    assert node.tree() == before


async def test_files_that_come_while_others_are_set_aside_stop_it_and_are_moved_out_by_an_undo(
    node: NodeOnDisk,
) -> None:
    """Promise: an accidental start in between is found, nothing of it is overwritten, and all can be put back."""
    before = node.tree()
    await node.notes.put_plan(planned(live_directories(node.facts)))
    (node.orders(1) / "nb-9-big-Data.db").write_bytes(b"flushed meanwhile")
    with pytest.raises(FilesAppeared):
        await node.place()
    await node.undo()
    assert node.tree() == before
    assert b"flushed meanwhile" in [path.read_bytes() for path in node.base.rglob("nb-9-big-Data.db")]


async def test_a_file_that_was_to_be_set_aside_and_is_gone_stops_it(node: NodeOnDisk) -> None:
    """Promise: what somebody took away is named, before Cassandra is started without it."""
    await node.place()
    plan = await node.notes.plan()
    assert plan is not None
    gone = next(one for one in plan if one.directory.path == str(node.hints))
    (gone.target / gone.names[0]).unlink()
    with pytest.raises(FilesVanished):
        await node.undo()


async def test_less_than_was_fetched_is_not_started(node: NodeOnDisk) -> None:
    """Promise: an SSTable that went from held/ since it was verified is missed before the start."""
    (node.facts.data[0].held("shop", "orders") / "nb-1-big-Data.db").unlink()
    with pytest.raises(FilesVanished):
        await node.place()
    await node.undo()


async def test_a_drain_counts_only_until_cassandra_is_started_again(node: NodeOnDisk) -> None:
    """Promise: a start by anybody between the drain and PIT_PLACE leaves a segment that may be the only copy of writes
    to other tables: nothing is set aside."""
    (node.commitlog / "CommitLog-7-50.log").write_bytes(b"acknowledged since")
    before = node.tree()
    with pytest.raises(NotDrained):
        await node.place()
    assert node.tree() == before


async def test_segments_of_a_failed_start_are_moved_out_before_the_next(node: NodeOnDisk) -> None:
    """Promise: Cassandra would hand them to the archive command, a live copy among them as if it were whole."""
    await node.place()
    await node.cassandra_ran(replayed=False)
    assert (node.commitlog / "CommitLog-7-11.log").exists()
    ready_for_start(node.facts, await node.notes.plan() or [])
    assert [path.name for path in node.commitlog.iterdir()] == ["CommitLog-7-90.log"]
    assert list(restored_of(node.facts).iterdir()) == []
    assert (segments_of(node.facts) / "CommitLog-7-11.log").exists()


async def test_what_was_set_aside_is_only_cleaned_when_the_node_does_without_it(node: NodeOnDisk) -> None:
    """Promise: PIT_CLEAN refuses while neither the restore is finished nor the old files are back."""
    await placed_and_started(node)
    with pytest.raises(RestoreUnfinished):
        await clean(node)
    await node.notes.put_undoing()
    with pytest.raises(RestoreUnfinished):
        await clean(node)
    await node.undo()
    live = node.tree()
    for _ in range(2):
        result = (await PitCleanJob(node.tools).run(node.context())).result
        assert node.tree() == live
    left = sorted(path.name for path in node.base.rglob(".helenus/**/undone/**/*") if path.is_file())
    assert left == ["nb-2-big-Data.db", "nb-3-big-Data.db"], "what Cassandra wrote stays, what was placed does not"
    assert not list(node.base.rglob(".helenus/**/held"))
    assert isinstance(result, PhaseResult)
    assert len(result.warnings) == 2
    assert "undone: 22 bytes" in result.warnings[0]


async def test_an_undo_before_any_start_leaves_nothing(node: NodeOnDisk) -> None:
    """Promise: what the restore alone had put there goes with the rest."""
    await node.place()
    await node.undo()
    await clean(node)
    assert not list(node.base.rglob(".helenus*"))


async def test_segments_that_were_lent_as_copies_are_nothing_to_keep(node: NodeOnDisk) -> None:
    """Promise: where links are refused too, a restore that went well after a start that failed leaves nothing behind,
    and tells nobody of writes that there were not."""
    await node.place()
    await node.cassandra_ran(replayed=False)
    for path in segments_of(node.facts).iterdir():
        lent = node.commitlog / path.name
        lent.unlink()
        lent.write_bytes(path.read_bytes())
    ready_for_start(node.facts, await node.notes.plan() or [])
    await node.notes.put_opened()
    result = (await PitCleanJob(node.tools).run(node.context())).result
    assert isinstance(result, PhaseResult)
    assert not [told for told in result.warnings if "undone" in told]
    assert not list(node.base.rglob(".helenus*"))


async def test_what_bears_no_mark_is_left_alone_before_anything_in_it_is_removed(
    node: NodeOnDisk, tmp_path: Path
) -> None:
    """Promise: neither in a directory that somebody else put in the place of the job's, nor behind a link."""
    await node.place()
    await node.undo()
    moved = node.facts.data[0].path / "undone"
    (node.facts.data[0].path / "owner").unlink()
    before = sorted(moved.rglob("*"))
    other, elsewhere = node.facts.data[1].path, tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner").hardlink_to(other / "owner")
    (other / "undone").symlink_to(elsewhere)
    with pytest.raises(StagingLeft):
        await clean(node)
    assert sorted(moved.rglob("*")) == before
    assert (elsewhere / "owner").exists()
    (other / "undone").rename(tmp_path / "no link")
    other.rename(tmp_path / "linked")
    other.symlink_to(tmp_path / "linked")
    (other / "undone").mkdir()
    (other / "undone" / "owner").hardlink_to(other / "owner")
    with pytest.raises(StagingLeft):
        await clean(node)
    assert (other / "undone" / "owner").exists()


async def test_replaced_sstables_are_kept_as_a_snapshot_of_their_table(node: NodeOnDisk) -> None:
    """Promise: PIT_CLEAN leaves every file that the tables had, index files in
    their directory, under a tag that is told with its bytes; nothing else is left of the job."""
    before = node.tree()
    await placed_and_started(node)
    await node.notes.put_opened()
    with pytest.raises(RestoreOpened):
        await node.undo()
    result = (await PitCleanJob(node.tools).run(node.context())).result
    after, size = node.tree(), 0
    for path, file in before.items():
        if ORDERS in path and not {"snapshots", "backups"} & set(path.split("/")):
            data, keyspace, table, *name = path.split("/")
            assert after["/".join((data, keyspace, table, "snapshots", f"helenus-before-{JOB}", *name))] == file
            size += len(file[1])
    assert not list(node.base.rglob(".helenus*"))
    assert isinstance(result, PhaseResult)
    assert f"nodetool clearsnapshot -t helenus-before-{JOB}` frees {size:,} bytes" in result.warnings[0]
    assert [path.stat().st_mode for path in node.orders(0, "snapshots").iterdir()] == [
        node.orders(0).stat().st_mode
    ] * 2
    await clean(node)
    assert node.tree() == after


async def test_a_snapshot_of_the_same_name_is_not_touched(node: NodeOnDisk) -> None:
    """Promise: nothing is put over what a person has there, and nothing is removed then."""
    await placed_and_started(node)
    await node.notes.put_opened()
    node.orders(0, "snapshots", f"helenus-before-{JOB}").mkdir()
    with pytest.raises(FilesAppeared):
        await clean(node)
    assert list(node.facts.data[0].path.rglob("aside/**/*.db"))


async def test_an_undo_that_has_begun_is_the_only_way_on(node: NodeOnDisk) -> None:
    """Promise: nobody places again what is half put back."""
    await node.place()
    await node.notes.put_undoing()
    with pytest.raises(BeingUndone):
        await node.place()
    assert await node.notes.placed() is None
    await node.undo()
    await node.stop_again()
    await node.place()


async def test_undoing_what_was_never_begun_leaves_a_running_node_alone(node: NodeOnDisk) -> None:
    """Promise: cancelled before PIT_PLACE, Cassandra is only started where it is down, and lets clients in again."""
    node.service.running = True
    await node.options.put(JOB, ["-Dcassandra.start_native_transport=false"])
    await node.undo()
    assert node.service.starts == 0
    assert node.clients
    assert node.options.lines == {}
    node.service.running = False
    node.arguments = PitArguments("tag", T, {"shop": ["orders"]}, leave=True)
    await node.undo()
    assert node.service.starts == 0
