"""Archiving of the commit log on three real nodes: switched on and off by rolling restarts, under writes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from cassandra.connection import ConnectionException
from cassandra.policies import FallthroughRetryPolicy

from tests.cluster.backup_service import BackupService
from tests.cluster.scratch import ScratchCluster

pytestmark = [pytest.mark.timeout(1500), pytest.mark.long]
FOLLOWED = 600.0
SOON = 60.0
"""Seconds within which a node that lost the setting must be told of."""


class AnotherNode(FallthroughRetryPolicy):  # type: ignore[misc]  # the driver has no types
    """As every driver does by default: a connection that was cut by the node's end is no answer of the cluster's, and
    another node is asked. What the cluster itself refuses stays refused."""

    def on_request_error(self, query: Any, consistency: Any, error: Any, retry_num: int) -> Any:
        cut = isinstance(error, ConnectionException)
        return (self.RETRY_NEXT_HOST if cut else self.RETHROW), None


class Writes:
    """Writes and reads at QUORUM in a thread, as an application would; `failed` holds what was refused."""

    def __init__(self, session: Session) -> None:
        self._insert = session.prepare("INSERT INTO log_ks.rows (id, text) VALUES (?, ?)")
        self._select = session.prepare("SELECT text FROM log_ks.rows WHERE id = ?")
        self._session = session
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="writes")
        self.done = 0
        self.failed: list[str] = []

    def __enter__(self) -> "Writes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)

    def _work(self) -> None:
        while not self._end.wait(0.01):
            try:
                self._execute(self._insert, (self.done, "x" * 4_000))
                [row] = self._execute(self._select, (self.done,))
                assert row.text
                self.done += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, a client saw it
                self.failed.append(f"{type(error).__name__}: {error}")

    def _execute(self, prepared: Any, values: tuple[Any, ...]) -> Any:
        statement = prepared.bind(values)
        statement.retry_policy = AnotherNode()
        return self._session.execute(statement, timeout=30)


@asynccontextmanager
async def served(cluster: ScratchCluster, directory: Path) -> AsyncIterator[BackupService]:
    """Agents and a coordinator, and a keyspace on all three nodes."""
    service = BackupService(cluster, directory)
    await service.start()
    try:
        session = await cluster.session()
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 3}"
        session.execute(f"CREATE KEYSPACE log_ks WITH replication = {replication}", timeout=60)
        session.execute("CREATE TABLE log_ks.rows (id int PRIMARY KEY, text text)", timeout=60)
        yield service
        # Its connections are those of before the restarts, of which the driver hears when it uses them.
        (await cluster.session()).execute("DROP KEYSPACE log_ks", timeout=60)
    finally:
        await service.stop()


async def until(seconds: float, what: str, true: Any) -> Any:
    """The first answer of `true` that isn't empty; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := await true():
            return found
        await asyncio.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


def pids(service: BackupService) -> list[int]:
    """The nodes' processes."""
    return [node.child.pid for node in service.cluster.nodes]


async def test_three_nodes_archive_after_a_rolling_restart_that_no_client_notices(
    three_nodes_50: ScratchCluster, tmp_path: Path
) -> None:
    """Promise: switched on, each node is restarted once, one after the other, and no write or read at QUORUM fails;
    then the times that are safe grow with the writes. The same again, or another throttle, restarts nobody. A
    properties file that is put back by hand is told of within a minute, and mended by the same order. Switched off,
    each node is restarted once more, and archives nothing."""
    async with served(three_nodes_50, tmp_path) as service:
        place = await service.local("logs")
        addresses = three_nodes_50.contact_points
        with Writes(await three_nodes_50.session()) as writes:
            before = pids(service)
            body = {"destinations": {place: {"compressed": True}}, "sleep": 1, "drain_first": True, "tail_seconds": 2}
            status = await service.api.follow(await service.api.post("/backups/pit", body), deadline=FOLLOWED)
            assert sorted(status["details"]["restarted"]) == sorted(addresses)
            assert all(one != other for one, other in zip(before, pids(service), strict=True))
            assert (writes.failed, writes.done > 100) == ([], True)
            told = await service.api.get("/backups/pit")
            assert (told["enabled"], told["nodes_without"]) == (True, [])
            assert {node["state"] for node in told["nodes"].values()} == {"on"}

            async def safe() -> dict[str, float]:
                logs: dict[str, float | None] = await service.api.get("/backups/pit/logs")
                return {address: at for address, at in logs.items() if at is not None}

            async def all_safe() -> dict[str, float]:
                found = await safe()
                return found if set(found) == set(addresses) else {}

            first = await until(180, "a segment of each node is safe", all_safe)

            async def grown() -> bool:
                return all(at > first[address] for address, at in (await safe()).items())

            await until(180, "more is safe", grown)
            now = pids(service)
            other = {**body, "destinations": {place: {"compressed": True, "throttle": 50}}}
            for again in (body, other):
                status = await service.api.follow(await service.api.post("/backups/pit", again), deadline=FOLLOWED)
                assert (status["details"]["restarted"], pids(service)) == ([], now)

        properties = three_nodes_50.nodes[1].directory / "conf" / "commitlog_archiving.properties"
        ours = properties.read_text()
        properties.write_text("archive_command=\n")

        async def without() -> list[str]:
            return [node["address"] for node in (await service.api.get("/backups/pit"))["nodes_without"]]

        assert await until(SOON, "the node is told of", without) == [addresses[1]]

        async def alarms() -> list[Any]:
            events = await service.api.get("/backup-activity?filter_type=archiving")
            return [event for event in events if event["status"] == "error"]

        assert len(await until(SOON, "there is an event", alarms)) == 1
        status = await service.api.follow(await service.api.post("/backups/pit", other), deadline=FOLLOWED)
        assert set(status["details"]["restarted"]) <= {addresses[1]}
        assert (properties.read_text(), await without()) == (ours, [])

        with Writes(await three_nodes_50.session()) as writes:
            before = pids(service)
            status = await service.api.follow(await service.api.delete("/backups/pit"), deadline=FOLLOWED)
            assert all(one != other for one, other in zip(before, pids(service), strict=True))
            assert (writes.failed, writes.done > 0) == ([], True)
        told = await service.api.get("/backups/pit")
        assert (told["enabled"], told["nodes_with"]) == (False, [])
        assert {node["state"] for node in told["nodes"].values()} == {"off"}
        assert "archive-commitlog" not in properties.read_text()
