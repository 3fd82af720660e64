"""The segments that a point needs: a beginning of the log without holes."""

import msgspec

from agent.model.commit_log import LossRecord
from agent.plan.replay_set import LogNeed, ReplaySet, clock_steps, replay_set
from tests.cluster.log_segments import name_of
from tests.fast.point_in_time.point_in_memory import BEGAN, record


def need(pit: float, late: float = 0.0, floor: str | None = name_of(1)) -> LogNeed:
    return LogNeed(floor, BEGAN + 25, BEGAN + pit, late)


def names(found: ReplaySet) -> list[str]:
    return [one.name for one in found.segments]


def test_whole_copies_of_the_node_count_more_than_parts_in_the_archive() -> None:
    """Promise: the log goes on from a part that was copied, with the node's own segment."""
    archived = [record(2), record(3, whole=False)]
    alone = replay_set(need(38), archived)
    assert (alone.covered_until, alone.reaches(BEGAN + 38), alone.goes_on) == (BEGAN + 35, False, False)
    both = replay_set(need(38), archived, [record(3), record(4)])
    assert (both.covered_until, both.goes_on) == (BEGAN + 50, True)
    assert names(both) == [name_of(2), name_of(3)]


def test_what_is_written_now_ends_the_set() -> None:
    """Promise: the file allocated ahead is no gap, also when a copy of it was shipped."""
    found = replay_set(need(45), [record(2), record(3), record(5, whole=False)], [record(4, whole=False)])
    assert (found.goes_on, found.gaps) == (True, ())
    assert names(found) == [name_of(2), name_of(3), name_of(4)]


def test_what_was_lost_at_the_end_is_not_gone_on_with() -> None:
    """Promise: a node that is down and lost its newest segments has nothing after the last one that is left."""
    lost = LossRecord(name_of(3), "", BEGAN + 40, BEGAN + 60, "the volume was lost")
    found = replay_set(need(55), [record(2)], [record(3)], [lost])
    assert (found.covered_until, found.goes_on, found.reaches(BEGAN + 55)) == (BEGAN + 40, False, False)
    assert [gap.after for gap in found.gaps] == [name_of(3)]
    assert replay_set(need(55), [record(2)], [record(3), record(4)], [lost]).goes_on


def test_behind_a_gap_only_by_force() -> None:
    """Promise: and then up to the point all the same, from the floor on."""
    records = [record(number) for number in (0, 1, 2, 4, 5, 9)]
    assert names(replay_set(need(52), records)) == [name_of(2)]
    assert names(replay_set(need(52), records, force=True)) == [name_of(2), name_of(4), name_of(5)]


def test_a_snapshot_without_a_floor_has_no_set_but_by_force() -> None:
    """Promise: where it isn't known from where on the log is needed, nothing is called covered."""
    found = replay_set(need(25, floor=None), [record(1), record(2)])
    assert (found.covered_until, names(found), len(found.gaps)) == (None, [], 1)
    assert names(replay_set(need(25, floor=None), [record(1), record(2)], force=True)) == [name_of(1), name_of(2)]


def test_a_clock_that_went_back_is_seen_and_jitter_is_not() -> None:
    """Promise: both moments are named."""
    assert clock_steps([record(1), record(2)]) == []
    assert clock_steps([record(5), record(2), record(3)]) == [(BEGAN + 60, BEGAN + 30)]
    slow = msgspec.structs.replace(record(6), opened_at=BEGAN + 45, closed_at=BEGAN + 45)
    assert clock_steps([record(5), slow]) == []


def test_a_segment_whose_opening_is_only_known_to_be_after_cassandras_start_is_no_step() -> None:
    """Promise: an id is the start of Cassandra and a count; one that nobody saw the one before it of has no other."""
    unseen = msgspec.structs.replace(record(9), opened_at=BEGAN - 600)
    assert clock_steps([record(7), record(8), unseen, record(10)]) == []
    back = msgspec.structs.replace(unseen, closed_at=BEGAN + 50)
    assert clock_steps([record(7), record(8), back]) == [(BEGAN + 90, BEGAN + 50)]


def test_the_empty_last_segment_of_a_life_is_no_step_of_the_clock() -> None:
    """Promise: it was allocated ahead, and nothing was written in it: it looks closed before the one before it."""
    empty = msgspec.structs.replace(record(3), opened_at=BEGAN + 20.1, closed_at=BEGAN + 20.1)
    assert clock_steps([record(2), empty, record(9)]) == []
