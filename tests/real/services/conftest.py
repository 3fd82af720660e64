"""One real node with its agent and a coordinator, shared by the tests of a module; data, destinations and an oracle."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cassandra.cluster import Session

from tests.cluster.cassandra import CassandraNode
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess
from tests.oracle.checker import Oracle
from tests.oracle.reader import DirectoryReader

ROWS = 300
CLUSTER = "one"
QUICK = {"sweep": {"margin_seconds": 0.5}}
"""What tests make short."""


@dataclass
class Site:
    """A node, its agent, its coordinator, and a keyspace of its own."""

    cluster: ScratchCluster
    agent: AgentProcess
    coordinator: CoordinatorProcess
    session: Session
    keyspace: str
    oracles: dict[str, Oracle] = field(default_factory=dict)

    @property
    def node(self) -> CassandraNode:
        return self.cluster.nodes[0]

    async def destination(self, name: str) -> dict[str, str]:
        """A new local destination, known to the agent alone; its target."""
        await self.agent.ask(
            "PUT", f"/v1/destinations/{name}", {"revision": 1, "settings": {"provider": "local", "path": name}}
        )
        check = {"initialise": True, "cluster_name": "one_50", "conformance": False}
        report = await self.agent.ask("POST", f"/v1/destinations/{name}/check", check)
        assert report["ok"], report
        self.oracles[name] = Oracle(DirectoryReader(self.agent.local_root / name))
        return {
            "destination": name,
            "repository_id": report["repository_id"],
            "cluster_id": report["cluster_id"],
        }

    async def backup(self, target: dict[str, str], tag: str) -> Any:
        """A backup of the keyspace, which must succeed; its target's result."""
        result = await self.agent.do("backup", self.backup_arguments(target, tag))
        return result["targets"][target["destination"]]

    def backup_arguments(self, target: dict[str, str], tag: str) -> dict[str, Any]:
        return {"snapshot": {"tag": tag, "keyspaces": {self.keyspace: []}}, "targets": [target]}

    def snapshots(self) -> set[str]:
        """Tags of the snapshots on the node's disks, Cassandra's own left out."""
        found = set()
        for data in self.node.data_directories:
            found |= {path.name for path in data.glob("*/*/snapshots/*")}
        return {name for name in found if not name.startswith(("truncated-", "dropped-"))}

    def staging(self) -> list[Path]:
        """What is left of restores on the node's volumes."""
        places = [*self.node.data_directories, *(data.parent for data in self.node.data_directories)]
        return [path for place in places for path in place.glob(".helenus*/**/*") if path.is_file()]

    def insert(self, first: int, count: int) -> None:
        for table in ("plain", "other"):
            statement = self.session.prepare(f"INSERT INTO {self.keyspace}.{table} (id, text) VALUES (?, ?)")
            for number in range(first, first + count):
                self.session.execute(statement, (number, f"{table} {number} " + "x" * 200))

    def rows(self, table: str = "plain") -> dict[int, str]:
        return {row.id: row.text for row in self.session.execute(f"SELECT id, text FROM {self.keyspace}.{table}")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the services of a module keep everything."""
    return tmp_path_factory.mktemp("services")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(one_node_50: ScratchCluster, place: Path) -> AsyncIterator[Site]:
    """The site with two tables of ROWS rows each. A test leaves agent and coordinator running and the rows as they
    were."""
    agent = AgentProcess(one_node_50.nodes[0], place / "agent", changes=QUICK)
    coordinator = CoordinatorProcess([agent], place / "coordinator", cluster=CLUSTER, cluster_name="one_50")
    session = await one_node_50.session()
    site = Site(one_node_50, agent, coordinator, session, f"site_{secrets.token_hex(4)}")
    session.execute(
        f"CREATE KEYSPACE {site.keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}}"
    )
    for table in ("plain", "other"):
        session.execute(f"CREATE TABLE {site.keyspace}.{table} (id int PRIMARY KEY, text text)")
    site.insert(0, ROWS)
    await agent.start()
    await coordinator.start()
    yield site
    await coordinator.stop()
    await agent.stop()
    session.execute(f"DROP KEYSPACE {site.keyspace}")
