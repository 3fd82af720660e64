"""The keyspaces and tables that a schedule names, judged when it is made or changed and not at night."""

from typing import Any

import pytest
import structlog

from coordinator.orchestrate.errors import MissingNodes, NobodyAnswers
from coordinator.orchestrate.point_in_time.errors import StoppedByRestore
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client
from tests.fast.coordinator.test_job_schedules import AT, DAILY, JOB, C, added

WRONG: list[tuple[Any, str]] = [
    (["shpo"], "unknown_keyspace"),
    (["shop", "mixed"], "unknown_keyspace"),
    ({"shop": ["user"]}, "unknown_table"),
    ({"shop": {"column-families": ["orders", "user"]}}, "unknown_table"),
    (["system_views"], "keyspace_refused"),
]


@pytest.mark.parametrize(("keyspaces", "code"), WRONG)
async def test_what_is_misspelt_is_refused_as_a_run_of_it_would_be(client: Client, keyspaces: Any, code: str) -> None:
    """Promise: a schedule that no run could carry out is refused at once, when it is made and when it is changed, and
    nothing of it is kept."""
    job = {"type": "backup", "keyspaces": keyspaces, "cleanup_age": 3}
    status, told = await client.ask("POST", AT, json={**DAILY, "job_params": job})
    assert (status, told["code"]) == (400, code)
    assert await client.get(AT) == []
    schedule = await added(client)
    before = await client.get(f"{AT}/{schedule}")
    change = {"first_run_time": "13:00:00", "job_params": job}
    status, changed = await client.ask("PUT", f"{AT}/{schedule}", json=change)
    assert (status, changed["code"], changed["message"]) == (400, code, told["message"])
    assert await client.get(f"{AT}/{schedule}") == before
    assert (await client.get(f"{C}/retention"))["rules"] == []


async def test_the_refusal_names_what_is_unknown_and_its_field(client: Client) -> None:
    """Promise: whoever misspelt a name reads which one, and where he wrote it."""
    for keyspaces, unknown in ((["shop", "shpo"], "shpo"), ({"shop": ["user"]}, "shop.user")):
        job = {"type": "backup", "keyspaces": keyspaces}
        _, told = await client.ask("POST", AT, json={**DAILY, "job_params": job})
        assert told["message"].endswith(f" {unknown}")
        assert told["fields"] == {"field": "job_params.keyspaces", "unknown": [unknown]}


async def test_a_schedule_of_what_was_dropped_since_can_be_changed(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: a keyspace that is dropped keeps nobody from changing a schedule's times or its job beside it, also by
    sending back what GET shows; only other names are judged."""
    both = {**JOB, "keyspaces": {"shop": ["users", "orders"], "Mixed": []}}
    schedule = await added(client, job_params=both)
    del cluster.tables["shop"]
    changes: list[dict[str, Any]] = [
        {"first_run_time": "13:00:00"},
        {"interval": -1, "first_run_date": "2017-06-01"},
        await client.get(f"{AT}/{schedule}"),
        {"job_params": {**both, "throttle": 3, "keyspaces": {"Mixed": [], "shop": ["orders", "users"]}}},
    ]
    for change in changes:
        assert await client.ask("PUT", f"{AT}/{schedule}", json=change) == (200, schedule)
    other = {**JOB, "keyspaces": {"shop": ["users"], "Mixed": []}}
    status, told = await client.ask("PUT", f"{AT}/{schedule}", json={"job_params": other})
    assert (status, told["code"]) == (400, "unknown_keyspace")
    rest = {**JOB, "keyspaces": ["Mixed"]}
    assert await client.ask("PUT", f"{AT}/{schedule}", json={"job_params": rest}) == (200, schedule)


@pytest.mark.parametrize("away", [NobodyAnswers, StoppedByRestore])
async def test_a_cluster_that_is_away_keeps_nobody_from_scheduling(
    away: type[MissingNodes], client: Client, cluster: ClusterInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where no node can be asked the names are taken as they are, and the log says that nobody looked; one
    that no cluster has data of is refused all the same."""

    async def nobody(cluster: str) -> dict[str, list[str]]:
        raise away("no agent answers")

    monkeypatch.setattr(cluster, "keyspaces", nobody)
    with structlog.testing.capture_logs() as lines:
        schedule = await added(client, job_params={**JOB, "keyspaces": ["later"]})
    said = [(line["schedule"], line["keyspaces"], line["why"]) for line in lines if "unchecked" in line["event"]]
    assert said == [(schedule, ["later"], "no agent answers")]
    status, told = await client.ask("POST", AT, json={**DAILY, "job_params": {**JOB, "keyspaces": ["system_views"]}})
    assert (status, told["code"]) == (400, "keyspace_refused")
