"""When a schedule is due, over changes of the clocks."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.model.schedules import ONCE, Timetable
from coordinator.schedule.occurrences import count_until, next_after, next_date, nth, shown

YEAR = 366 * 86_400
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC"]


def at(text: str) -> float:
    """Unix seconds of an ISO time with its distance from UTC."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("zone", "day", "time", "expected"),
    [
        ("Europe/Berlin", "2026-03-29", "01:59:59", "2026-03-29T01:59:59+01:00"),
        ("Europe/Berlin", "2026-03-29", "02:00:00", "2026-03-29T03:00:00+02:00"),
        ("Europe/Berlin", "2026-03-29", "02:59:59", "2026-03-29T03:00:00+02:00"),
        ("Europe/Berlin", "2026-03-29", "03:00:00", "2026-03-29T03:00:00+02:00"),
        ("Europe/Berlin", "2026-10-25", "02:30:00", "2026-10-25T02:30:00+02:00"),
        ("America/New_York", "2026-03-08", "02:30:00", "2026-03-08T03:00:00-04:00"),
        ("America/New_York", "2026-11-01", "01:30:00", "2026-11-01T01:30:00-04:00"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15:00", "2026-10-04T02:30:00+11:00"),
        ("Australia/Lord_Howe", "2026-04-05", "01:45:00", "2026-04-05T01:45:00+11:00"),
        ("Pacific/Apia", "2011-12-30", "10:00:00", "2011-12-31T00:00:00+14:00"),
    ],
)
def test_a_time_that_is_left_out_comes_after_the_gap_and_a_double_one_the_first_time(
    zone: str, day: str, time: str, expected: str
) -> None:
    """Promise: a backup at half past two comes in the night in which the clocks go forward too, and once in that in
    which they go back; also where they go by half an hour, or leave out a day."""
    timetable = Timetable(day, time, zone, 1, "days")
    assert shown(nth(timetable, 0), zone) == expected


def test_days_and_weeks_keep_the_clock_and_hours_and_minutes_count() -> None:
    """Promise: «every day at noon» is at noon in summer and in winter; «every 12 hours» is 12 hours later."""
    noon = ("2026-03-22", "12:00:00", "Europe/Berlin")
    for weekly in (Timetable(*noon, 7, "days"), Timetable(*noon, 1, "weeks")):
        assert shown(nth(weekly, 1), "Europe/Berlin") == "2026-03-29T12:00:00+02:00"
    half_days = Timetable("2026-03-28", "20:00:00", "Europe/Berlin", 12, "hours")
    assert shown(nth(half_days, 1), "Europe/Berlin") == "2026-03-29T09:00:00+02:00"
    quarters = Timetable("2026-10-25", "02:45:00", "Europe/Berlin", 15, "minutes")
    assert shown(nth(quarters, 1), "Europe/Berlin") == "2026-10-25T02:00:00+01:00"


def test_once_comes_once() -> None:
    """Promise: interval -1 has one occurrence, and then no next one."""
    once = Timetable("2026-05-01", "06:00:00", "UTC", ONCE)
    due = at("2026-05-01T06:00:00+00:00")
    assert (next_after(once, due - 1), next_after(once, due)) == (due, None)
    assert (count_until(once, due - 1), count_until(once, due + YEAR)) == (0, 1)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-03-28T12:00:00+01:00", "2026-03-29"),
        ("2026-03-29T02:59:59+02:00", "2026-03-29"),
        ("2026-03-29T03:00:00+02:00", "2026-03-30"),
        ("2026-03-29T01:30:00+01:00", "2026-03-29"),
    ],
)
def test_a_first_date_that_is_left_out_is_the_next_one(now: str, day: str) -> None:
    """Promise: who gives only a time means the next time that the clocks show it, be it after a gap."""
    assert next_date("02:30:00", "Europe/Berlin", at(now)) == day


TIMETABLES = st.builds(
    Timetable,
    st.dates(date(2024, 1, 1), date(2027, 12, 31)).map(str),
    st.times().map(lambda time: time.strftime("%H:%M:%S")),
    st.sampled_from(ZONES),
    st.integers(1, 60),
    st.sampled_from(["minutes", "hours", "days", "weeks"]),
)


@given(TIMETABLES, st.integers(-YEAR, 3 * YEAR))
@settings(max_examples=300, deadline=None)
def test_numbers_and_times_agree(timetable: Timetable, since_first: int) -> None:
    """Promise: the next occurrence after a moment is the first one later than it, each is later than the one before,
    and as many are counted as there are."""
    moment = nth(timetable, 0) + since_first
    number = count_until(timetable, moment)
    following = next_after(timetable, moment)
    assert following == nth(timetable, number)
    assert following > moment
    if number:
        former = nth(timetable, number - 1)
        assert former <= moment
        assert next_after(timetable, former) == following
        assert next_after(timetable, former - 1) == former


@given(TIMETABLES, st.integers(0, 800))
@settings(max_examples=300, deadline=None)
def test_days_show_their_time_wherever_the_clocks_do(timetable: Timetable, number: int) -> None:
    """Promise: but for gaps, every occurrence by days shows the wanted time on the wanted day."""
    if timetable.unit not in ("days", "weeks"):
        return
    moment = nth(timetable, number)
    local = datetime.fromtimestamp(moment, ZoneInfo(timetable.zone))
    assert local.fold == 0
    if local.strftime("%H:%M:%S") != timetable.time:
        before = datetime.fromtimestamp(moment - 1, ZoneInfo(timetable.zone))
        assert before.utcoffset() != local.utcoffset()
        assert before.strftime("%H:%M:%S") < timetable.time < local.strftime("%H:%M:%S")
