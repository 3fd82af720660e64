"""A schedule over a real node: what is due in a moment becomes a backup in its destination."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from tests.cluster.backup_service import BackupService

pytestmark = pytest.mark.timeout(300)
SOON = 4
"""Seconds until it is due."""


async def test_a_schedule_backs_up_when_it_is_due(service: BackupService) -> None:
    """Promise: a schedule that is due in a few seconds makes one backup then, not before; it is listed under the
    schedule's id, whole by what an independent reader finds of it, and the schedule tells of it and of the next one."""
    session = await service.cluster.session()
    for statement in (
        "CREATE KEYSPACE IF NOT EXISTS planned WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE TABLE IF NOT EXISTS planned.runs (id int PRIMARY KEY)",
        "INSERT INTO planned.runs (id) VALUES (1)",
    ):
        await asyncio.to_thread(session.execute, statement)
    place = await service.local("planned")
    due = int(time.time()) + SOON
    first = datetime.fromtimestamp(due, UTC)
    schedule = await service.api.post(
        "/job-schedules",
        {
            "first_run_date": first.strftime("%Y-%m-%d"),
            "first_run_time": first.strftime("%H:%M:%S"),
            "timezone": "UTC",
            "interval": 1,
            "interval_unit": "days",
            "job_params": {"type": "backup", "keyspaces": ["planned"], "destinations": {place: {"cleanup_age": 30}}},
        },
    )
    at = f"/job-schedules/{schedule}"
    assert (await service.api.get(at))["last_status"] is None
    async with asyncio.timeout(120):
        while True:
            told = await service.api.get(at)
            if told["last_status"] not in (None, "starting", "running"):
                break
            await asyncio.sleep(0.2)
    assert told["last_status"] == "success", told
    listed = await service.api.get(f"/backups?destination={place}&match={schedule}")
    [(tag, record)] = listed.items()
    assert tag.startswith(f"opscenter_{schedule}_")
    assert record["id"] == schedule
    assert record["time"] >= due
    assert [key[0] for key in await service.inspected(place)] == [tag]
    next_run = datetime.fromisoformat(told["next_run"]).timestamp()
    assert next_run == due + 86_400
    await service.api.delete(at)
    assert await service.api.get("/job-schedules") == []
    await service.delete(tag, place)
    await asyncio.to_thread(session.execute, "DROP KEYSPACE planned")
