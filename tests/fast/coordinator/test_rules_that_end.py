"""A backup id's own rule of retention ends, or says «Retain All»: the wider one of its destination never takes over."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.model.orders import Copy
from coordinator.model.retention import KeptRule, Rule
from coordinator.model.schedules import BackupJob, Schedule, Timetable
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import Client
from tests.fast.coordinator.schedule.world import Killed, MortalDatabase
from tests.fast.coordinator.test_job_schedules import AT, JOB, added, place

C = "/Test_Cluster"
DAY = 86_400.0


async def going(client: Client, there: str) -> list[str]:
    """The ids of the backups at the destination that would go now."""
    told = await client.post(f"{C}/retention/run", {"destination": there, "dry_run": True})
    return sorted({one["id"] for one in told[there] if one["goes"]})


def hold(cluster: ClusterInMemory, there: str, by: str) -> None:
    """A year of the id's backups, one each month."""
    backups = [backup(f"{by}-{month}", month * 30 * DAY, {"shop": ["users"]}, by=by) for month in range(12)]
    cluster.backups.setdefault(there, []).extend(backups)


async def ruled(client: Client, cluster: ClusterInMemory) -> tuple[str, str, dict[str, Any]]:
    """A destination that keeps 7 days of whatever has no rule of its own; a schedule with a year there; its job."""
    there = await place(client, cleanup_age=7)
    job = {**JOB, "destinations": [there]}
    schedule = await added(client, job_params={**job, "cleanup_age": 365})
    hold(cluster, there, schedule)
    hold(cluster, there, "other")
    assert await going(client, there) == ["other"]
    return there, schedule, job


async def test_a_deleted_schedules_backups_stay_beside_a_rule_for_all(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: of a schedule that was deleted nothing goes by itself, whatever its destination's rule says, also where
    it had no rule of its own."""
    there, schedule, job = await ruled(client, cluster)
    bare = await added(client, job_params=job)
    hold(cluster, there, bare)
    assert await going(client, there) == sorted(["other", bare])
    for each in (schedule, bare):
        assert await client.ask("DELETE", f"{AT}/{each}") == (200, each)
    assert await going(client, there) == ["other"]


@pytest.mark.parametrize("said", [{}, {"cleanup_age": 0}, {"cleanup_count": 0}])
async def test_a_changed_schedules_backups_stay(client: Client, cluster: ClusterInMemory, said: dict[str, Any]) -> None:
    """Promise: job_params without rules, or with «Retain All», let nothing go of what the former rule kept, also at a
    destination that the job names no more."""
    there, schedule, job = await ruled(client, cluster)
    for params in ({**job, **said}, {**JOB, **said}):
        assert await client.ask("PUT", f"{AT}/{schedule}", json={"job_params": params}) == (200, schedule)
        assert await going(client, there) == ["other"]


async def test_retain_all_is_kept_from_the_first(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: «Retain All» of a new schedule and of a backup by hand holds beside the destination's rule."""
    there = await place(client, cleanup_age=7)
    schedule = await added(client, job_params={**JOB, "destinations": {there: {"cleanup_age": 0}}})
    for by in (schedule, "adhoc", "other"):
        hold(cluster, there, by)
    assert await going(client, there) == ["adhoc", "other"]
    await client.post(f"{C}/backups/run", {"destinations": [there], "cleanup_age": 0})
    assert await going(client, there) == ["other"]


async def test_a_destination_that_is_added_anew_lets_none_of_them_go(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: its rules are forgotten with it, but ids that had their own in the repository don't fall to the rule
    with which it is added again; a rule that is given then holds."""
    there, schedule, job = await ruled(client, cluster)
    await client.ask("DELETE", f"{C}/backups/destinations/{there}")
    assert (await client.get(f"{C}/retention"))["rules"] == []
    again = await place(client, cleanup_age=7)
    assert again != there
    hold(cluster, again, schedule)
    hold(cluster, again, "other")
    assert await going(client, again) == ["other"]
    params = {**job, "destinations": {again: {"cleanup_age": 100}}}
    await client.ask("PUT", f"{AT}/{schedule}", json={"job_params": params})
    assert await going(client, again) == sorted(["other", schedule])


async def test_where_nothing_ever_goes_no_run_is_made(client: Client) -> None:
    """Promise: a place whose rules all retain all has no runs of retention, which would fail on nodes that are down."""
    there = await place(client)
    await added(client, job_params={**JOB, "destinations": {there: {"cleanup_age": 0}}})
    status, told = await client.ask("POST", f"{C}/retention/run", json={"destination": there})
    assert (status, told["fields"]["field"]) == (400, "destination")
    assert await client.post(f"{C}/retention/run") == {"destinations": []}


@pytest.mark.parametrize("durable", [False, True])
async def test_a_death_while_a_schedule_is_deleted_harms_nothing(tmp_path: Path, durable: bool) -> None:
    """Promise: killed at any write of it, either the schedule and its rule are there, or its id retains all."""
    timetable = Timetable("2026-01-01", "00:00:00", "UTC", 1, "days")
    schedule = Schedule("s", "c", 1, timetable, BackupJob(copies=[Copy("d")]), {}, decided=0.0)
    rule = KeptRule("c", "d", "s", Rule(age=365))
    made = await Database.open(tmp_path / FILE, MIGRATIONS)
    opened = MortalDatabase(made._connection, made._thread, made._reading, made._path)
    store = SqliteStore(opened)
    await store.schedules.put(schedule)
    await store.retention.put([rule, KeptRule("c", "d", "", Rule(age=7))])
    opened.die_in, opened.before = 0, not durable
    with pytest.raises(Killed):
        await store.schedules.remove("c", "s")
    opened.dead = False
    left, kept = await store.schedules.of("c"), await store.retention.of("c", "d")
    assert (left, kept[1].rule.retains_all) == (([], True) if durable else ([schedule], False))
    await store.close()


async def test_rules_come_with_their_schedule_or_not_at_all(store: SqliteStore) -> None:
    """Promise: a change that comes as its schedule is deleted, or as another one was first, brings no rule of its own:
    what retains all after the deletion goes on doing so."""
    timetable = Timetable("2026-01-01", "00:00:00", "UTC", 1, "days")
    first = Schedule("s", "c", 1, timetable, BackupJob(keep=False, copies=[Copy("d")]), {}, decided=0.0)
    second = msgspec.structs.replace(first, version=2)
    rule = KeptRule("c", "d", "s", Rule(age=7))
    assert await store.schedules.put(first, [rule])
    assert not await store.schedules.put(first, [KeptRule("c", "d", "s", Rule(age=1))])
    assert await store.retention.of("c") == [rule]
    await store.schedules.remove("c", "s")
    assert not await store.schedules.put(second, [rule])
    assert [kept.rule.retains_all for kept in await store.retention.of("c")] == [True]
