"""The other resources, every exchange checked against the description."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.wire.backups import BackupView
from agent.wire.node import HealthView
from tests.cluster.validated_client import AGENT_DESCRIPTION
from tests.fast.commands.tiny_agent import HOST_ID, everything, quick
from tests.fast.http.served import Backups, served

PLAN: dict[str, Any] = {
    "tag": "t1",
    "backup_id": "adhoc",
    "time": 1.5,
    "cluster_name": "Test",
    "cluster_id": "c1",
    "nodes": [{"host_id": HOST_ID, "address": "127.0.50.1", "dc": "dc1", "rack": "r1", "tokens": ["0"]}],
    "keyspaces": {"shop": ["orders"]},
    "replication": {"shop": {"class": "SimpleStrategy"}},
    "schema_version": "s1",
}
RECORD: dict[str, Any] = {
    "tag": "t1",
    "backup_id": "adhoc",
    "time": 1.5,
    "state": "success",
    "keyspaces": {"shop": ["orders"]},
    "nodes": [{"host_id": HOST_ID, "address": "127.0.50.1", "state": "success", "sizes": {"shop": 5}}],
}


async def test_the_node_tells_of_itself(tmp_path: Path) -> None:
    """GET /v1/node, as described."""
    async with served(tmp_path, everything(quick)) as agent:
        report = (await agent.client.get("/v1/node")).json
        assert report["node"]["host_id"] == HOST_ID
        assert report["ring"][0]["up"] is None
        assert report["events"] == 0


async def test_destinations_are_put_listed_checked_and_deleted_without_showing_secrets(tmp_path: Path) -> None:
    """A secret goes in and never comes out."""
    settings = {"provider": "s3", "path": "b/p", "access_key": "k", "access_secret": "canary-secret"}
    async with served(tmp_path, everything(quick)) as agent:
        put = await agent.client.put("/v1/destinations/d1", {"revision": 1, "settings": settings})
        listed = await agent.client.get("/v1/destinations")
        got = await agent.client.get("/v1/destinations/d1")
        assert put.json == listed.json[0] == got.json
        assert b"canary-secret" not in put.body + listed.body + got.body
        assert (await agent.client.post("/v1/destinations/d1/check")).json["made"] is False
        checked = await agent.client.post(
            "/v1/destinations/d1/check", {"initialise": True, "cluster_name": "Prod «1»", "nonce_put": "n-1"}
        )
        assert checked.json["made"] is True
        assert [asked.initialise for asked in agent.checks.asked] == [False, True]
        for odd in ({"cluster_name": ""}, {"nonce_find": "../x"}, {"repository_id": "a/b"}, {"colour": 1}):
            answer = await agent.client.post("/v1/destinations/d1/check", odd, wrong=True)
            assert answer.status == 400
        for odd_put in (
            {"revision": 1, "settings": {**settings, "provider": "tape"}},
            {"revision": 1, "settings": {**settings, "colour": 1}},
            {"revision": "1", "settings": settings},
        ):
            refused = await agent.client.put("/v1/destinations/d1", odd_put, wrong=True)
            assert (refused.status, refused.code) == (400, "invalid_input")
            assert b"canary-secret" not in refused.body
        assert (await agent.client.delete("/v1/destinations/d1")).status == 204
        assert (await agent.client.get("/v1/destinations/d1")).status == 404


async def test_plans_and_records_are_put_and_listed_per_destination(tmp_path: Path) -> None:
    """Without a destination, or with OPSC_ON_SERVER, the backups of the node itself are meant."""
    async with served(tmp_path, everything(quick)) as agent:
        assert (await agent.client.put("/v1/backups/t1/plan?destination=d1", PLAN)).status == 204
        assert (await agent.client.put("/v1/backups/t1/record?destination=d1", RECORD)).status == 204
        assert [view["tag"] for view in (await agent.client.get("/v1/backups?destination=d1")).json] == ["t1"]
        backup = (await agent.client.get("/v1/backups/t1?destination=d1")).json
        assert (backup["complete"], backup["plan"]["cluster_name"]) == (True, "Test")
        assert (await agent.client.get("/v1/backups")).json == []
        assert (await agent.client.put("/v1/backups/t1/record", RECORD)).status == 204
        assert len((await agent.client.get("/v1/backups?destination=OPSC_ON_SERVER")).json) == 1
        assert (await agent.client.get("/v1/backups/t2?destination=d1")).status == 404
        other = await agent.client.put("/v1/backups/t2/plan", PLAN)
        assert (other.status, other.json["fields"]["field"]) == (400, "tag")
        nodes = [{**PLAN["nodes"][0], "host_id": "../x"}]
        odd = await agent.client.put("/v1/backups/t1/plan", {**PLAN, "nodes": nodes}, wrong=True)
        assert odd.code == "invalid_name"
        odd = await agent.client.put("/v1/backups/t1/plan", {**PLAN, "made_by": "x" * 201}, wrong=True)
        assert odd.code == "invalid_name"


async def test_a_long_listing_is_sent_backup_by_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what is made when its turn comes is sent before the next, and others have their turn between."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    made: list[int] = []

    def views() -> Iterator[BackupView]:
        for number in range(200):
            made.append(turns)
            yield BackupView(f"t{number}", False, None)

    async def listed(backups: Backups, destination: str | None) -> Iterator[BackupView]:
        return views()

    monkeypatch.setattr(Backups, "list", listed)
    async with served(tmp_path, everything(quick)) as agent:
        beside = asyncio.create_task(others())
        answer = await agent.client.get("/v1/backups?destination=d1")
        beside.cancel()
    assert [view["tag"] for view in answer.json] == [f"t{number}" for number in range(200)]
    assert len(set(made)) == 200


async def test_limits_are_changed_live(tmp_path: Path) -> None:
    """PATCH changes what it names and answers with what holds."""
    async with served(tmp_path, everything(quick)) as agent:
        await agent.client.patch("/v1/throttle", {"node_bytes_per_second": 5_000_000})
        changed = await agent.client.patch("/v1/throttle", {"destinations": {"d1": 1_000_000}})
        expected = {"node_bytes_per_second": 5_000_000, "destinations": {"d1": 1_000_000}}
        assert changed.json == (await agent.client.get("/v1/throttle")).json == expected
        for odd in ({"node_bytes_per_second": -1}, {"destinations": {"a/b": 1}}, {"speed": 1}):
            assert (await agent.client.patch("/v1/throttle", odd, wrong=True)).status == 400


async def test_health_is_503_when_the_agent_can_not_work(tmp_path: Path) -> None:
    """Watchers need no token and no JSON to see it."""
    async with served(tmp_path, everything(quick)) as agent:
        assert (await agent.client.get("/health")).status == 200
        agent.health[0] = HealthView("unwell", "journal_failed")
        answer = await agent.client.get("/health")
        assert (answer.status, answer.json["code"]) == (503, "journal_failed")


async def test_the_description_and_the_metrics_are_served(tmp_path: Path) -> None:
    """What is served is the file of this release."""
    async with served(tmp_path, everything(quick)) as agent:
        assert (await agent.client.get("/openapi.yaml")).body == AGENT_DESCRIPTION.read_bytes()
        assert (await agent.client.get("/openapi.json")).json["info"]["title"] == "The Helenus agent"
        assert b"/docs/swagger-ui-bundle.js" in (await agent.client.get("/docs")).body
        assert (await agent.client.get("/docs/page.js")).headers["X-Content-Type-Options"] == "nosniff"
        metrics = await agent.client.get("/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain")


async def test_what_a_reader_knows_of_ring_and_keyspaces_is_not_told_again(tmp_path: Path) -> None:
    """Promise: who asks with the shape of an earlier report gets the rest of the new one, and all of it when ring or
    keyspaces have changed."""
    async with served(tmp_path, everything(quick)) as agent:
        first = (await agent.client.get("/v1/node")).json
        assert not first["as_known"]
        assert (await agent.client.get("/v1/node?known=another")).json == first
        again = (await agent.client.get(f"/v1/node?known={first['shape']}")).json
        assert (again["as_known"], again["ring"], again["keyspaces"]) == (True, [], {})
        assert (again["shape"], again["node"]) == (first["shape"], first["node"])
        other = (await agent.client.get(f"/v1/node?known={first['shape']}&members=true")).json
        assert (other["as_known"], other["ring"][0]["up"]) == (False, True)
        assert other["shape"] != first["shape"]
        refused = await agent.client.get(f"/v1/node?known={'x' * 65}", wrong=True)
        assert (refused.status, refused.code) == (400, "invalid_input")
