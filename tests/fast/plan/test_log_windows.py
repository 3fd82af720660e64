"""Which points in time a node's archived commit log reaches."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent.model.commit_log import LossRecord, SegmentRecord
from agent.plan import log_windows as windows
from agent.plan.log_windows import SnapshotPoint


def name(number: int) -> str:
    return f"CommitLog-7-{number}.log"


def record(
    number: int,
    opened: float,
    closed: float,
    *,
    whole: bool = True,
    previous: int | None = None,
    follows: bool = False,
    copied: float = 0.0,
) -> SegmentRecord:
    return SegmentRecord(
        name=name(number),
        size=10,
        digest="d",
        piece_size=0,
        pieces=(),
        objects={},
        codecs={},
        whole=whole,
        opened_at=opened,
        closed_at=closed,
        previous=name(previous) if previous is not None else "",
        follows=follows,
        copied_at=copied,
    )


def loss(after: int | None, before: int | None, since: float = 0.0, until: float = 0.0) -> LossRecord:
    return LossRecord(
        name(after) if after is not None else "", name(before) if before is not None else "", since, until, "full disk"
    )


LIFE = [record(100, 1.0, 2.0), record(101, 2.0, 3.0), record(102, 3.0, 4.0)]


def numbers(found: windows.LogRun) -> list[int]:
    return [int(one.name.split("-")[2][:-4]) for one in found.records]


def test_consecutive_segments_make_one_run_in_any_order_and_however_often_copied() -> None:
    """Promise: neither the order of a listing nor a second copy makes a gap or counts a segment twice."""
    for shuffled in itertools.permutations([*LIFE, LIFE[1]]):
        (run,) = windows.runs(shuffled)
        assert numbers(run) == [100, 101, 102]
        assert (run.since, run.until) == (1.0, 4.0)
        assert windows.gaps(shuffled) == []
    assert windows.runs([]) == []


def test_ids_sort_as_numbers() -> None:
    """Promise: a segment with one more digit comes later, as Cassandra replays it."""
    (run,) = windows.runs([record(10, 2.0, 3.0), record(9, 1.0, 2.0)])
    assert numbers(run) == [9, 10]


def test_a_missing_segment_is_a_gap_with_its_neighbours_and_times() -> None:
    """Promise: a person reads which segments and which time are missing."""
    (gap,) = windows.gaps([LIFE[0], LIFE[2]])
    assert (gap.after, gap.before, gap.since, gap.until) == (name(100), name(102), 2.0, 3.0)
    assert gap.reason == windows.NOT_ARCHIVED
    assert [numbers(run) for run in windows.runs([LIFE[0], LIFE[2]])] == [[100], [102]]


def test_a_new_life_belongs_to_the_one_before_only_where_that_is_known() -> None:
    """Promise: a restart makes no gap, and no guess closes one."""
    later = record(5000, 6.0, 7.0, previous=102, follows=True)
    assert [numbers(run) for run in windows.runs([*LIFE, later])] == [[100, 101, 102, 5000]]
    unsure = record(5000, 6.0, 7.0, previous=102)
    assert windows.gaps([*LIFE, unsure])[0].reason == windows.NOT_KNOWN_TO_FOLLOW
    other = record(5000, 6.0, 7.0, previous=103, follows=True)
    (gap,) = windows.gaps([*LIFE, other])
    assert (gap.reason, gap.since, gap.until) == (windows.NOT_ARCHIVED, 4.0, 6.0)


def test_a_recorded_loss_parts_what_was_thought_to_follow() -> None:
    """Promise: what is known to be lost counts, with its reason; once it has come after all, it doesn't."""
    later = record(5000, 6.0, 7.0, previous=102, follows=True)
    (gap,) = windows.gaps([*LIFE, later], [loss(102, 5000)])
    assert (gap.after, gap.before, gap.reason) == (name(102), name(5000), "full disk")
    assert windows.gaps(LIFE, [loss(100, 102)]) == []
    (wide,) = windows.gaps([LIFE[0], LIFE[2]], [loss(99, None), loss(100, 102)])
    assert wide.reason == "full disk"


def test_a_loss_after_the_newest_segment_is_told_too() -> None:
    """Promise: a lost tail shows although nothing came after it."""
    (gap,) = windows.gaps(LIFE, [loss(102, None, 4.0, 9.0)])
    assert (gap.after, gap.before, gap.since, gap.until) == (name(102), "", 4.0, 9.0)
    assert windows.gaps([], [loss(None, None, 1.0, 2.0)])[0].reason == "full disk"


def test_a_whole_copy_counts_before_a_partial_one_and_the_longer_partial_one() -> None:
    """Promise: a later copy of the live segment takes the place of an earlier one, a whole one of all."""
    short = record(103, 4.0, 5.0, whole=False, copied=5.0)
    long = record(103, 4.0, 6.0, whole=False, copied=6.0)
    done = record(103, 4.0, 5.5, copied=5.6)
    assert windows.chosen([long, short]) == [long]
    assert windows.chosen([done, long, short]) == [done]
    assert windows.runs([*LIFE, short, long])[0].until == 6.0


def test_an_empty_segment_at_the_end_takes_nothing_back() -> None:
    """Promise: Cassandra leaves an empty segment as it stops, whose file is older than the writes in the one before."""
    ended = record(103, 3.0, 3.1)
    assert windows.runs([*LIFE, ended])[0].until == 4.0
    assert windows.coverage(name(99), 0.5, [*LIFE, ended]).covered_until == 4.0


def test_a_gap_within_a_life_has_an_end_though_nobody_saw_the_next_segment_being_opened() -> None:
    """Promise: such a segment's opening is Cassandra's start, long before what is missing: neither is the gap told as
    nothing, nor the log behind it as complete from that start on."""
    unseen = record(104, 0.1, 9.0)
    (gap,) = windows.gaps([*LIFE, unseen])
    assert (gap.since, gap.until) == (4.0, 9.0)
    assert [(run.since, run.until) for run in windows.runs([*LIFE, unseen, record(105, 9.0, 11.0)])] == [
        (1.0, 4.0),
        (9.0, 11.0),
    ]
    (gap,) = windows.coverage(name(102), 5.0, [unseen]).gaps
    assert (gap.since, gap.until) == (5.0, 9.0)


def test_after_a_partial_copy_something_is_missing() -> None:
    """Promise: of a segment whose end was lost the run reaches to where it was copied, no further."""
    cut = record(103, 4.0, 5.0, whole=False)
    following = record(104, 8.0, 9.0, previous=103, follows=True)
    (gap,) = windows.gaps([*LIFE, cut, following])
    assert (gap.after, gap.since, gap.until, gap.reason) == (name(103), 5.0, 8.0, windows.CUT_SHORT)
    assert [run.until for run in windows.runs([*LIFE, cut, following])] == [5.0, 9.0]


def test_a_snapshot_reaches_as_far_as_the_run_from_its_floor() -> None:
    """Promise: whether the floor itself is archived doesn't matter; what comes after it does."""
    for floor in (99, 100, 101):
        found = windows.coverage(name(floor), 1.0, LIFE)
        assert found.covered_until == 4.0
        assert found.gaps == ()
        assert found.first == name(floor + 1)
        assert [one.name for one in found.run] == [name(number) for number in range(floor + 1, 103)]
    gone = windows.coverage(name(100), 1.0, [LIFE[0], LIFE[2]])
    assert gone.covered_until is None
    assert (gone.gaps[0].after, gone.gaps[0].before, gone.first) == ("", name(102), name(101))


def test_a_snapshot_of_an_earlier_life_reaches_over_the_restart() -> None:
    """Promise: Cassandra restarted right after the snapshot, before its first segment: nothing is missing."""
    later = record(5000, 6.0, 7.0, previous=99, follows=True)
    assert windows.coverage(name(99), 5.0, [later]).covered_until == 7.0
    assert windows.coverage(name(100), 5.0, [later]).covered_until == 7.0
    missing = record(5000, 6.0, 7.0, previous=101, follows=True)
    assert windows.coverage(name(99), 5.0, [missing]).covered_until is None
    assert windows.coverage(name(99), 5.0, [later], [loss(99, 5000)]).gaps[0].reason == "full disk"


def test_coverage_ends_at_the_first_gap_and_tells_the_later_ones() -> None:
    """Promise: no point behind a gap is offered, and all gaps are named at once."""
    records = [*LIFE, record(104, 5.0, 6.0), record(106, 8.0, 9.0)]
    found = windows.coverage(name(99), 0.5, records)
    assert found.covered_until == 4.0
    assert [(gap.after, gap.before) for gap in found.gaps] == [(name(102), name(104)), (name(104), name(106))]


def test_a_snapshot_without_a_floor_reaches_nothing() -> None:
    """Promise: one that was taken without a word on the commit log is not taken for a beginning."""
    for floor in (None, "", "nonsense"):
        found = windows.coverage(floor, 5.0, LIFE)
        assert found.covered_until is None
        assert found.gaps[0].reason == windows.BEFORE_ARCHIVING
    assert windows.coverage(name(102), 5.0, LIFE).covered_until is None
    assert windows.coverage(name(102), 5.0, LIFE, [loss(102, None)]).gaps[0].after == name(102)
    assert windows.coverage(None, 5.0, []).gaps[0].before == ""


def test_what_was_opened_long_after_the_point_is_not_replayed() -> None:
    """Promise: a write may come as late as hints do, and no later segment is fetched."""
    run = [record(number, float(number), float(number + 1)) for number in range(100, 110)]
    assert windows.to_replay(run, 103.0, 2.0) == run[:6]
    assert windows.to_replay(run, 99.0, 0.5) == []


def test_an_outage_leaves_two_windows() -> None:
    """Promise: points before the gap come from the earlier snapshot, points after it only from one taken after it; and
    two snapshots without a gap make one window."""
    records = [*LIFE, record(110, 20.0, 21.0), record(111, 21.0, 30.0)]
    first, second = SnapshotPoint(0.5, 1.5, name(99)), SnapshotPoint(22.0, 23.0, name(110))
    assert windows.windows([second, first], records) == [[1.5, 4.0], [23.0, 30.0]]
    again = SnapshotPoint(2.1, 2.5, name(100))
    assert windows.windows([again, first, second], records) == [[1.5, 4.0], [23.0, 30.0]]
    assert windows.windows([SnapshotPoint(0.5, 9.0, name(99))], records) == []


def test_a_loss_without_an_end_parts_nothing_behind_the_next_segment() -> None:
    """Promise: a lost tail, told before anything came after it, is one gap; later restarts are none."""
    second = record(5000, 6.0, 7.0, previous=102, follows=True)
    third = record(9000, 8.0, 9.0, previous=5000, follows=True)
    (gap,) = windows.gaps([*LIFE, second, third], [loss(102, None)])
    assert (gap.after, gap.before) == (name(102), name(5000))


def test_ten_thousand_segments_with_gaps_and_snapshots_are_looked_through_at_once() -> None:
    """Promise: a check of a long log takes a moment, whatever is lost in it and however many backups there are."""
    records = [
        record(number, float(number), number + 1.0, previous=number - 2, follows=True)
        for number in range(10_000)
        if number % 10
    ]
    lost = [loss(number - 1, number + 1) for number in range(0, 10_000, 10)]
    taken = [SnapshotPoint(number + 1.0, number + 2.0, name(number)) for number in range(0, 10_000, 5)]
    found = windows.windows(taken, records, lost[1:])
    assert len(found) == 1_000
    assert found[7] == [72.0, 80.0]
    assert len(windows.gaps(records, lost[1:])) == 999


@given(
    st.lists(st.tuples(st.integers(-1, 12), st.integers(-1, 13)), max_size=6),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_losses_are_found_where_they_are(spans: list[tuple[int, int]], one: int, other: int) -> None:
    """Promise: looking up finds what going through all finds."""
    first, second = sorted((one, other))
    known = [loss(after if after >= 0 else None, before if before >= 0 else None) for after, before in spans]
    wanted = [
        kept
        for kept, (after, before) in zip(known, spans, strict=True)
        if after < second and (before if before >= 0 else after + 1) > first
    ]
    found = windows.Losses(known).between(first, second)
    assert sorted(map(str, found)) == sorted(map(str, wanted))


@given(
    st.sets(st.integers(0, 12), min_size=1),
    st.sets(st.integers(0, 12)),
    st.integers(-1, 12),
)
def test_no_history_offers_a_point_behind_a_missing_segment(there: set[int], partial: set[int], floor: int) -> None:
    """Promise: whatever is missing, coverage reaches exactly to the end of the last segment before the first that is
    missing or cut."""
    records = [record(100 + number, float(number), number + 1.0, whole=number not in partial) for number in there]
    reached = floor + 1
    until = None
    while reached in there:
        until = reached + 1.0
        if reached in partial:
            break
        reached += 1
    assert windows.coverage(name(100 + floor), 0.0, records).covered_until == until
    runs = windows.runs(records)
    assert sum(len(run.records) for run in runs) == len(records)
    assert len(windows.gaps(records)) == len(runs) - 1
