"""Three real nodes that archive their commit log, and restores of them to a point through the API.

In: a directory. Out: marked points, and the rows that each node has. Each is read at ONE from each node: what its own
SSTables, its own part of the log and nothing else have brought.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from tests.cluster import places, sessions
from tests.cluster.backup_service import BackupService
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess

KEYSPACE = "points"
OTHER = "other"
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
class ThreeNodes:
    """The nodes, their agents and their coordinator. `destination`: where backups and the log are."""

    service: BackupService
    destination: str = ""

    @property
    def cluster(self) -> ScratchCluster:
        return self.service.cluster

    async def begin(self) -> None:
        """Archiving on, two keyspaces with tables."""
        self.destination = await self.service.local("there")
        request = await self.service.api.post("/backups/pit", {"destinations": {self.destination: {}}, "sleep": 0})
        await self.service.api.follow(request, deadline=300)
        await self.cluster.wait_until_whole()
        session = await self.session()
        for keyspace in (KEYSPACE, OTHER):
            session.execute(f"CREATE KEYSPACE {keyspace} {REPLICATED}", timeout=60)
        for table in (f"{KEYSPACE}.orders", f"{KEYSPACE}.gone", f"{OTHER}.things"):
            session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, text text)", timeout=60)

    async def session(self) -> Session:
        """To all nodes, at QUORUM."""
        return await self.cluster.session()

    def write(self, session: Session, first: int, at: int | None = None) -> int:
        """Rows from this number on, on all nodes; the time of the last one."""
        for number in range(first, first + ROWS):
            stamp = at or micros()
            to_all(session, f"INSERT INTO {KEYSPACE}.orders (id, text) VALUES ({number}, 'x') USING TIMESTAMP {stamp}")
        return stamp

    async def ids(self, table: str) -> list[set[int]]:
        """The rows of each node."""
        return [
            {row.id for row in (await self.cluster.session_one(node)).execute(f"SELECT id FROM {table}")}
            for node in self.cluster.nodes
        ]

    async def rows(self) -> list[set[int]]:
        """The rows of the table that tests write most to."""
        return await self.ids(f"{KEYSPACE}.orders")

    def body(self, point: int, **more: Any) -> dict[str, Any]:
        """Of a check, or of a restore of the first keyspace's tables."""
        return {
            "pit": as_seconds(point),
            "keyspaces": {KEYSPACE: {"column-families": ["orders", "gone"]}},
            "destination": self.destination,
            "pit_destination": self.destination,
            **more,
        }

    async def begin_restore(self, point: int, **more: Any) -> str:
        """The request that restores to the point."""
        self.cluster.close_sessions()
        return str(await self.service.api.post("/backups/pit/run", self.body(point, **more)))

    async def schema_seen(self, after: int) -> None:
        """Every agent has looked at the schema since then: a change from now on surely came later."""
        for agent in self.service.agents:
            async with asyncio.timeout(120):
                while (await agent.ask("GET", "/v1/archiving"))["schema_seen"] * 1_000_000 < after:  # noqa: ASYNC110
                    await asyncio.sleep(0.5)

    async def all_stopped(self) -> None:
        """Return when no node runs."""
        async with asyncio.timeout(400):
            while any(node.alive for node in self.cluster.nodes):  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.1)

    async def follow(self, request: str) -> dict[str, Any]:
        """The request's status once it has succeeded."""
        return await self.service.api.follow(request, deadline=600)


@asynccontextmanager
async def three_nodes(
    directory: Path, version: str = places.CASSANDRA_50, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[ThreeNodes]:
    """The nodes up, archiving, with empty tables; ordered by Jolokia, as single nodes are by nodetool elsewhere.
    `changes`: of the agents' settings."""
    async with ScratchCluster(
        directory / "cluster", nodes=3, name="points", version=version, authentication=True, jolokia=True
    ) as cluster:
        agents = [
            AgentProcess(node, directory / f"agent{number}", cql=sessions.SUPERUSER, jolokia=True, changes=changes)
            for number, node in enumerate(cluster.nodes, 1)
        ]
        service = BackupService(cluster, directory, agents=agents)
        await service.start()
        try:
            made = ThreeNodes(service)
            await made.begin()
            yield made
        finally:
            await service.stop()
