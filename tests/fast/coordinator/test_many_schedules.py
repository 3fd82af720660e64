"""A cluster has no more job schedules than a look can follow, and each begins by the right clock."""

import uuid

import msgspec

from coordinator.model.requests import RequestKind
from coordinator.model.schedules import BackupJob, Schedule, Timetable
from coordinator.opscenter.job_schedules import MOST_SCHEDULES
from coordinator.orchestrate.schedules.schedules import JobSchedules
from coordinator.store.sqlite import SqliteStore
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client
from tests.fast.coordinator.test_job_schedules import AT, CLUSTER, DAILY, JOB, NOON, added, looked


async def test_a_schedule_of_a_clock_that_was_ahead_runs_by_the_right_one(
    store: SqliteStore, cluster: ClusterInMemory
) -> None:
    """Promise: what was made three hours ahead misses nothing once the clock is right, and nothing comes twice."""
    schedules = JobSchedules(store, cluster, [CLUSTER], lambda: cluster.clock)
    timetable = Timetable("2017-03-18", "12:00:00", "UTC", 1, "days")
    name = str(uuid.UUID(int=1))
    await schedules.add(Schedule(name, CLUSTER, 1, timetable, BackupJob(), {}, decided=NOON + 3_600.0))
    for at in (NOON - 7_200, NOON + 1, NOON - 60, NOON + 2, NOON + 3_700):
        await looked(schedules, cluster, at)
    [request] = await store.requests.find(kind=RequestKind.BACKUP)
    assert request.started == NOON + 1


async def test_one_schedule_too_many_is_refused(client: Client, store: SqliteStore) -> None:
    """Promise: nobody fills the coordinator's looks with schedules; when one is deleted there is room again."""
    first = await added(client)
    [known] = await store.schedules.of(CLUSTER)
    for number in range(2, MOST_SCHEDULES + 1):
        await store.schedules.put(msgspec.structs.replace(known, id=f"s{number}"))
    status, told = await client.ask("POST", AT, json={**DAILY, "job_params": JOB})
    assert (status, told["code"]) == (409, "too_many_schedules")
    assert len(await store.schedules.of(CLUSTER)) == MOST_SCHEDULES
    await client.ask("DELETE", f"{AT}/{first}")
    await added(client)
