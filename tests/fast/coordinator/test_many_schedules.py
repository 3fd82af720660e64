"""A cluster has no more job schedules than a look can follow."""

import msgspec

from coordinator.opscenter.job_schedules import MOST_SCHEDULES
from coordinator.store.sqlite import SqliteStore
from tests.fast.coordinator.conftest import Client
from tests.fast.coordinator.test_job_schedules import AT, CLUSTER, DAILY, JOB, added


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
