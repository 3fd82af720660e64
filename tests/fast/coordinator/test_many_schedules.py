"""A cluster has no more job schedules than a look can follow, and each begins by the right clock."""

import uuid

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from coordinator.model.requests import RequestKind
from coordinator.model.schedules import BackupJob, Schedule, Timetable
from coordinator.opscenter.job_schedules import MOST_SCHEDULES
from coordinator.opscenter.measures import Measures
from coordinator.orchestrate.schedules.schedules import JobSchedules
from coordinator.store.sqlite import SqliteStore
from kit.metrics import ProcessMetrics
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client, api_of
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


async def test_each_schedules_last_success_is_a_metric(store: SqliteStore, cluster: ClusterInMemory) -> None:
    """Promise: whoever watches Prometheus sees when a schedule last came to a whole backup, and 0 before; of a schedule
    that was deleted nothing is left."""
    timetable = Timetable("2017-03-18", "12:00:00", "UTC", 1, "days")
    for name, ended in (("one", 0.0), ("two", 1_489_000_000.0)):
        await store.schedules.put(Schedule(name, CLUSTER, 1, timetable, BackupJob(), {}, 0.0, succeeded=ended))
    metrics = ProcessMetrics("coordinator", "0")
    app = web.Application()
    for method, path, endpoint in Measures(api_of(store, cluster), metrics, "0").routes():
        app.router.add_route(method, path, endpoint)
    async with TestClient(TestServer(app)) as client:
        name = 'helenus_schedule_last_success_timestamp_seconds{cluster="Test_Cluster",schedule='
        told = await (await client.get("/metrics")).text()
        assert f'{name}"one"}} 0.0' in told
        assert f'{name}"two"}} 1.489e+09' in told
        await store.schedules.remove(CLUSTER, "two")
        assert f'{name}"two"' not in await (await client.get("/metrics")).text()
