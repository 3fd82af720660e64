"""Scheduled backups that did not happen are told of, once, whatever life of the coordinator finds it."""

import msgspec

from coordinator.model.notices import BAD, TYPES
from coordinator.model.orders import Copy
from coordinator.model.schedules import BackupJob, Due, Missed, Schedule, ScheduledRun, Timetable
from coordinator.notices.happenings import of_schedule
from coordinator.store.sqlite import SqliteStore
from tests.fast.notices.given import NOW
from tests.fast.notices.test_filler import Site

JOB = BackupJob(copies=[Copy("there")])
AT = int(NOW)
DAILY = Timetable("2017-03-17", "15:00:00", "UTC", 1, "days")
RUN = ScheduledRun(Due(AT, NOW + 100), "r9", JOB.order("tag", AT, "s1"), NOW)
SCHEDULE = Schedule("s1", "main", 1, DAILY, JOB, {}, decided=NOW, run=RUN)


def changed(**changes: object) -> Schedule:
    """Its next version."""
    return msgspec.structs.replace(SCHEDULE, version=2, **changes)


def test_a_run_without_a_request_is_a_failed_backup() -> None:
    """Promise: who hears of failed backups hears why a scheduled one could not begin, under the id that its request's
    failure would have; while it may still begin nothing is told."""
    assert of_schedule(SCHEDULE) == []
    waits = msgspec.structs.replace(RUN, message="n3 is missing")
    assert of_schedule(changed(run=waits)) == []
    [told] = of_schedule(changed(run=msgspec.structs.replace(waits, state="refused", given_up=NOW + 100)))
    assert (told.type, told.at, told.tag) == ("backup.failed", NOW + 100, "tag")
    assert told.destinations == ["OPSC_ON_SERVER", "there"]
    assert "n3 is missing" in told.message
    assert told.fields == {"schedule": "s1", "due": AT}


def test_what_was_skipped_is_one_happening_for_each_reason() -> None:
    """Promise: each span has its own id, which stays while the span grows."""
    missed = [Missed(AT, AT + 86_400, 2, "it was off", NOW), Missed(AT, AT, 1, "it was busy", NOW)]
    one, other = of_schedule(changed(missed=missed))
    assert {one.type, other.type} == {"backup.missed"}
    assert {one.type, other.type} <= TYPES & BAD
    assert one.id != other.id
    assert (one.fields["count"], "2 scheduled backups were skipped: it was off") == (2, one.message)
    [grown] = of_schedule(changed(missed=[msgspec.structs.replace(missed[0], count=3)]))
    assert grown.id == one.id


async def test_a_look_finds_them_once_over_a_restart(store: SqliteStore) -> None:
    """Promise: a hook is told of each once, also by the life after, and not of what was long ago."""
    site = Site(store)
    await store.schedules.put(SCHEDULE)
    await site.filler.look()
    assert await site.told() == []
    refused = msgspec.structs.replace(RUN, state="refused", message="n3 is missing", given_up=NOW)
    missed = [Missed(AT, AT, 1, "it was busy", NOW), Missed(5, 5, 1, "it was off", 10.0)]
    await store.schedules.put(changed(run=refused, missed=missed))
    for _ in range(2):
        await site.filler.look()
        await site.live().look()
    assert sorted(await site.told()) == ["backup.failed", "backup.missed"]
    assert sorted(await site.told("ends")) == ["backup.failed", "backup.missed"]
