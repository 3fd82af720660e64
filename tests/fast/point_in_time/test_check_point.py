"""PIT_CHECK: what a node knows of a point before anything is changed; it leaves nothing behind."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.cassandra.errors import KeyspaceRefused
from agent.cassandra.jvm_options import JvmOptions
from agent.jobs.archiving.errors import ArchiveCopyDiffers, ArchiveUnread
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_notes import Placed, PlaceNotes
from agent.jobs.point_in_time.point_errors import DroppedSince, LogIncomplete, RestoredSince
from agent.jobs.point_in_time.start_settings import NO_CLIENTS, StartSettings
from agent.jobs.restore.errors import TableNotInBackup
from agent.jobs.restore.notes import Asked, RestoreNotes
from agent.model.commit_log import SchemaRecord
from agent.wire.names import InvalidName
from agent.wire.node import Tables
from agent.wire.point_in_time import PitPlaceResult
from kit.errors import HelenusError, InvalidInput
from tests.cluster.log_segments import name_of
from tests.fast.point_in_time.point_in_memory import BEGAN, ID, JOB, PointInMemory, micros, record, schema
from tests.fast.restore.backup_in_memory import HOST


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> PointInMemory:
    return PointInMemory(tmp_path_factory.mktemp("node"))


async def test_a_whole_log_and_an_unchanged_table_are_told(node: PointInMemory) -> None:
    """Promise: the facts that a coordinator judges by, and no trace on the volumes."""
    before = sorted(node.data.parent.rglob("*"))
    result = await node.check()
    assert (result.taken_from, result.taken_until, result.floor) == (BEGAN + 25, BEGAN + 26, name_of(2))
    assert (result.covered_until, result.own_log, result.gaps) == (BEGAN + 70, True, [])
    assert result.windows == [[BEGAN + 26, BEGAN + 78]]
    assert (result.files, result.segments) == (4, 6)
    assert (result.newest_write_micros, result.newest_write_in) == (micros(24), "ks.t")
    assert [(one.keyspace, one.table, one.action) for one in result.tables] == [("ks", "t", "keep")]
    assert (result.refusals, result.warnings, result.precision) == ([], [], "microseconds")
    assert sorted(node.data.parent.rglob("*")) == before
    assert not list(node.state.glob("checks/*"))


async def test_everything_is_asked_for_by_nothing_and_a_keyspace_by_an_empty_list(node: PointInMemory) -> None:
    """Promise: a table that was made after the snapshot is among them when it existed at the point, and not before."""
    later = schema(("t", "u"))
    node.archive.history.append(SchemaRecord("w", BEGAN + 41, BEGAN + 42, (later,), {}))
    node.tools.schemas["ks"] = later
    everything: Tables = {}
    of_keyspace: Tables = {"ks": []}
    for asked in (everything, of_keyspace):
        assert [one.table for one in (await node.check(55.0, tables=asked)).tables] == ["t", "u"]
        assert [one.table for one in (await node.check(40.0, tables=asked)).tables] == ["t"]
    assert {one.table: one.begins_empty for one in (await node.check(tables={})).tables} == {"t": False, "u": True}


async def test_a_table_that_was_there_and_is_not_in_the_backup_is_refused(node: PointInMemory) -> None:
    """Promise: of a partial backup only what it has is restored; no older data of another table is lost for the log's
    part of it. «All» leaves such tables out."""
    both = schema(("t", "u"), ids={"u": "2" * 32})
    other = msgspec.structs.replace(both, name="other", table_ids={"t": "3" * 32, "u": "4" * 32})
    node.archive.history = [SchemaRecord("v", None, BEGAN + 1, (both, other), {})]
    node.tools.schemas.update({"ks": both, "other": other})
    node.snapshot.head = msgspec.structs.replace(node.snapshot.head, schema=(both,))
    result = await node.check(tables={"ks": ["t", "u"], "other": ["t"]})
    (refusal,) = result.refusals
    assert refusal["code"] == "not_in_backup"
    assert refusal["fields"] == {"tables": ["ks.u", "other.t"]}
    everything = await node.check(tables={})
    assert [(one.keyspace, one.table) for one in everything.tables] == [("ks", "t")]
    assert everything.refusals == []
    with pytest.raises(TableNotInBackup):
        await node.fetch(tables={"ks": ["t", "u"]})


async def test_gaps_windows_and_where_the_own_log_stands(node: PointInMemory) -> None:
    """Promise: the window ends before the gap, and what the node still has itself is counted only when it joins."""
    node.archive.found = [one for one in node.archive.found if one.name != name_of(5)]
    result = await node.check()
    assert (result.covered_until, result.own_log) == (BEGAN + 50, False)
    assert [(gap.after, gap.before, gap.since) for gap in result.gaps] == [(name_of(4), name_of(6), BEGAN + 50)]
    assert result.windows == [[BEGAN + 26, BEGAN + 50]]
    assert any("hints" in warning for warning in result.warnings)
    node.own.found = [record(5), *node.own.found]
    result = await node.check()
    assert (result.covered_until, result.own_log, result.gaps) == (BEGAN + 50, True, [])


async def test_other_backups_lead_to_other_points(node: PointInMemory) -> None:
    """Promise: behind a gap a later backup leads on, and an earlier one up to it; one that can't be read is named and
    spoils nothing."""
    node.archive.found = [record(1), record(2), record(3), record(5), record(6)]
    node.snapshot.others = {
        "earlier": msgspec.structs.replace(node.snapshot.head, taken_at=BEGAN + 15, taken_until=BEGAN + 16),
        "later": msgspec.structs.replace(
            node.snapshot.head, taken_at=BEGAN + 55, taken_until=BEGAN + 56, commitlog_floor=name_of(4)
        ),
    }
    node.snapshot.head = msgspec.structs.replace(node.snapshot.head, commitlog_floor=name_of(2))
    result = await node.check(30.0, others=["earlier", "later", "damaged"])
    assert result.windows == [[BEGAN + 26, BEGAN + 40]]
    assert result.other_windows == {"earlier": [[BEGAN + 16, BEGAN + 40]], "later": [[BEGAN + 56, BEGAN + 78]]}
    assert [warning for warning in result.warnings if "the backup damaged" in warning]
    assert (await node.check(30.0)).other_windows == {}
    with pytest.raises(InvalidName):
        await node.check(30.0, others=["../up"])


async def test_a_segment_that_is_cut_in_the_destination_is_a_gap(node: PointInMemory) -> None:
    """Promise: with its time and the reason, before anything is fetched; not where the node has the segment itself."""
    node.archive.cut = {name_of(4): "an object of it has 10 bytes instead of 20"}
    result = await node.check()
    assert [(gap.after, gap.before, gap.since, gap.reason) for gap in result.gaps] == [
        (name_of(3), name_of(5), BEGAN + 40, "an object of it has 10 bytes instead of 20")
    ]
    assert (result.covered_until, result.own_log) == (BEGAN + 40, False)
    with pytest.raises(LogIncomplete, match="10 bytes instead of 20"):
        await node.fetch()
    node.own.found = [record(4), *node.own.found]
    assert (await node.check()).gaps == []
    await node.fetch()
    assert name_of(4) in node.own.fetched


async def test_a_fresh_archive_stands_behind_the_own_log(node: PointInMemory) -> None:
    """Promise: right after archiving began, with all of the log on the node, the point is possible; without it, not."""
    node.own.found = [record(number) for number in range(2, 7)] + node.own.found
    node.archive.found = []
    result = await node.check()
    assert (result.covered_until, result.own_log) == (BEGAN + 25, True)
    assert result.windows == [[BEGAN + 26, BEGAN + 78]]
    node.own.found = []
    result = await node.check()
    assert (result.covered_until, result.own_log, result.windows) == (None, False, [])


async def test_the_segment_allocated_ahead_is_no_gap(node: PointInMemory) -> None:
    """Promise: a running node's newest file, which is empty, stands not behind a gap."""
    node.own.found = [record(7, whole=False), record(8, whole=False)]
    result = await node.check()
    assert (result.own_log, result.gaps) == (True, [])


async def test_a_clock_that_was_set_back_is_told(node: PointInMemory) -> None:
    """Promise: times that happened twice are named; and no segment is left out of the set for its odd time."""
    node.archive.found[3] = msgspec.structs.replace(node.archive.found[3], opened_at=BEGAN + 500, closed_at=BEGAN + 510)
    result = await node.check(late_seconds=0.0)
    assert result.segments == 4
    assert any("clock went back" in warning for warning in result.warnings)


async def test_changes_of_the_schema_in_the_window_and_around_the_point(node: PointInMemory) -> None:
    """Promise: a change between two looks of which the point lies in between is a doubt; one of another table is not
    told; an index more than at the point, or other columns, have the table made anew."""
    altered = schema(of="text", index="by_v")
    node.archive.history.append(SchemaRecord("w", BEGAN + 50, BEGAN + 60, (altered,), {}))
    node.tools.schemas["ks"] = altered
    result = await node.check(55.0)
    assert [(one.table, one.what) for one in result.schema_doubt] == [("t", "altered")]
    assert [(one.table, one.after, one.before) for one in result.schema_changes] == [("t", BEGAN + 50, BEGAN + 60)]
    assert [one.action for one in result.tables] == ["recreate"]
    assert (await node.check(49.0)).schema_doubt == []
    node.tools.schemas["ks"] = schema(index="by_v")
    assert [(one.action, one.told) for one in (await node.check(49.0)).tables] == [
        ("recreate", "other indexes than at the point: by_v")
    ]


async def test_a_table_that_was_made_just_before_the_snapshot_is_known(node: PointInMemory) -> None:
    """Promise: the agent looks at the schema every ten seconds; what the snapshot holds is no table of a later time
    because nobody had looked between its making and the snapshot."""
    node.archive.history = [
        SchemaRecord("before", None, BEGAN + 20, (), {}),
        SchemaRecord("after", BEGAN + 20, BEGAN + 60, (schema(),), {}),
    ]
    result = await node.check(30.0, tables={"ks": ["t"]})
    assert [refusal["code"] for refusal in result.refusals] == []
    assert [one.action for one in result.tables] == ["keep"]
    assert (result.schema_doubt, result.schema_changes) == ([], [])


async def test_without_a_history_what_differs_is_a_doubt(node: PointInMemory) -> None:
    """Promise: nobody is told that a table was as in the snapshot when that is not known."""
    node.archive.history = []
    result = await node.check()
    assert result.schema_doubt == []
    assert any("history begins later" in warning for warning in result.warnings)
    node.tools.schemas["ks"] = schema(ids={"t": "1" * 32})
    result = await node.check()
    assert [(one.table, one.what) for one in result.schema_doubt] == [("t", "recreated")]


async def test_a_ring_that_changed_is_told(node: PointInMemory) -> None:
    """Promise: nodes that came, left or moved since the snapshot are named."""
    ring: dict[str, tuple[str, ...]] = {HOST: ("0",), "other": ("1",)}
    node.archive.history = [
        SchemaRecord("v", None, BEGAN + 1, (schema(),), ring),
        SchemaRecord("v", BEGAN + 60, BEGAN + 61, (schema(),), {HOST: ("0",)}),
    ]
    result = await node.check()
    assert result.topology_changes == ["other left the ring"]
    assert result.hosts_at_snapshot == {HOST: ["0"], "other": ["1"]}


async def test_counters_lwt_and_coarse_versions_are_told(node: PointInMemory) -> None:
    """Promise: where the outcome can't be right, or not to the microsecond, it is said before."""
    counted = schema(of="counter")
    node.archive.history = [SchemaRecord("v", None, BEGAN + 1, (counted,), {})]
    node.tools.schemas["ks"] = counted
    node.cql.ids = [ID]
    node.view.version = "4.1.3"
    result = await node.check()
    assert (result.counter_tables, result.lwt_tables, result.precision) == (["ks.t"], ["ks.t"], "seconds")


async def test_what_no_field_says_is_a_refusal(node: PointInMemory) -> None:
    """Promise: one refusal doesn't hide the next."""

    async def away() -> None:
        raise ArchiveUnread("its volume is not mounted")

    node.tools = replace(node.tools, refuse_unarchived=away)
    node.process.configured = False
    node.now = BEGAN + 50
    tag = f"truncated-{int((BEGAN + 45) * 1000)}-t"
    (node.data / "ks" / f"t-{ID}" / "snapshots" / tag).mkdir(parents=True)
    result = await node.check(55.0, tables={"ks": ["t", "never"]})
    codes = {refusal["code"]: refusal.get("lifted_by") for refusal in result.refusals}
    assert codes == {
        "point_in_future": None,
        "table_not_then": None,
        "service_not_configured": None,
        "archive_unread": None,
        "truncated_since_snapshot": "force",
    }


@pytest.mark.parametrize(
    "error",
    [
        ArchiveCopyDiffers([Path("/archive/CommitLog-7-1.log")]),
        ArchivingRefused("no room for 3 segments", path="/archive", reason="waiting"),
    ],
)
async def test_what_the_archive_does_not_take_is_a_refusal(node: PointInMemory, error: HelenusError) -> None:
    """Promise: it would stop PIT_QUIESCE, after tables were dropped for nothing."""

    async def taken() -> None:
        raise error

    node.tools = replace(node.tools, refuse_unarchived=taken)
    result = await node.check(55.0)
    assert [refusal["code"] for refusal in result.refusals] == [error.code]


async def test_a_node_that_another_restore_keeps_down_is_a_refusal(node: PointInMemory, tmp_path: Path) -> None:
    """Promise: the lines that a job left among the JVM options would stop PIT_QUIESCE, after tables were dropped; the
    job's own are none of it."""
    options = tmp_path / "jvm-server.options"
    options.touch()
    settings = StartSettings(JvmOptions(options), tmp_path / "archiving.properties", tmp_path / "archive-commitlog")
    node.tools = replace(node.tools, settings=settings)
    await settings.jvm.put("earlier", [NO_CLIENTS])
    (refusal,) = (await node.check(55.0)).refusals
    assert (refusal["code"], refusal["fields"]) == ("kept_down", {"jobs": ["earlier"]})
    await settings.jvm.remove("earlier")
    await settings.jvm.put(JOB, [NO_CLIENTS])
    assert (await node.check(55.0)).refusals == []


async def test_a_table_dropped_and_made_again_under_its_id_is_refused(node: PointInMemory) -> None:
    """Promise: both lives bear one id in the log, so that rows of the first would come back: a look without the table
    between snapshot and point shows it, or Cassandra's own snapshot of the drop; earlier and later ones don't count."""

    async def told(pit: float = 55.0) -> list[object]:
        found = (await node.check(pit)).refusals
        return [(one["lifted_by"], one["fields"]) for one in found if one["code"] == "dropped_since_snapshot"]

    both, without = (schema(),), (schema(("other",)),)
    node.archive.history = [
        SchemaRecord("a", None, BEGAN + 1, both, {}),
        SchemaRecord("b", BEGAN + 30, BEGAN + 40, without, {}),
        SchemaRecord("c", BEGAN + 40, BEGAN + 50, both, {}),
    ]
    assert await told() == [("force", {"tables": ["ks.t"]})]
    node.archive.history = node.archive.history[:1]
    snapshots = node.data / "ks" / f"t-{ID}" / "snapshots"
    for seconds in (20, 60):
        (snapshots / f"dropped-{int((BEGAN + seconds) * 1000)}-t").mkdir(parents=True)
    assert await told() == []
    (snapshots / f"dropped-{int((BEGAN + 45) * 1000)}-t").mkdir()
    assert await told() == [("force", {"tables": ["ks.t"]})]
    with pytest.raises(DroppedSince):
        await node.fetch(55.0)
    await node.fetch(55.0, force=True)


async def test_a_truncate_that_nothing_shows_is_warned_of(node: PointInMemory) -> None:
    """Promise: where a later TRUNCATE has its place and auto-snapshots were cleared, or a restore since may have made
    Cassandra forget it; and of one from before the snapshot where the backup doesn't tell what of the log it has."""
    assert (await node.check()).warnings == []
    node.view.last_truncate = {ID: int((BEGAN + 60) * 1000)}
    told = (await node.check()).warnings
    assert ["a TRUNCATE shortly before it had removed come back: ks.t" in one for one in told] == [False, True]
    node.snapshot.head = msgspec.structs.replace(node.snapshot.head, commitlog_flushed={name_of(2): 1_000})
    (warning,) = (await node.check()).warnings
    assert "an earlier TRUNCATE" in warning
    assert "ks.t" in warning
    node.view.last_truncate = {}
    await node.fetch(55.0)
    point = await node.notes.point()
    assert point is not None
    await FetchNotes(node.state, "later").put_point(point)
    await PlaceNotes(node.state, "later").put_opened()
    await PlaceNotes(node.state, "later").put_placed(Placed(PitPlaceResult({}, {}), ()))
    node.now = 4_000_000_000.0
    assert any("after the point a restore (later) changed ks.t" in one for one in (await node.check()).warnings)


async def test_settings_that_could_not_be_written_after_the_stop_are_refused(
    node: PointInMemory, tmp_path: Path
) -> None:
    """Promise: the check says what would keep Cassandra's start from being told what to replay, and leaves nothing."""
    options, properties = tmp_path / "jvm-server.options", tmp_path / "no" / "commitlog_archiving.properties"
    settings = StartSettings(JvmOptions(options), properties, tmp_path / "archive-commitlog")
    node.tools = replace(node.tools, settings=settings)

    async def told() -> list[object]:
        return [(one["code"], one["fields"]["path"]) for one in (await node.check()).refusals]  # type: ignore[index]

    before = sorted(tmp_path.iterdir())
    assert await told() == [("settings_not_writable", str(options))]
    options.touch()
    assert await told() == [("settings_not_writable", str(properties))]
    properties.parent.mkdir()
    assert await told() == []
    assert sorted(tmp_path.iterdir()) == sorted([*before, options, properties.parent])


async def test_a_restore_between_snapshot_and_point_is_refused(node: PointInMemory) -> None:
    """Promise: the log has what an earlier restore undid, and lacks what it brought: no window reaches past it. One
    before the snapshot, of other tables, or after the point is none of its business."""
    node.now = 4_000_000_000.0
    node.snapshot.head = msgspec.structs.replace(node.snapshot.head, taken_at=BEGAN + 25)
    node.snapshot.others = {"other": node.snapshot.head}
    assert (await node.check(55.0)).windows == [[BEGAN + 26, node.now]]
    older = RestoreNotes(node.state, "imported")
    await older.put_asked(Asked("tag", HOST, None, {"ks": ["t"]}))
    await older.begin_import()
    placed = PlaceNotes(node.state, "placed")
    await node.fetch(55.0)
    point = await node.notes.point()
    assert point is not None
    await FetchNotes(node.state, "placed").put_point(point)
    await placed.put_opened()

    async def jobs(pit: float) -> list[object]:
        result = await node.check(pit)
        return [one["fields"]["jobs"] for one in result.refusals if one["code"] == "restored_since_snapshot"]  # type: ignore[index]

    assert await jobs(1_900_000_000.0) == [["imported", "placed"]]
    assert (await node.check(55.0)).windows == []  # nobody knows when it placed
    assert await jobs(55.0) == [["placed"]]
    with pytest.raises(RestoredSince):
        await node.fetch(55.0)
    (node.state / "restores" / "placed" / "placed.json").write_text("{}")
    assert await jobs(55.0) == []
    result = await node.check(55.0, others=["other"])
    [[begins, ends]] = result.windows
    assert begins == BEGAN + 26
    assert ends < (node.state / "restores" / "placed" / "placed.json").stat().st_mtime
    assert result.other_windows == {"other": result.windows}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"tables": {"system": ["local"]}}, KeyspaceRefused),
        ({"tables": {"ks/..": ["t"]}}, InvalidName),
        ({"late_seconds": -1.0}, InvalidInput),
        ({"throttle_bytes_per_second": -1}, InvalidInput),
        ({"pit": -2_000_000_000.0}, InvalidInput),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(
    node: PointInMemory, changed: dict[str, object], error: type[Exception]
) -> None:
    """Promise: by name, before anything is read."""
    with pytest.raises(error):
        await node.check(**changed)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        await node.fetch(tables={})
