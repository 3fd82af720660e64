"""Whether a segment follows the one before it, and which ones were lost."""

import pytest

from agent.plan.log_lives import Neighbour, Sighting, begun_by, losses_of, neighbour_of, neighbours_of
from agent.plan.segment_names import SegmentName, parse_segment, segment_id

BEGIN = 1_795_904_262_200
"""Milliseconds at which a life of Cassandra began: its first id."""


def name(number: int) -> str:
    return f"CommitLog-7-{number}.log"


def seen(*ones: tuple[int, bool, float]) -> dict[str, Sighting]:
    """(id, held data, seconds after BEGIN)."""
    return {name(number): Sighting(name(number), held, BEGIN / 1000 + after) for number, held, after in ones}


def test_names_are_read_strictly() -> None:
    """Promise: index files, unfinished copies and names that mean another segment's are not taken for segments."""
    assert parse_segment(name(17)) == SegmentName(17, 7)
    assert SegmentName(17, 7).neighbour(-2).file_name == name(15)
    assert sorted([SegmentName(10, 7), SegmentName(9, 8)]) == [SegmentName(9, 8), SegmentName(10, 7)]
    for other in (
        "CommitLog-7-17_cdc.idx",
        ".CommitLog-7-17.log.5.tmp",
        "CommitLog-17.log",
        "CommitLog-7-017.log",
        "CommitLog-7-17.log\n",
        "../CommitLog-7-17.log",
        "CommitLog-7-1234567890123456789.log",
        "",
    ):
        assert parse_segment(other) is None, other
        with pytest.raises(ValueError, match="no segment"):
            segment_id(other)


def test_the_next_id_follows() -> None:
    """Promise: within a life nothing needs to be guessed."""
    known = seen((BEGIN, True, 1.0), (BEGIN + 1, True, 2.0))
    assert neighbour_of(name(BEGIN + 1), known, known) == Neighbour(name(BEGIN), follows=True)
    assert neighbour_of(name(BEGIN), known, known) == Neighbour("", follows=False)


def test_a_skipped_id_of_the_same_life_does_not_follow() -> None:
    """Promise: a segment that was archived and removed by another's hand, and never seen, leaves a gap: ids of a life
    grow far slower than the clock."""
    known = seen((BEGIN, True, 3600.0), (BEGIN + 2, True, 3700.0))
    assert neighbour_of(name(BEGIN + 2), known, known) == Neighbour(name(BEGIN), follows=False)


def test_the_first_of_a_later_life_follows_the_last_of_the_one_before() -> None:
    """Promise: a restart makes no gap: the segment that was allocated ahead is archived, empty, and ends the life."""
    second = BEGIN + 100_000
    known = seen((BEGIN, True, 90.0), (BEGIN + 1, False, 95.0), (second, True, 101.0))
    assert neighbour_of(name(second), known, known) == Neighbour(name(BEGIN + 1), follows=True)


def test_a_life_whose_last_segment_holds_writes_may_have_had_more() -> None:
    """Promise: without the empty segment at its end, in the archive, nobody says that a life is whole; that it was seen
    empty once counts for nothing, for it may have been written to afterwards."""
    second = BEGIN + 100_000
    known = seen((BEGIN, True, 90.0), (BEGIN + 1, False, 95.0), (second, True, 101.0))
    there = {name(BEGIN), name(second)}
    assert neighbour_of(name(second), known, there) == Neighbour(name(BEGIN), follows=False, end_unknown=True)


def test_ten_thousand_segments_are_placed_at_once() -> None:
    """Promise: an agent that comes back to a long archive is done in a moment, not in minutes: each name is looked at
    a handful of times."""
    known = seen(*((BEGIN + number, True, float(number)) for number in range(10_000)))
    found = neighbours_of(known, known, known)
    assert sum(neighbour.follows for neighbour in found.values()) == 9_999


def test_nothing_follows_one_that_is_lost() -> None:
    """Promise: a segment that was seen with writes and is nowhere any more stands between the lives."""
    second = BEGIN + 100_000
    known = seen((BEGIN, True, 90.0), (BEGIN + 1, True, 95.0), (second, True, 101.0))
    there = {name(BEGIN), name(second)}
    assert neighbour_of(name(second), known, there) == Neighbour(name(BEGIN + 1), follows=False)
    with pytest.raises(ValueError, match="no segment"):
        neighbour_of("nothing", known, there)


def test_losses_name_their_neighbours_and_a_time_that_holds_them() -> None:
    """Promise: a person reads from when to when writes are missing: the lost ones were written after the last that is
    there, and before Cassandra's next start or the following segment's end."""
    second = BEGIN + 100_000
    known = seen(
        (BEGIN, True, 10.0),
        (BEGIN + 1, True, 20.0),
        (BEGIN + 2, True, 30.0),
        (BEGIN + 3, False, 30.0),
        (second, True, 140.0),
    )
    there = {name(BEGIN), name(second)}
    now = BEGIN / 1000 + 1000
    (found,) = losses_of(known.values(), there, "archiving failed", now)
    assert (found.after, found.before, found.reason) == (name(BEGIN), name(second), "archiving failed")
    assert (found.since, found.until) == (BEGIN / 1000 + 10, second / 1000)
    within = losses_of(known.values(), there | {name(BEGIN + 2)}, "r", now)
    assert [(one.after, one.before) for one in within] == [(name(BEGIN), name(BEGIN + 2))]
    assert within[0].until == BEGIN / 1000 + 30


def test_a_lost_tail_and_a_lost_beginning_are_open_on_one_side() -> None:
    """Promise: they are told before anything comes after them, or although nothing came before."""
    known = seen((BEGIN, True, 10.0), (BEGIN + 1, True, 20.0))
    (tail,) = losses_of(known.values(), {name(BEGIN)}, "r", BEGIN / 1000 + 50)
    assert (tail.after, tail.before, tail.since, tail.until) == (
        name(BEGIN),
        "",
        BEGIN / 1000 + 10,
        BEGIN / 1000 + 20,
    )
    (head,) = losses_of(known.values(), {name(BEGIN + 1)}, "r", BEGIN / 1000 + 50)
    assert (head.after, head.before, head.since) == ("", name(BEGIN + 1), BEGIN / 1000)
    assert losses_of(known.values(), set(known), "r", 0.0) == []
    assert losses_of(seen((BEGIN, False, 1.0)).values(), set(), "r", 0.0) == []


@pytest.mark.parametrize(
    ("made", "begun"),
    [
        ({}, BEGIN / 1000 + 500),
        ({2: 100.0}, BEGIN / 1000 + 500),
        ({2: 100.0, 4: 180.0}, BEGIN / 1000 + 180),
        ({1: 50.0, 4: 180.0, 5: 190.0}, BEGIN / 1000 + 180),
        ({6: 210.0}, BEGIN / 1000 + 210),
        ({400_000: 410.0}, BEGIN / 1000 + 400),
        ({4: 180.0, 400_000: 410.0}, BEGIN / 1000 + 180),
    ],
)
def test_when_a_segment_was_taken_into_use_is_told_by_the_next_one(made: dict[int, float], begun: float) -> None:
    """Promise: not by its id, which tells when its life began, nor by its own file's time, which may be from before the
    one in front of it was full; where no later one of its life is there, by the next life's beginning, else by now."""
    known = seen((BEGIN + 3, True, 90.0))
    files = {name(BEGIN + number): BEGIN / 1000 + after for number, after in made.items()}
    assert begun_by(known, known, files, BEGIN / 1000 + 500) == {name(BEGIN + 3): begun}
