"""When a schedule is due. In: its timetable. Out: occurrences by number and by time, as whole unix seconds. Pure.

Minutes and hours are elapsed time from the first occurrence on. Days and weeks keep the clock's time in their zone: one
that a change of the clocks leaves out comes at the first moment after the gap, one that comes twice counts the first
time.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from coordinator.model.schedules import Timetable

DAYS = {"days": 1, "weeks": 7}


def instant_of(day: date, at: time, zone: ZoneInfo) -> int:
    """When a zone's clocks show that time of that day."""
    local = datetime.combine(day, at)
    early = int(local.replace(tzinfo=zone, fold=0).timestamp())
    if datetime.fromtimestamp(early, zone).replace(tzinfo=None, fold=0) == local:
        return early
    # In a gap: with the offset of before it the time comes out after it, with that of after it before it.
    before, after = int(local.replace(tzinfo=zone, fold=1).timestamp()), early
    new = datetime.fromtimestamp(after, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == new:
            after = middle
        else:
            before = middle
    return after


def nth(timetable: Timetable, number: int) -> int:
    """The occurrence of that number, counted from 0."""
    day, at, zone = date.fromisoformat(timetable.date), time.fromisoformat(timetable.time), ZoneInfo(timetable.zone)
    if timetable.unit in DAYS:
        return instant_of(day + timedelta(days=number * timetable.interval * DAYS[timetable.unit]), at, zone)
    return instant_of(day, at, zone) + number * (timetable.seconds or 0)


def count_until(timetable: Timetable, moment: float) -> int:
    """How many occurrences there are up to a moment, that one included."""
    first = nth(timetable, 0)
    if moment < first:
        return 0
    if timetable.seconds is None:
        return 1
    if timetable.unit not in DAYS:
        return int((moment - first) // timetable.seconds) + 1
    shown = datetime.fromtimestamp(moment, ZoneInfo(timetable.zone)).date()
    number = (shown - date.fromisoformat(timetable.date)).days // (timetable.interval * DAYS[timetable.unit]) + 1
    while nth(timetable, number) > moment:
        number -= 1
    return number + 1


def next_after(timetable: Timetable, moment: float) -> int | None:
    """The first occurrence after a moment; None = there is none any more."""
    number = count_until(timetable, moment)
    return None if number and timetable.seconds is None else nth(timetable, number)


def next_date(at: str, zone: str, moment: float) -> str:
    """The day (YYYY-MM-DD) on which a zone's clocks show that time of day (hh:mm:ss) next after a moment."""
    place, of_day = ZoneInfo(zone), time.fromisoformat(at)
    day = datetime.fromtimestamp(moment, place).date()
    while instant_of(day, of_day, place) <= moment:
        day += timedelta(days=1)
    return day.isoformat()


def shown(moment: float, zone: str) -> str:
    """A moment for people and programs: ISO 8601 by the zone's clocks, with their distance from UTC."""
    return datetime.fromtimestamp(int(moment), UTC).astimezone(ZoneInfo(zone)).isoformat()
