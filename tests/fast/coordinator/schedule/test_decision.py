"""What is done about a schedule: run, wait or skip, and what is said of it."""

import uuid

import pytest

from coordinator.model.schedules import MOST_MISSED, ONCE, Due, Missed, Timetable
from coordinator.schedule.decision import (
    BUSY,
    LATE,
    ONCE_LATE,
    OVERTAKEN,
    PASSED,
    add_missed,
    decide,
    request_of,
    retry_of,
)
from coordinator.schedule.occurrences import nth

HOUR = 3_600
HOURLY = Timetable("2026-01-01", "00:00:00", "UTC", 1, "hours")
FIRST = nth(HOURLY, 0)
DUE = Due(FIRST, FIRST + HOUR / 2)
SECOND = Due(FIRST + HOUR, FIRST + HOUR * 1.5)


def test_before_it_is_due_nothing_happens() -> None:
    """Promise: nothing runs early, and the next look is told."""
    told = decide(HOURLY, FIRST - 100, None, FIRST - 1, busy=False)
    assert (told.run, told.waiting, told.missed, told.decided, told.wake) == (None, None, [], FIRST - 100, FIRST)


def test_what_is_due_runs_once() -> None:
    """Promise: it runs at its second, and having been decided not again, also while the clock trembles."""
    told = decide(HOURLY, FIRST - 100, None, FIRST, busy=False)
    assert (told.run, told.decided, told.wake) == (DUE, FIRST, FIRST + HOUR)
    for now in (FIRST, FIRST - 5, FIRST - HOUR + 1, FIRST + HOUR - 1):
        again = decide(HOURLY, told.decided, None, now, busy=False)
        assert (again.run, again.missed, again.set_back) == (None, [], False)


@pytest.mark.parametrize(("late", "runs"), [(1, True), (HOUR / 2, True), (HOUR / 2 + 1, False)])
def test_a_missed_run_comes_late_by_half_of_the_interval_at_most(late: float, runs: bool) -> None:
    """Promise: after a stop the last one is run, when it is in time; else it is skipped, and that is said."""
    told = decide(HOURLY, FIRST - 1, None, FIRST + late, busy=False)
    assert told.run == (DUE if runs else None)
    assert told.missed == ([] if runs else [Missed(FIRST, FIRST, 1, LATE)])


def test_of_many_that_came_by_the_last_one_runs_and_the_others_are_told() -> None:
    """Promise: after a long stop one backup is made, not a queue of them."""
    told = decide(HOURLY, FIRST - 1, None, FIRST + 10 * HOUR + 5, busy=False)
    assert told.run == Due(FIRST + 10 * HOUR, FIRST + 10.5 * HOUR)
    assert told.missed == [Missed(FIRST, FIRST + 9 * HOUR, 10, PASSED)]
    busy = decide(HOURLY, FIRST - 1, None, FIRST + 10 * HOUR + 5, busy=True)
    assert (busy.run, busy.waiting) == (None, told.run)
    assert busy.missed == [Missed(FIRST, FIRST + 9 * HOUR, 10, OVERTAKEN)]


def test_the_second_waits_for_the_first_or_is_skipped() -> None:
    """Promise: never two at once: it runs as soon as the one before is over, if that is within half of the interval."""
    told = decide(HOURLY, FIRST, None, FIRST + HOUR, busy=True)
    assert (told.run, told.waiting, told.decided, told.wake) == (None, SECOND, SECOND.at, SECOND.until)
    over = decide(HOURLY, told.decided, told.waiting, SECOND.at + 100, busy=False)
    assert (over.run, over.waiting, over.missed) == (SECOND, None, [])
    last = decide(HOURLY, told.decided, told.waiting, SECOND.until, busy=False)
    assert last.run == SECOND
    long = decide(HOURLY, told.decided, told.waiting, SECOND.until + 1, busy=True)
    assert (long.run, long.waiting, long.missed) == (None, None, [Missed(SECOND.at, SECOND.at, 1, BUSY)])
    slept = decide(HOURLY, told.decided, told.waiting, SECOND.until + 1, busy=False)
    assert (slept.run, slept.missed) == (None, [Missed(SECOND.at, SECOND.at, 1, LATE)])


def test_one_that_waits_goes_for_the_next_one() -> None:
    """Promise: at most one waits, the newest; the other one is told."""
    told = decide(HOURLY, SECOND.at, SECOND, SECOND.at + HOUR, busy=True)
    assert told.waiting == Due(SECOND.at + HOUR, SECOND.at + 1.5 * HOUR)
    assert told.missed == [Missed(SECOND.at, SECOND.at, 1, OVERTAKEN)]


def test_a_clock_that_had_been_years_ahead_doesnt_stop_the_schedule() -> None:
    """Promise: set back by more than an interval, schedules go on by the new time; by less, nothing comes twice."""
    wrong = FIRST + 10_000 * HOUR
    told = decide(HOURLY, wrong, None, FIRST + 10, busy=False)
    assert (told.run, told.set_back, told.decided, told.wake) == (None, True, FIRST + 10, FIRST + HOUR)
    assert decide(HOURLY, told.decided, None, FIRST + HOUR, busy=False).run == SECOND


def test_once_runs_up_to_twelve_hours_late() -> None:
    """Promise: the one run of a schedule without an interval comes as late as a daily one; then it is told as lost,
    but for a clock that had been ahead."""
    once = Timetable("2026-01-01", "00:00:00", "UTC", ONCE)
    told = decide(once, FIRST - 1, None, FIRST + 12 * HOUR, busy=False)
    assert (told.run, told.wake) == (Due(FIRST, FIRST + 12 * HOUR), None)
    late = decide(once, FIRST - 1, None, FIRST + 12 * HOUR + 1, busy=False)
    assert (late.run, late.missed) == (None, [Missed(FIRST, FIRST, 1, ONCE_LATE)])
    back = decide(once, late.decided, None, FIRST - 50, busy=False)
    assert decide(once, back.decided, None, FIRST, busy=False).run == Due(FIRST, FIRST + 12 * HOUR)


def test_what_is_missed_in_a_row_is_one_entry_and_the_oldest_go() -> None:
    """Promise: a night of skipped runs is one line; what was run between two of them parts them."""
    one, two = Missed(FIRST, FIRST, 1, LATE), Missed(FIRST + HOUR, FIRST + 2 * HOUR, 2, LATE)
    assert add_missed([one], [two], HOURLY) == [Missed(FIRST, FIRST + 2 * HOUR, 3, LATE)]
    apart = Missed(FIRST + 4 * HOUR, FIRST + 4 * HOUR, 1, LATE)
    assert add_missed([two], [apart], HOURLY) == [apart, two]
    other = Missed(FIRST + HOUR, FIRST + HOUR, 1, BUSY)
    assert add_missed([one], [other], HOURLY) == [other, one]
    many = [Missed(FIRST + 2 * n * HOUR, FIRST + 2 * n * HOUR, 1, LATE) for n in range(MOST_MISSED + 5)]
    assert add_missed([], many, HOURLY) == many[:4:-1]


def test_ids_of_requests_say_what_they_are_for() -> None:
    """Promise: the same occurrence, and the same attempt, has the same request whoever makes it; others have others."""
    schedule = str(uuid.UUID(int=7))
    ids = {request_of(schedule, FIRST), request_of(schedule, FIRST + 1), request_of(str(uuid.UUID(int=8)), FIRST)}
    run = request_of(schedule, FIRST)
    assert run in ids
    assert len(ids | {retry_of(run, 1), retry_of(run, 2)}) == 5
