"""PIT_FETCH: all that the point needs stands verified on the node, or it is said why not."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agent.cassandra.commit_log.errors import ArchivingRefused, SegmentUnreadable
from agent.cassandra.jvm_options import JvmOptions
from agent.cassandra.service_errors import KeptDown
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.point_errors import (
    DropKeepsNothing,
    LogIncomplete,
    PointBeforeSnapshot,
    PointInFuture,
    SegmentDamaged,
    TableNotThen,
    TruncatedSince,
)
from agent.jobs.point_in_time.start_settings import NO_CLIENTS
from agent.jobs.restore.errors import JobDiffers, JobFinished
from agent.model.commit_log import LossRecord
from agent.pipeline.errors import FileDiffers
from agent.repository.errors import ObjectDamaged
from agent.storage.protocol import NotFound
from tests.cluster.log_segments import name_of
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.point_in_time.point_in_memory import BEGAN, JOB, PointInMemory, micros, record, schema

HELD = [".idx/nb-1-big-Data.db", ".idx/nb-1-big-Statistics.db", "nb-1-big-Data.db", "nb-1-big-Statistics.db"]


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> PointInMemory:
    return PointInMemory(tmp_path_factory.mktemp("node"))


async def test_sstables_with_indexes_and_the_segments_behind_the_floor_are_fetched(node: PointInMemory) -> None:
    """Promise: nothing that the snapshot's flush may have missed is left out. What Cassandra still writes comes
    later, and what was closed before the snapshot is not needed."""
    result = await node.fetch()
    assert node.held() == HELD
    assert node.standing() == [name_of(number) for number in range(2, 7)]
    assert (result.files, result.segments, result.left_out) == (4, 5, [])
    fetched = await node.held_notes.must_be_fetched()
    assert fetched.tables["ks"]["t"][0::2] == [4, 2]


async def test_sent_again_it_fetches_what_is_missing_and_removes_what_stops_a_start(node: PointInMemory) -> None:
    """Promise: in the directory that Cassandra replays stands nothing but segments of the set: one file too many stops
    its start."""
    await node.fetch()
    (node.segments / ".helenus-part-1").write_bytes(b"half")
    (node.root.held("ks", "t") / ".idx" / "nb-1-big-Data.db").unlink()
    (node.root.held("ks", "t") / ".idx" / "nb-9-big-Data.db").write_bytes(b"of no backup")
    node.snapshot.fetched.clear()
    await node.fetch()
    assert node.snapshot.fetched == [".idx/nb-1-big-Data.db"]
    assert node.held() == HELD
    assert node.standing() == [name_of(number) for number in range(2, 7)]


async def test_only_segments_opened_until_late_writes_can_have_come_are_taken(node: PointInMemory) -> None:
    """Promise: a hint that is delivered within `late_seconds` is replayed."""
    assert (await node.fetch(40.0, late_seconds=5.0)).segments == 3
    assert (await node.fetch(40.0, late_seconds=15.0)).segments == 4


async def test_another_point_under_the_same_job_begins_afresh_until_files_are_placed(node: PointInMemory) -> None:
    """Promise: segments of one question never stay for another; once PIT_PLACE has begun another question is refused,
    and the same one answered from the notes."""
    before = await node.fetch(40.0, late_seconds=0.0)
    assert (await node.fetch(55.0, late_seconds=0.0)).segments == before.segments + 1
    await PlaceNotes(node.state, JOB).put_plan([])
    node.archive.gone = {name_of(3)}
    assert (await node.fetch(55.0, late_seconds=0.0)).segments == before.segments + 1
    with pytest.raises(JobDiffers):
        await node.fetch(41.0, late_seconds=0.0)
    await node.held_notes.put_cleaned()
    with pytest.raises(JobFinished):
        await node.fetch(55.0, late_seconds=0.0)


@pytest.mark.parametrize(
    ("pit", "error"),
    [(79.0, PointInFuture), (25.9, PointBeforeSnapshot)],
)
async def test_a_point_in_the_future_or_before_the_snapshot_was_whole_is_refused(
    node: PointInMemory, pit: float, error: type[Exception]
) -> None:
    """Promise: not even `force` brings a node to a time that its snapshot and log don't hold."""
    with pytest.raises(error):
        await node.fetch(pit, force=True)
    assert not node.segments.exists()


async def test_a_write_in_the_snapshot_that_is_later_than_the_point_is_refused(node: PointInMemory) -> None:
    """Promise: a replay only adds, so what an SSTable has after the point would stay; the table is named."""
    node.snapshot.newest = micros(55) + 1
    with pytest.raises(PointBeforeSnapshot, match=r"ks\.t has a write"):
        await node.fetch(55.0)
    assert await node.held_notes.fetched() is None
    node.snapshot.newest = micros(55)


async def test_a_missing_segment_is_refused_with_its_time_unless_forced(node: PointInMemory) -> None:
    """Promise: Cassandra says nothing of a segment that is missing, so the agent must."""
    node.archive.found = [one for one in node.archive.found if one.name != name_of(4)]
    with pytest.raises(LogIncomplete) as refused:
        await node.fetch(55.0)
    assert refused.value.fields["covered_until"] == BEGAN + 40
    assert refused.value.fields["gaps"] == [
        {
            "after": name_of(3),
            "before": name_of(5),
            "since": BEGAN + 40,
            "until": BEGAN + 50,
            "reason": "segments are missing in the archive",
        }
    ]
    await node.fetch(39.0)
    await node.fetch(55.0, force=True)
    assert node.standing() == [name_of(number) for number in (2, 3, 5, 6)]


async def test_an_archive_that_begins_after_the_snapshot_is_refused(node: PointInMemory) -> None:
    """Promise: archiving switched on later, or a life of Cassandra without it, is a gap."""
    node.archive.found = [record(5, follows=False), record(6)]
    with pytest.raises(LogIncomplete):
        await node.fetch(55.0)
    node.archive.found = [record(number) for number in (2, 3, 4)]
    node.archive.found += [record(30, follows=False), record(31)]
    node.own.found = [record(32, whole=False)]
    node.archive.lost = [LossRecord(name_of(4), name_of(30), BEGAN + 50, BEGAN + 300, "not archived")]
    node.now = BEGAN + 1000
    with pytest.raises(LogIncomplete, match="not archived"):
        await node.fetch(310.0)
    await node.fetch(49.0)


async def test_damage_within_a_segment_is_refused_with_its_time_unless_forced(node: PointInMemory) -> None:
    """Promise: Cassandra's start would fail at it; who forces is told what is left out."""
    node.archive.damaged = {name_of(4)}
    with pytest.raises(SegmentDamaged) as refused:
        await node.fetch(55.0)
    assert (refused.value.fields["segment"], refused.value.fields["since"]) == (name_of(4), BEGAN + 40)
    assert await node.notes.segments() is None
    forced = await node.fetch(55.0, force=True)
    assert len(forced.left_out) == 1
    assert name_of(4) in forced.left_out[0]


@pytest.mark.parametrize("why", [NotFound, ObjectDamaged, FileDiffers, SegmentUnreadable])
async def test_a_segment_that_cannot_be_had_whole_is_an_error_unless_forced(
    node: PointInMemory, why: type[Exception]
) -> None:
    """Promise: never a set with a hole that nobody was told of; whose objects are gone or damaged is named, and when
    it was written."""
    node.archive.gone, node.archive.missing = {name_of(3)}, why
    with pytest.raises(SegmentDamaged) as refused:
        await node.fetch(55.0)
    told = refused.value
    assert (told.fields["segment"], told.fields["since"], told.fields["until"]) == (name_of(3), BEGAN + 30, BEGAN + 40)
    assert told.message.startswith(f"{name_of(3)} (written from 20")
    assert told.message.endswith(f" UTC) can't be had whole: {name_of(3)} is gone")
    forced = await node.fetch(55.0, force=True)
    assert (forced.segments, len(forced.left_out)) == (4, 1)
    assert name_of(3) not in node.standing()


async def test_what_is_on_the_node_is_not_fetched_from_afar(node: PointInMemory) -> None:
    """Promise: a segment that was shipped and removed since it was seen comes from the archive all the same."""
    node.own.found = [record(5), record(6), record(7, whole=False)]
    node.own.gone = {name_of(6)}
    await node.fetch(55.0)
    assert node.own.fetched == [name_of(5)]
    assert sorted(node.archive.fetched) == [name_of(number) for number in (2, 3, 4, 6)]


async def test_what_is_dropped_later_is_kept_where_cassandra_keeps_nothing(node: PointInMemory) -> None:
    """Promise: a table that has to be made anew is refused where auto_snapshot is off; with force each node has its
    snapshot before its fetch ends, once; where Cassandra keeps its own none is taken."""
    control = node.node.control
    assert isinstance(control, DirectoryControl)
    node.tools.schemas["ks"] = schema(ids={"t": "1" * 32})
    await node.fetch(55.0)
    assert control.calls == []
    node.view.keeps = False
    refusals = (await node.check(55.0)).refusals
    assert [(one["code"], one["lifted_by"]) for one in refusals] == [("drop_keeps_nothing", "force")]
    with pytest.raises(DropKeepsNothing):
        await node.fetch(55.0)
    for _ in range(2):
        await node.fetch(55.0, force=True)
    assert len(list(node.data.glob(f"ks/t-*/snapshots/helenus-dropped-{JOB}/manifest.json"))) == 1
    node.tools.schemas["ks"] = schema()
    control.calls.clear()
    await node.fetch(55.0)
    assert control.calls == []


async def test_what_would_refuse_the_stop_does_so_before_a_table_is_dropped(
    node: PointInMemory, tmp_path: Path
) -> None:
    """Promise: PIT_TABLES drops when every node has ended its fetch: segments that nobody takes, and what another
    restore left among the JVM options since the check, fail it; what stands is not fetched again."""
    error: list[ArchivingRefused] = [ArchivingRefused("no room", path="/archive", reason="full")]

    async def before_stop() -> None:
        for one in error:
            raise one

    node.tools = replace(node.tools, before_stop=before_stop)
    with pytest.raises(ArchivingRefused):
        await node.fetch()
    assert await node.held_notes.fetched() is None
    error.clear()
    (options := tmp_path / "jvm-server.options").touch()
    node.node.jvm = JvmOptions(options)
    await node.node.jvm.put("earlier", [NO_CLIENTS])
    with pytest.raises(KeptDown):
        await node.fetch()
    await node.node.jvm.remove("earlier")
    await node.node.jvm.put(JOB, [NO_CLIENTS])
    node.snapshot.fetched.clear()
    await node.fetch()
    assert (node.snapshot.fetched, node.held()) == ([], HELD)


async def test_a_table_truncated_between_snapshot_and_point_begins_empty(node: PointInMemory) -> None:
    """Promise: rows that a TRUNCATE removed don't come back with the snapshot; after a TRUNCATE that Cassandra's record
    no longer tells of the point is refused."""
    node.view.last_truncate = {"0" * 8 + "-0000-0000-0000-" + "0" * 12: int((BEGAN + 50) * 1000)}
    await node.fetch(55.0)
    assert node.held() == []
    assert (await node.held_notes.must_be_fetched()).tables == {"ks": {"t": [0, 0, 0]}}
    tag = f"truncated-{int((BEGAN + 45) * 1000)}-t"
    (node.data / "ks" / f"t-{'0' * 32}" / "snapshots" / tag).mkdir(parents=True)
    with pytest.raises(TruncatedSince):
        await node.fetch(48.0)
    await node.fetch(44.0)
    assert node.held() == HELD


async def test_a_table_made_after_the_snapshot_begins_empty_and_one_that_was_not_there_is_refused(
    node: PointInMemory,
) -> None:
    """Promise: SSTables of another id are never placed in a table."""
    node.archive.history.append(
        msgspec.structs.replace(
            node.archive.history[0],
            unseen_since=BEGAN + 41,
            first_seen=BEGAN + 42,
            keyspaces=(schema(("t", "u"), ids={"t": "1" * 32}),),
        )
    )
    node.tools.schemas["ks"] = schema(("t", "u"), ids={"t": "1" * 32})
    await node.fetch(55.0, tables={"ks": ["t", "u"]})
    assert node.held() == []
    with pytest.raises(TableNotThen, match=r"ks\.u"):
        await node.fetch(40.0, tables={"ks": ["t", "u"]})
    await node.fetch(40.0)
    assert node.held() == HELD
