"""Job schedules over the API: made, seen, changed and forgotten; what is wrong is refused by its name."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import RequestKind, RequestState
from coordinator.orchestrate.schedules.schedules import JobSchedules
from coordinator.store.sqlite import SqliteStore
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import NOW, Client

CLUSTER = "Test_Cluster"
C = f"/{CLUSTER}"
AT = f"{C}/job-schedules"
DAY = 86_400
NOON = int(datetime(2017, 3, 18, 12, tzinfo=UTC).timestamp())
DAILY = {
    "first_run_date": "2017-03-18",
    "first_run_time": "12:00:00",
    "timezone": "UTC",
    "interval": 1,
    "interval_unit": "days",
}
JOB: dict[str, Any] = {"type": "backup", "keyspaces": ["shop"]}


async def place(client: Client, **options: Any) -> str:
    """The id of a new destination."""
    settings = {"provider": "local", "path": "/backups", **options}
    return str((await client.post(f"{C}/backups/destinations", settings))["destination_id"]["id"])


async def added(client: Client, **changes: Any) -> str:
    """The id of a new schedule."""
    status, told = await client.ask("POST", AT, json={**DAILY, "job_params": JOB, **changes})
    assert status == 201, told
    return str(told)


async def looked(schedules: JobSchedules, cluster: ClusterInMemory, at: float) -> None:
    """A look of the coordinator at that time."""
    cluster.clock = int(at)
    await schedules.look()
    await schedules.begun()


@pytest.fixture
def schedules(store: SqliteStore, cluster: ClusterInMemory) -> JobSchedules:
    """Another pair of eyes on the same state."""
    return JobSchedules(store, cluster, [CLUSTER], lambda: cluster.clock)


async def test_a_schedule_is_made_and_seen(client: Client) -> None:
    """Promise: POST answers 201 and a bare id; GET lists schedules as OpsCenter does, with the next run and what ours
    tells beside it."""
    there = await place(client)
    job = {**JOB, "destinations": {there: {"throttle": 2}}, "cleanup_age": 30, "cleanup_age_unit": "days"}
    schedule = await added(client, timezone="Europe/Berlin", job_params=job)
    assert schedule == str(uuid.UUID(schedule))
    shown = {
        "id": schedule,
        **DAILY,
        "timezone": "Europe/Berlin",
        "job_params": job,
        "next_run": "2017-03-18T12:00:00+01:00",
        "last_run": None,
        "last_status": None,
        "last_message": "",
        "last_request_id": None,
        "waiting": None,
        "missed_runs": [],
        "retries": [],
    }
    assert await client.get(AT) == [shown]
    assert await client.get(f"{AT}/{schedule}/") == shown
    rules = (await client.get(f"{C}/retention"))["rules"]
    assert [(rule["destination"], rule["id"], rule["cleanup_age"]) for rule in rules] == [(there, schedule, 30)]


async def test_only_a_time_means_the_next_one_in_utc(client: Client) -> None:
    """Promise: a date that is left out is filled in; so is the zone, with UTC."""
    body = {"first_run_time": "15:06:09", "interval": -1, "interval_unit": None, "job_params": JOB}
    status, schedule = await client.ask("POST", AT, json=body)
    assert status == 201
    told = await client.get(f"{AT}/{schedule}")
    assert (told["first_run_date"], told["timezone"]) == ("2017-03-18", "UTC")
    assert (told["next_run"], told["interval"], told["interval_unit"]) == ("2017-03-18T15:06:09+00:00", -1, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"first_run_date": "18.3.2017"}, "first_run_date"),
        ({"first_run_date": "2017-02-29"}, "first_run_date"),
        ({"first_run_date": "0001-01-01"}, "first_run_date"),
        ({"first_run_date": ""}, "first_run_date"),
        ({"first_run_date": "2017-03-17", "interval": -1, "interval_unit": None}, "first_run_date"),
        ({"first_run_time": None}, "first_run_time"),
        ({"first_run_time": "24:00:00"}, "first_run_time"),
        ({"first_run_time": "12:00"}, "first_run_time"),
        ({"first_run_time": 12}, "first_run_time"),
        ({"timezone": "Europe/Nowhere"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "Europe"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
        ({"timezone": "right/UTC"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"interval": None}, "interval"),
        ({"interval": 0}, "interval"),
        ({"interval": -2}, "interval"),
        ({"interval": 1.5}, "interval"),
        ({"interval": 5_000}, "interval"),
        ({"interval_unit": None}, "interval_unit"),
        ({"interval_unit": "months"}, "interval_unit"),
        ({"interval_unit": ["days"]}, "interval_unit"),
        ({"interval": -1}, "interval_unit"),
        ({"id": "mine"}, "id"),
        ({"run_now": True}, "run_now"),
        ({"job_params": None}, "job_params"),
        ({"job_params": []}, "job_params"),
        ({"job_params": {"keyspaces": ["shop"]}}, "job_params.type"),
        ({"job_params": {"type": "best-practice"}}, "job_params.type"),
        ({"job_params": {"type": "backup", "keyspaces": 5}}, "job_params.keyspaces"),
        ({"job_params": {"type": "backup", "keyspaces": ["a.b"]}}, "job_params.keyspaces"),
        ({"job_params": {"type": "backup", "destinations": {"": {}}}}, "job_params.destinations"),
        ({"job_params": {"type": "backup", "destinations": {"x": {"pace": 1}}}}, "job_params.destinations.x.pace"),
        ({"job_params": {"type": "backup", "cleanup_age": -1}}, "job_params.cleanup_age"),
        ({"job_params": {**JOB, "cleanup_age_unit": ["days"]}}, "job_params.cleanup_age_unit"),
        ({"job_params": {"type": "backup", "pre_snapshot_script": "../x"}}, "job_params.pre_snapshot_script"),
        ({"job_params": {"type": "backup", "post_snapshot_script": "a b"}}, "job_params.post_snapshot_script"),
        ({"job_params": {"type": "backup", "alert_on_failure": ["ada"]}}, "job_params.alert_on_failure"),
        (
            {"job_params": {"type": "backup", "destinations": {"x": {"alert_on_failure": True}}}},
            "job_params.destinations.x.alert_on_failure",
        ),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_kept(client: Client, changes: dict[str, Any], field: str) -> None:
    """Promise: a schedule that can't be meant is refused by its field, when it is made and when it is changed."""
    status, told = await client.ask("POST", AT, json={**DAILY, "job_params": JOB, **changes})
    assert (status, told["type"], told["fields"]["field"]) == (400, "InvalidArguments", field)
    assert await client.get(AT) == []
    if None not in changes.values() and changes != {"interval": -1}:  # a PUT of that alone means once, and no unit
        schedule = await added(client)
        before = await client.get(f"{AT}/{schedule}")
        status, told = await client.ask("PUT", f"{AT}/{schedule}", json=changes)
        assert (status, told["fields"]["field"]) == (400, field)
        assert await client.get(f"{AT}/{schedule}") == before


async def test_destinations_of_a_job_must_be_there_to_stay(client: Client) -> None:
    """Promise: a schedule never names a place that is unknown, nor one that is forgotten after its first backup."""
    once = await place(client, delete_this=True)
    for there, wanted in ((once, (400, "job_params.destinations")), ("nobody", (404, None))):
        job = {**JOB, "destinations": [there]}
        status, told = await client.ask("POST", AT, json={**DAILY, "job_params": job})
        assert (status, told["fields"].get("field")) == wanted


async def test_what_is_due_is_ordered_as_a_run_is(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, schedules: JobSchedules
) -> None:
    """Promise: the backup that a schedule makes is the one that the same options of POST backups/run make, but for its
    tag and id; its end is told, and listings find it by match."""
    there = await place(client)
    options = {
        "keyspaces": {"shop": ["users"]},
        "destinations": {there: {"throttle": 1}, ON_SERVER: {}},
        "force": True,
        "pre_snapshot_script": "freeze.sh",
        "post_snapshot_script": "thaw.sh",
        "alert_on_failure": True,
    }
    await client.post(f"{C}/backups/run", {**options, "throttle": 3})
    schedule = await added(client, job_params={"type": "backup", **options, "throttle": 3})
    await looked(schedules, cluster, NOON - 1)
    assert (await client.get(f"{AT}/{schedule}"))["last_run"] is None
    await looked(schedules, cluster, NOON)
    _, by_hand, scheduled = cluster.orders
    tag = f"opscenter_{schedule}_2017-03-18-12-00-00-UTC"
    assert isinstance(by_hand, BackupOrder)
    assert scheduled == BackupOrder(
        tag,
        NOON,
        schedule,
        by_hand.keyspaces,
        by_hand.keep,
        [Copy(there, 1_000_000)],
        by_hand.throttle_bytes_per_second,
        by_hand.partial,
        "freeze.sh",
        "thaw.sh",
    )
    told = await client.get(f"{AT}/{schedule}")
    request = told["last_request_id"]
    assert (told["last_status"], told["last_run"]) == ("running", "2017-03-18T12:00:00+00:00")
    assert told["next_run"] == "2017-03-19T12:00:00+00:00"
    status = await client.get(f"/request/{request}/status")
    assert (status["tag"], status["asked_by"]) == (tag, "schedule")
    await cluster.end(request)
    await looked(schedules, cluster, NOON + 60)
    assert (await client.get(f"{AT}/{schedule}"))["last_status"] == "success"
    assert len(cluster.orders) == 3


async def test_a_run_that_is_refused_is_told(client: Client, cluster: ClusterInMemory, schedules: JobSchedules) -> None:
    """Promise: what keeps a scheduled backup from beginning stands in its last status, in the words of a run."""
    cluster.tables["gone"] = ["t"]
    schedule = await added(client, job_params={"type": "backup", "keyspaces": ["gone"]})
    del cluster.tables["gone"]
    await looked(schedules, cluster, NOON + 5)
    told = await client.get(f"{AT}/{schedule}")
    assert (told["last_status"], told["last_request_id"]) == ("refused", None)
    assert "gone" in told["last_message"]
    assert told["next_run"] == "2017-03-19T12:00:00+00:00"
    [known] = await schedules.all(CLUSTER)
    assert known.run is not None
    assert (known.run.given_up, known.succeeded) == (NOON + 5, 0.0)


async def test_the_last_success_is_kept_while_later_runs_fail(
    client: Client, cluster: ClusterInMemory, schedules: JobSchedules
) -> None:
    """Promise: what a metric tells is when a whole backup ended last, whatever came after it."""
    await added(client)
    for day, state in enumerate([RequestState.SUCCESS, RequestState.ERROR]):
        await looked(schedules, cluster, NOON + day * DAY)
        [known] = await schedules.all(CLUSTER)
        assert known.run is not None
        await cluster.end(known.run.request, state)
        await looked(schedules, cluster, NOON + day * DAY + 60)
    [known] = await schedules.all(CLUSTER)
    assert (known.run is not None and known.run.state, known.succeeded) == ("error", NOON + 60)


async def test_what_is_missed_and_what_waits_is_told(
    client: Client, cluster: ClusterInMemory, schedules: JobSchedules
) -> None:
    """Promise: who looks at a schedule sees which runs there were not, and why, and that one waits for another."""
    schedule = await added(client)
    await looked(schedules, cluster, NOON + 3 * DAY + 60)
    await looked(schedules, cluster, NOON + 4 * DAY + 60)
    told = await client.get(f"{AT}/{schedule}")
    assert told["missed_runs"] == [
        {
            "first": "2017-03-18T12:00:00+00:00",
            "last": "2017-03-20T12:00:00+00:00",
            "count": 3,
            "why": "the coordinator did not run, or its clock was set, and a later one came by too",
        }
    ]
    assert (told["last_status"], told["waiting"]) == ("running", "2017-03-22T12:00:00+00:00")
    await cluster.end(told["last_request_id"])
    await looked(schedules, cluster, NOON + 4 * DAY + 120)
    after = await client.get(f"{AT}/{schedule}")
    assert (after["waiting"], after["last_run"]) == (None, "2017-03-22T12:02:00+00:00")
    assert after["last_request_id"] != told["last_request_id"]


async def test_a_change_is_of_the_runs_that_follow(
    client: Client, cluster: ClusterInMemory, schedules: JobSchedules
) -> None:
    """Promise: what isn't sent stays, whoever got a schedule may send it back, and a job's rules of retention are those
    that it names and no others."""
    there = await place(client)
    schedule = await added(client, job_params={**JOB, "destinations": [there], "cleanup_age": 3})
    assert await client.ask("PUT", f"{AT}/{schedule}", json=await client.get(f"{AT}/{schedule}")) == (200, schedule)
    body = {"first_run_time": "13:30:00", "interval": 2}
    assert await client.ask("PUT", f"{AT}/{schedule}/", json=body) == (200, schedule)
    told = await client.get(f"{AT}/{schedule}")
    assert (told["next_run"], told["interval_unit"]) == ("2017-03-18T13:30:00+00:00", "days")
    assert told["job_params"]["cleanup_age"] == 3
    assert len((await client.get(f"{C}/retention"))["rules"]) == 1
    await client.ask("PUT", f"{AT}/{schedule}", json={"job_params": {"type": "backup"}})
    assert [rule["cleanup_age"] for rule in (await client.get(f"{C}/retention"))["rules"]] == [0]
    await looked(schedules, cluster, NOON + 5_400)
    assert isinstance(cluster.orders[-1], BackupOrder)
    assert (cluster.orders[-1].keyspaces, cluster.orders[-1].copies) == (None, [])
    status, _ = await client.ask("PUT", f"{AT}/{schedule}", json={"interval": -1, "first_run_date": "2017-06-01"})
    assert status == 200
    assert (await client.get(f"{AT}/{schedule}"))["next_run"] == "2017-06-01T13:30:00+00:00"


@pytest.mark.parametrize("late", [0, 3_600])
async def test_a_change_neither_loses_nor_doubles_what_is_due(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, schedules: JobSchedules, late: int
) -> None:
    """Promise: a PUT at the very time of a run: the run comes once, whoever of the two was first; one that waits for
    the run before it goes on waiting."""
    schedule = await added(client)
    cluster.clock = NOON + late
    await client.ask("PUT", f"{AT}/{schedule}", json={"first_run_time": "12:00:01", "interval_unit": "weeks"})
    for seconds in range(0, 10, 2):
        await looked(schedules, cluster, NOON + late + seconds)
    requests = await store.requests.find(kind=RequestKind.BACKUP)
    tags = [request.tag for request in requests]
    assert len(tags) == 1
    await looked(schedules, cluster, NOON + 7 * DAY + 1)
    assert (await client.get(f"{AT}/{schedule}"))["waiting"] == "2017-03-25T12:00:01+00:00"
    await client.ask("PUT", f"{AT}/{schedule}", json={"first_run_time": "18:00:00"})
    await cluster.end(requests[0].id)
    await looked(schedules, cluster, NOON + 7 * DAY + 60)
    assert len(await store.requests.find(kind=RequestKind.BACKUP)) == 2


async def test_a_schedule_that_is_deleted_leaves_its_run_alone(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, schedules: JobSchedules
) -> None:
    """Promise: the run that is under way goes on; there is no next one, and no rule lets its backups go."""
    schedule = await added(client, job_params={**JOB, "cleanup_age": 3})
    await looked(schedules, cluster, NOON)
    assert await client.ask("DELETE", f"{AT}/{schedule}") == (200, schedule)
    assert (await client.ask("DELETE", f"{AT}/{schedule}"))[0] == 404
    await looked(schedules, cluster, NOON + DAY)
    [request] = await store.requests.find(kind=RequestKind.BACKUP)
    assert (request.state, request.cancel) == (RequestState.RUNNING, "")
    assert await client.get(AT) == []
    assert [rule["cleanup_age"] for rule in (await client.get(f"{C}/retention"))["rules"]] == [0]


async def test_a_schedule_that_is_deleted_as_its_run_begins_makes_none(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, schedules: JobSchedules
) -> None:
    """Promise: whoever deleted a schedule finds no backup of it that began afterwards."""
    schedule = await added(client)
    cluster.clock = NOON
    decided, _ = await schedules._looked_at(await schedules.get(CLUSTER, schedule), NOON)
    await store.schedules.put(msgspec.structs.replace(decided, version=2))
    await store.schedules.remove(CLUSTER, schedule)
    assert decided.run is not None
    await schedules._begin_run(decided, decided.run)
    assert await store.requests.find(kind=RequestKind.BACKUP) == []


async def test_a_start_that_was_cut_off_goes_on_while_it_is_in_time(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, schedules: JobSchedules
) -> None:
    """Promise: decided and then killed, the run begins in the next life, once and under the same id and tag; when half
    of the interval is over by then, it is told as missed."""
    for minutes, begins in ((60, True), (13 * 60, False)):
        schedule = await added(client)
        cluster.clock = NOON
        [known] = [each for each in await store.schedules.of(CLUSTER) if each.id == schedule]
        decided, _ = await schedules._looked_at(known, NOON)
        await store.schedules.put(msgspec.structs.replace(decided, version=2))
        assert decided.run is not None
        await looked(schedules, cluster, NOON + minutes * 60)
        await looked(schedules, cluster, NOON + minutes * 60 + 1)
        request = await store.requests.get(decided.run.request)
        told = await client.get(f"{AT}/{schedule}")
        if begins:
            assert request is not None
            assert (request.tag, told["last_status"]) == (decided.run.order.tag, "running")
            assert told["missed_runs"] == []
        else:
            assert (request, told["last_status"], told["missed_runs"][0]["count"]) == (None, "too_late", 1)
        await client.ask("DELETE", f"{AT}/{schedule}")
        cluster.clock = NOW


async def test_a_version_replaces_the_one_before_it_alone(
    client: Client, store: SqliteStore, schedules: JobSchedules
) -> None:
    """Promise: two that decide by the same version don't both do it; a schedule that was deleted doesn't come back."""
    schedule = await added(client)
    known = await schedules.get(CLUSTER, schedule)
    second = msgspec.structs.replace(known, version=2, decided=1.0)
    assert await store.schedules.put(second)
    assert not await store.schedules.put(second)
    assert not await store.schedules.put(known)
    assert await store.schedules.get(CLUSTER, schedule) == second
    assert await store.schedules.remove(CLUSTER, schedule)
    assert not await store.schedules.put(msgspec.structs.replace(known, version=3))
    assert await store.schedules.of(CLUSTER) == []


async def test_two_that_look_at_once_agree_on_one_run(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, schedules: JobSchedules
) -> None:
    """Promise: whoever decides second takes the first one's decision: one request, under the tag that was kept."""
    other = JobSchedules(store, cluster, [CLUSTER], lambda: cluster.clock)
    schedule = await added(client)
    for day in range(3):
        cluster.clock = NOON + day * DAY
        for _ in range(2):
            await asyncio.gather(schedules.look(), other.look())
            await asyncio.gather(schedules.begun(), other.begun())
        known = await other.get(CLUSTER, schedule)
        requests = await store.requests.find(kind=RequestKind.BACKUP)
        assert len(requests) == day + 1
        assert known.run is not None
        assert (known.run.request, known.run.order.tag) == (requests[-1].id, requests[-1].tag)
        await cluster.end(requests[-1].id)
