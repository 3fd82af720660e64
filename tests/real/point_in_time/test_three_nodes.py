"""A restore to a point in time through the API on three real nodes, the coordinator killed with all of them stopped.

Each row is read at ONE from each node: what its own SSTables, its own part of the log and nothing else have brought.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from tests.cluster import places, sessions
from tests.cluster.backup_service import BackupService
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess

pytestmark = pytest.mark.timeout(900)
KEYSPACE = "points"
REPLICATED = "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}"
ROWS = 40


def micros() -> int:
    """Now."""
    return time.time_ns() // 1_000


def as_seconds(point: int) -> str:
    """A point as a client writes it: decimal text."""
    return f"{point // 1_000_000}.{point % 1_000_000:06d}"


def to_all(session: Session, statement: str) -> None:
    """Each node has received it itself when this returns."""
    session.execute(SimpleStatement(statement, consistency_level=ConsistencyLevel.ALL))


@dataclass
class Points:
    """Three nodes that archive, rows A before a snapshot and B after it, marked points, and what came later."""

    service: BackupService
    destination: str = ""
    expected: set[int] = field(default_factory=set)
    mark: int = 0

    @property
    def cluster(self) -> ScratchCluster:
        return self.service.cluster

    async def session(self) -> Session:
        return await self.cluster.session()

    def write(self, session: Session, first: int, at: int | None = None) -> int:
        """Rows from this number on, on all nodes; the time of the last one."""
        for number in range(first, first + ROWS):
            stamp = at or micros()
            to_all(session, f"INSERT INTO {KEYSPACE}.orders (id, text) VALUES ({number}, 'x') USING TIMESTAMP {stamp}")
        return stamp

    async def rows(self) -> list[set[int]]:
        """The rows of each node."""
        found = []
        for node in self.cluster.nodes:
            session = await self.cluster.session_one(node)
            found.append({row.id for row in session.execute(f"SELECT id FROM {KEYSPACE}.orders")})
        return found

    async def count(self, table: str) -> list[int]:
        """How many rows each node has of another table."""
        return [
            (await self.cluster.session_one(node)).execute(f"SELECT count(*) FROM {table}").one()[0]
            for node in self.cluster.nodes
        ]

    def body(self, point: int, **more: Any) -> dict[str, Any]:
        return {
            "pit": as_seconds(point),
            "keyspaces": {KEYSPACE: {"column-families": ["orders", "gone"]}},
            "destination": self.destination,
            "pit_destination": self.destination,
            **more,
        }

    async def begin(self, point: int, **more: Any) -> str:
        self.cluster.close_sessions()
        return str(await self.service.api.post("/backups/pit/run", self.body(point, **more)))

    async def all_stopped(self) -> None:
        """Return when no node runs."""
        async with asyncio.timeout(400):
            while any(node.alive for node in self.cluster.nodes):  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.1)

    async def follow(self, request: str) -> dict[str, Any]:
        return await self.service.api.follow(request, deadline=600)


async def story(points: Points) -> None:
    """Archiving on, A, a snapshot, B, the mark, C, deletes and a TRUNCATE."""
    service = points.service
    points.destination = await service.local("there")
    request = await service.api.post("/backups/pit", {"destinations": {points.destination: {}}, "sleep": 0})
    await service.api.follow(request, deadline=300)
    await points.cluster.wait_until_whole()
    session = await points.session()
    for keyspace in (KEYSPACE, "other"):
        session.execute(f"CREATE KEYSPACE {keyspace} {REPLICATED}", timeout=60)
    for table in (f"{KEYSPACE}.orders", f"{KEYSPACE}.gone", "other.things"):
        session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, text text)", timeout=60)
    to_all(session, f"INSERT INTO {KEYSPACE}.gone (id, text) VALUES (1, 'x')")
    points.write(session, 0)
    await service.backup([KEYSPACE], points.destination)
    points.write(session, 1_000)
    await asyncio.sleep(0.01)
    points.mark = micros()
    points.write(session, 2_000, points.mark)
    points.expected = {*range(ROWS), *range(1_000, 1_000 + ROWS), *range(2_000, 2_000 + ROWS)}
    await asyncio.sleep(0.01)
    points.write(session, 3_000)
    for number in (1, 1_001, 2_001):
        to_all(session, f"DELETE FROM {KEYSPACE}.orders WHERE id = {number}")
    session.execute(f"TRUNCATE {KEYSPACE}.gone", timeout=60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def points(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Points]:
    directory = tmp_path_factory.mktemp("points")
    async with ScratchCluster(
        directory / "cluster", nodes=3, name="points", version=places.CASSANDRA_50, authentication=True
    ) as cluster:
        agents = [
            AgentProcess(node, directory / f"agent{number}", cql=sessions.SUPERUSER)
            for number, node in enumerate(cluster.nodes, 1)
        ]
        service = BackupService(cluster, directory, agents=agents)
        await service.start()
        made = Points(service)
        try:
            await story(made)
            yield made
        finally:
            await service.stop()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_check_tells_which_points_there_are(points: Points) -> None:
    """Promise: the snapshot, the windows and each node's log are told, nothing is started, and a point before every
    snapshot is refused in the reference's words."""
    told = await points.service.api.post("/backups/pit_check", points.body(points.mark))
    assert told["brief"] == "success", told
    assert set(told["nodes"]) == {node.address for node in points.cluster.nodes}
    assert any(since * 1e6 <= points.mark <= until * 1e6 for since, until in told["windows"])
    status, refused = await points.service.api.refused("POST", "/backups/pit_check", points.body(1_450_143_120_000_000))
    assert status == 400
    assert refused["message"].startswith("No snapshots found before date and time: 12-15-2015 01:32:00 UTC")
    assert all(node.alive for node in points.cluster.nodes)


@pytest.mark.asyncio(loop_scope="module")
async def test_three_nodes_come_to_the_point_though_the_coordinator_dies_while_all_are_stopped(points: Points) -> None:
    """Promise: exactly A, B and the marked rows, on each node by itself, TRUNCATE and deletes undone; another keyspace
    and a role that were made a second before one node was killed, unflushed, are there afterwards."""
    session = await points.session()
    session.execute(f"CREATE KEYSPACE late {REPLICATED}", timeout=60)
    session.execute("CREATE TABLE late.rows (id int PRIMARY KEY)", timeout=60)
    for number in range(10):
        to_all(session, f"INSERT INTO late.rows (id) VALUES ({number})")
    session.execute(
        "ALTER KEYSPACE system_auth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}"
    )
    session.execute("CREATE ROLE latest WITH PASSWORD = 'x' AND LOGIN = true", timeout=60)
    to_all(session, "INSERT INTO other.things (id, text) VALUES (1, 'x')")
    await asyncio.sleep(1)  # Cassandra itself forgets what came after its last sync
    points.cluster.close_sessions()
    await points.cluster.nodes[1].kill()
    request = await points.begin(points.mark)
    await points.all_stopped()
    await points.service.coordinator.kill()
    await asyncio.sleep(1)
    await points.service.coordinator.start()
    status = await points.follow(request)
    assert status["state"] == "success", status
    assert await points.rows() == [points.expected] * 3
    assert await points.count(f"{KEYSPACE}.gone") == [1] * 3
    assert await points.count("late.rows") == [10] * 3
    assert await points.count("other.things") == [1] * 3
    for node in points.cluster.nodes:
        session = await points.cluster.session_one(node)
        assert session.execute("SELECT role FROM system_auth.roles WHERE role = 'latest'").one() is not None
    assert points.service.staged() == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_millisecond_before_a_marked_write_leaves_out_exactly_it(points: Points) -> None:
    """Promise: the same log leads to another point, one millisecond earlier: without the marked rows, all others."""
    status = await points.follow(await points.begin(points.mark - 1_000))
    assert status["state"] == "success", status
    assert await points.rows() == [points.expected - {*range(2_000, 2_000 + ROWS)}] * 3
