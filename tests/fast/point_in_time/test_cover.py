"""PIT_COVER: Cassandra is down, and the node's own log completes the set up to the point, or it is said how far."""

import errno
import os
from dataclasses import replace

import msgspec
import pytest

from agent.cassandra.commit_log.errors import SegmentGone
from agent.cassandra.commit_log.passing_over import NOBODYS_TABLE
from agent.cassandra.commit_log.sections import segment_state
from agent.jobs.archiving.ledger import Known
from agent.jobs.archiving.looking import look
from agent.jobs.archiving.node_logs import OwnLog
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_errors import CassandraRuns
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.point_errors import NotCovered, SegmentDamaged
from agent.jobs.restore.errors import JobDiffers, NotFetched
from agent.model.commit_log import SchemaRecord
from agent.storage.protocol import Transient
from tests.cluster.log_segments import MUTATION, entry, name_of, segment
from tests.fast.point_in_time.point_in_memory import BEGAN, JOB, PointInMemory, record


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> PointInMemory:
    return PointInMemory(tmp_path_factory.mktemp("node"))


async def test_the_own_log_completes_the_set(node: PointInMemory) -> None:
    """Promise: what was written a moment before the stop is replayed; a point that only the own log reaches is
    covered."""
    await node.fetch(76.0)
    node.stop()
    result = await node.cover(76.0)
    assert (result.covered_until, result.gaps, result.segments) == (BEGAN + 88, [], 6)
    assert node.standing() == [name_of(number) for number in range(2, 8)]
    assert await node.notes.must_covered(node.arguments(76.0)) == result
    assert node.own.fetched == [name_of(7)]


async def test_a_node_that_was_idle_is_covered_up_to_its_stop(node: PointInMemory) -> None:
    """Promise: without a write after the point nothing is missing; but only where the node's newest segment belongs to
    the set."""
    node.now = BEGAN + 500
    await node.fetch(400.0)
    node.stop()
    assert (await node.cover(400.0)).covered_until == BEGAN + 510
    node.own.found = []
    assert (await node.cover(400.0)).covered_until == BEGAN + 80


async def test_segments_that_were_shipped_and_removed_since_the_fetch_are_fetched(node: PointInMemory) -> None:
    """Promise: whatever moved from the node to the destination between two phases is found."""
    await node.fetch(76.0)
    node.archive.found.append(record(7))
    node.own.found = [record(8, whole=False)]
    node.stop()
    result = await node.cover(76.0)
    assert (result.covered_until, result.segments) == (BEGAN + 90, 7)
    assert node.standing() == [name_of(number) for number in range(2, 9)]


async def test_what_the_snapshot_has_is_not_replayed(node: PointInMemory) -> None:
    """Promise: of the segments in which the snapshot was taken the part before it is passed over, of fetched ones and
    of the node's own, however often the set is completed; the others stay as they are."""
    flushed = {name_of(2): 4_096, name_of(7): 4_096}
    node.snapshot.head = msgspec.structs.replace(node.snapshot.head, commitlog_flushed=flushed)
    await node.fetch(76.0)
    node.stop()
    for _ in range(2):
        assert (await node.cover(76.0)).segments == 6
        changed = [one for one in node.standing() if NOBODYS_TABLE.bytes in (node.segments / one).read_bytes()]
        assert changed == [*flushed]
        assert not any(segment_state(node.segments / one).damage for one in changed)


async def test_what_is_shipped_and_removed_meanwhile_is_not_left_out_by_force(node: PointInMemory) -> None:
    """Promise: force lets pass what can't be had: a segment that goes between look and link can, by the next run."""
    await node.fetch(76.0)
    node.stop()
    node.own.missing, node.own.gone = SegmentGone, {name_of(7)}
    with pytest.raises(SegmentGone):
        await node.cover(76.0, force=True)
    node.own.found = [record(8)]
    node.archive.found.append(record(7))
    result = await node.cover(76.0, force=True)
    assert (result.segments, result.left_out) == (7, [])
    assert name_of(7) in node.standing()


async def test_late_writes_are_looked_for_in_the_archive_which_may_be_away(node: PointInMemory) -> None:
    """Promise: a hint may have come in a segment that was shipped and removed since the fetch; where the set reaches
    the point without it, a destination that is away doesn't stop a restore whose nodes are down already."""
    await node.fetch(45.0)
    node.archive.found += [record(7), record(8)]
    node.own.found = [record(9, whole=False)]
    node.stop()
    node.archive.away = Transient("the destination is away")
    result = await node.cover(45.0)
    assert (result.covered_until, result.segments) == (BEGAN + 70, 5)
    node.archive.away = None
    assert (await node.cover(45.0)).segments == 8
    await node.fetch(69.0)
    node.archive.away = Transient("the destination is away")
    node.own.found = [record(20)]
    await node.notes.put_segments([record(number) for number in (2, 3)], [])
    with pytest.raises(Transient):
        await node.cover(69.0)


async def test_while_cassandra_runs_its_log_has_no_end(node: PointInMemory) -> None:
    """Promise: nothing is called covered that may still grow; nor before the fetch, nor for another question."""
    with pytest.raises(NotFetched):
        await node.cover()
    await node.fetch()
    with pytest.raises(CassandraRuns):
        await node.cover()
    node.stop()
    with pytest.raises(JobDiffers):
        await node.cover(54.0)
    with pytest.raises(NotCovered):
        await node.notes.must_covered(node.arguments())


async def test_a_gap_is_told_and_place_is_refused_unless_forced(node: PointInMemory) -> None:
    """Promise: the barrier holds on the node itself, whoever drives it. Segments behind the gap are no part of the set
    without `force`: Cassandra would replay them as if nothing was missing."""
    await node.fetch(76.0)
    node.own.found = [record(9, follows=False)]
    node.stop()
    result = await node.cover(76.0)
    assert result.covered_until == BEGAN + 70
    assert [(gap.after, gap.before) for gap in result.gaps] == [(name_of(6), name_of(9))]
    assert node.standing() == [name_of(number) for number in range(2, 7)]
    with pytest.raises(NotCovered) as refused:
        await node.notes.must_covered(node.arguments(76.0))
    assert refused.value.fields["covered_until"] == BEGAN + 70
    forced = node.arguments(76.0, force=True)
    assert (await node.cover(76.0, force=True)).segments == 6
    assert name_of(9) in node.standing()
    assert (await node.notes.must_covered(forced)).covered_until == BEGAN + 70


async def test_a_copy_of_a_part_makes_room_for_the_whole_segment(node: PointInMemory) -> None:
    """Promise: of a segment that was copied while it was written all of it is replayed."""
    await node.fetch(76.0)
    part = msgspec.structs.replace(record(7, whole=False), size=100)
    (node.segments / part.name).write_bytes(b"x" * 100)
    standing = await node.notes.segments()
    assert standing is not None
    await node.notes.put_segments([*standing.records, part], standing.losses)
    node.stop()
    result = await node.cover(76.0)
    assert result.covered_until == BEGAN + 88
    assert (node.segments / part.name).stat().st_size == record(7).size


async def test_a_segment_that_awaited_its_last_sync_is_replayed_as_it_became(
    node: PointInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where links are refused the fetch copies none to which Cassandra still owes its last section, though two
    younger ones are there: the copy would have the segment's size and name, and lack acknowledged writes."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    async def none() -> list[SchemaRecord]:
        return []

    async def is_down() -> bool:
        return not node.process.running

    log = node.commitlog
    monkeypatch.setattr(os, "link", refused)
    own = OwnLog(lambda: look(str(log), (), ()), Known, none, is_down)
    node.tools = replace(node.tools, own=own)
    for number, body in {7: segment(7, unsynced=entry()), 8: segment(8, ()), 9: segment(9, ())}.items():
        (log / name_of(number)).write_bytes(body)
    await node.fetch(76.0)
    assert node.standing() == [name_of(number) for number in range(2, 7)]
    (log / name_of(7)).write_bytes(segment(7, ((MUTATION,), (MUTATION,))))
    node.stop()
    assert (await node.cover(76.0)).segments == 8
    assert segment_state(node.segments / name_of(7)).mutations == 2


async def test_what_vanished_or_was_cut_since_the_fetch_is_brought_again(node: PointInMemory) -> None:
    """Promise: the set is what stands on the disk, not what was noted; a stray file goes."""
    await node.fetch()
    (node.segments / name_of(3)).unlink()
    os.truncate(node.segments / name_of(4), 50)
    (node.segments / ".CommitLog-7-4.log.1.tmp").write_bytes(b"")
    node.own.found = [record(3), record(4), *node.own.found]
    node.stop()
    await node.cover()
    assert node.standing() == [name_of(number) for number in range(2, 8)]
    assert (node.segments / name_of(4)).stat().st_size == record(4).size


async def test_damage_in_the_own_log_is_refused(node: PointInMemory) -> None:
    """Promise: before anything is set aside a person hears that Cassandra's start would fail."""
    await node.fetch()
    node.own.damaged = {name_of(7)}
    node.stop()
    with pytest.raises(SegmentDamaged):
        await node.cover()
    assert len((await node.cover(force=True)).left_out) == 1


async def test_once_files_are_placed_the_answer_stays(node: PointInMemory) -> None:
    """Promise: sent again it succeeds and touches nothing that Cassandra may be replaying; a fetch sent again, and a
    start of Cassandra in between, take the cover back before."""
    await node.fetch(76.0)
    node.stop()
    await node.cover(76.0)
    node.process.running = True
    await node.fetch(76.0)
    assert await node.notes.covered() is None
    node.stop()
    last = await node.cover(76.0)
    await PlaceNotes(node.state, JOB).put_plan([])
    node.process.running = True
    (node.segments / "strange").write_bytes(b"")
    assert (await node.cover(76.0)).covered_until == last.covered_until
    assert "strange" in node.standing()
    await FetchNotes(node.state, JOB).forget_covered()
    with pytest.raises(NotCovered):
        await node.cover(76.0)
