"""Two years of schedules in three zones, with stops, sleeps, deaths and clocks that are set, judged by an oracle that
knows none of the code: each occurrence is run once or said to be skipped, and never two run at once."""

import uuid
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from coordinator.model.schedules import BackupJob, Schedule, Timetable
from coordinator.orchestrate.schedules.runs import STARTING
from tests.fast.coordinator.schedule.world import CLUSTER, HOUR, World

START = 1_767_225_600  # 2026-01-01 in UTC
TWO_YEARS = 731 * 24 * HOUR
MARGIN = 14 * 24 * HOUR
HALF_AN_HOUR = 1_800


def by_the_clock(timetable: Timetable, until: float) -> list[int]:
    """Occurrences by days or weeks: the first moments at which the zone's clocks show the wanted time or a later one.
    Every change of these zones' clocks is at a full half hour of UTC."""
    zone = ZoneInfo(timetable.zone)
    step = timedelta(days=timetable.interval * (7 if timetable.unit == "weeks" else 1))
    wanted = datetime.fromisoformat(f"{timetable.date}T{timetable.time}")
    found = []
    for moment in range(START - 48 * 3_600, int(until), HALF_AN_HOUR):
        if datetime.fromtimestamp(moment, zone).replace(tzinfo=None) >= wanted:
            found.append(moment)
            wanted += step
    return found


def by_the_hour(timetable: Timetable, until: float) -> list[int]:
    """Occurrences by elapsed time; the first one is on a day on which no clock changes."""
    first = datetime.fromisoformat(f"{timetable.date}T{timetable.time}").replace(tzinfo=ZoneInfo(timetable.zone))
    return list(range(int(first.timestamp()), int(until), timetable.interval * 3_600))


ZONES = [("Europe/Berlin", "02:30:00"), ("America/New_York", "02:00:00"), ("Australia/Lord_Howe", "02:00:00")]
"""Each with a time that a night of spring leaves out."""


@pytest.mark.parametrize(("zone", "time"), ZONES)
@pytest.mark.parametrize(("worst", "longest"), [(6.0, 30.0), (24.0 * 30, 30.0)], ids=["hours", "months"])
@pytest.mark.timeout(300)
async def test_each_occurrence_runs_once_or_is_said_to_be_skipped(
    tmp_path: Path, zone: str, time: str, worst: float, longest: float
) -> None:
    """Promise: over two years with all that can happen to a coordinator, no occurrence is run twice, none is lost in
    silence, none is given up while nodes that are down may come back in time, none is both run and told as skipped or
    refused (but where a clock was ahead by more than an interval and was set back), no two of a schedule run at once,
    and none is late by more than half of its interval."""
    intervals = {
        str(uuid.UUID(int=1)): Timetable("2026-01-01", time, zone, 1, "days"),
        str(uuid.UUID(int=2)): Timetable("2026-01-04", time, zone, 1, "weeks"),
        str(uuid.UUID(int=3)): Timetable("2026-01-02", "10:00:00", zone, 36, "hours"),
    }
    async with World(tmp_path, START, seed=len(zone) + int(longest)) as world:
        world.worst, world.longest = worst, longest
        for name, timetable in intervals.items():
            schedule = Schedule(name, CLUSTER, 1, timetable, BackupJob(), {}, decided=START)
            await world.schedules.add(schedule)
        await world.live(START + TWO_YEARS)
        world.set_clock(max(0.0, world.ahead))
        await world.live(world.now + MARGIN)
        begun = await world.made()
        ends = await world.schedules.all(CLUSTER)
    undecided = {(each.id, each.waiting.at) for each in ends if each.waiting}
    undecided |= {(each.id, each.run.due.at) for each in ends if each.run is not None and each.run.state == STARTING}
    assert world.wrong == []
    reasons, late, both, passed_by, given_up = set(), 0, 0, 0, 0
    for name, timetable in intervals.items():
        oracle = by_the_hour if timetable.unit == "hours" else by_the_clock
        occurrences = oracle(timetable, world.furthest + MARGIN)
        request_of = {str(uuid.uuid5(uuid.UUID(name), f"occurrence {one}")): one for one in occurrences}
        half = {"days": 12.0, "weeks": 84.0, "hours": 18.0}[str(timetable.unit)] * HOUR
        ran = {request_of[made.request]: made.at for made in begun if made.schedule == name}
        refused = {request_of[request]: at for request, at in world.refused.items() if request in request_of}
        # A refusal that passes uses nothing up: it is given up when it is too late, and never both.
        if world.set_back <= half * 2:
            assert refused.keys() & ran.keys() == set()
        assert all(at - one > half for one, at in refused.items())
        passed_by += sum(request in world.turned_down for request, one in request_of.items() if one in ran)
        given_up += len(refused)
        skipped: set[int] = set()
        for (first, last), (count, why) in world.skipped[name].items():
            span = occurrences[bisect_left(occurrences, first) : bisect_right(occurrences, last)]
            assert (span[0], span[-1], len(span)) == (first, last, count)
            skipped |= {*span}
            reasons.add(why)
        # What waits for the run before it or for a node when the world ends has neither begun nor been skipped.
        passed = [one for one in occurrences if START < one <= world.wall() and (name, one) not in undecided]
        assert [one for one in passed if one not in ran and one not in skipped and one not in refused] == []
        twice = ran.keys() & skipped
        both += len(twice)
        if world.set_back <= half * 2:
            assert twice == set()
        assert all(at - one <= half for one, at in ran.items())
        late += sum(at - one > HOUR for one, at in ran.items())
        assert len(ran) > len(passed) / 3
    # Nothing is proved by a world in which nothing happened.
    assert world.deaths > 50
    assert late > 20
    assert world.waited > 5
    assert passed_by > 10
    assert given_up > 2
    assert len(reasons) >= 3, reasons
    assert (both > 0) == (world.set_back > 14 * 24 * HOUR)
