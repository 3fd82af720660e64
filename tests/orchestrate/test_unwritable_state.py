"""The coordinator's state can be read but not written: every path of the API says so in OpsCenter's form."""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder
from coordinator.opscenter.app import build_app
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.opscenter.doors import who_may
from coordinator.store.database import StoreFailed
from kit.http_settings import Access
from kit.logs import Redactor
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.fast.coordinator.conftest import Client
from tests.orchestrate.conftest import Scene


async def refuse_writes(coordinator: ToyCoordinator) -> None:
    """From now on SQLite itself refuses each write of this coordinator's state."""

    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")

    with suppress(StoreFailed):  # the end of its own transaction may be refused already
        await coordinator.store._database.write(refuse)


@asynccontextmanager
async def served(coordinator: ToyCoordinator) -> AsyncIterator[Client]:
    ids = (uuid.UUID(int=number).hex for number in range(1, 100))
    entries = {CLUSTER: ClusterEntry("Toy Cluster", [])}
    api = Api(
        entries,
        coordinator.store,
        coordinator.orchestrator,
        coordinator.retention,
        coordinator.archiving,
        coordinator.schedules,
        unix_seconds,
        lambda: next(ids),
        Redactor(),
    )
    app = build_app(api, max_body_bytes=1 << 20, doors=[who_may(Access(None, None, False), api.people.logins)])
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Client(session, f"http://{server.host}:{server.port}/")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/backups/run", {"destinations": {"OPSC_ON_SERVER": {}}}),
        ("POST", "/backups/run", {"destinations": {"there": {}}}),
        ("POST", "/backups/sync", {"tag": "TAG", "destinations": "there"}),
        ("POST", "/backups/destinations", {"provider": "local", "path": "new"}),
        ("POST", "/backups/destinations", {"provider": "local", "path": "once", "delete_this": True}),
        ("POST", "/backups/destinations", {"id": "there", "throttle": 5}),
        ("POST", "/backups/destinations", {"id": "there", "delete_this": True}),
        ("DELETE", "/backups/destinations/there", None),
        ("POST", "/backups/restore/TAG", {"destination": "there"}),
        ("POST", "/backups/restore/TAG/shop", {}),
        ("POST", "/backups/restore/TAG/shop/orders", {}),
        ("DELETE", "/backups", {"tag": "TAG", "destination": "there"}),
    ],
)
async def test_an_order_that_can_not_be_kept_is_refused_in_form(
    scene: Scene, method: str, path: str, body: dict[str, object] | None
) -> None:
    """500 with store_not_allowed and what to do; nothing is done on any node, and what can be read is still shown."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    done = [list(node.done) for node in scene.nodes]
    await refuse_writes(coordinator)
    async with served(coordinator) as client:
        told = {key: tag if value == "TAG" else value for key, value in (body or {}).items()}
        status, answer = await client.ask(method, f"{CLUSTER}{path.replace('TAG', tag)}", json=told)
        assert (status, answer.get("code")) == (500, "store_not_allowed"), answer
        assert answer["brief"] == "error"
        assert answer["type"]
        assert "volume that can be written" in answer["todo"]
        assert [list(node.done) for node in scene.nodes] == done
        for shown in ("backups", "backups?destination=there", "backups/destinations", "backup-activity", "nodes"):
            await client.get(f"{CLUSTER}/{shown}")
    assert {name for node in scene.nodes for name in node.destinations} == {"there"}


async def test_a_disk_that_is_full_is_told_as_such(scene: Scene) -> None:
    """Promise: no room is told apart from no right: the order is refused with store_failed and a look at the space."""
    coordinator = await scene.coordinator()

    def leave_no_room(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # as many as there are

    await coordinator.store._database.write(leave_no_room)
    async with served(coordinator) as client:
        for number in range(20):  # what is left of its pages takes some
            body = {"provider": "local", "path": f"{number}".ljust(1_000, "x")}
            status, answer = await client.ask("POST", f"{CLUSTER}/backups/destinations", json=body)
            if status != 200:
                break
        assert (status, answer.get("code")) == (500, "store_failed"), answer
        assert "full" in answer["message"]
        assert "free space" in answer["todo"]


async def test_a_cancel_that_can_not_be_kept_is_refused_in_form(scene: Scene) -> None:
    """It would be forgotten with the coordinator's next start; what runs is still shown."""
    coordinator = await scene.coordinator()
    scene.nodes[0].gates[Kind.SNAPSHOT] = asyncio.Event()
    running = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.SNAPSHOT].wait(), 10)
    await refuse_writes(coordinator)
    async with served(coordinator) as client:
        status, answer = await client.ask("POST", f"request/{running}/cancel", json={})
        assert (status, answer["code"], answer["brief"]) == (500, "store_not_allowed", "error"), answer
        assert (await client.get(f"request/{running}/status"))["state"] == "running"
