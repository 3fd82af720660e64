"""A real node with a keyspace of the coordinator's, which each test finds empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio

from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.connecting import connected
from coordinator.store.cassandra.schema import TABLES
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal
from tests.cluster.scratch import ScratchCluster
from tests.cluster.store_samples import NOW

KEY = b"k" * 32


def settings_of(cluster: ScratchCluster, keyspace: str = "state_of_tests", **changes: object) -> StateSettings:
    """The `[state]` table for a keyspace of that cluster."""
    made = StateSettings(
        kind="cassandra",
        contact_points=cluster.contact_points,
        port=cluster.nodes[0].spec.native_port,
        keyspace=keyspace,
        replication={cluster.nodes[0].spec.dc: min(3, len(cluster.nodes))},
    )
    return msgspec.structs.replace(made, **changes)


class CassandraSite:
    """A keyspace."""

    def __init__(self, settings: StateSettings) -> None:
        self.settings = settings
        self._opened: list[Store] = []

    async def open(self, now: float = NOW, key: bytes = KEY) -> Store:
        """The state as a fresh process finds it."""
        store = await connected(self.settings, Seal(key), None, None)
        self._opened.append(store)
        await store.prune(now)
        return store

    async def close(self) -> None:
        """Close what was opened."""
        for store in self._opened:
            await store.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def state_node(servers: Path) -> AsyncIterator[ScratchCluster]:
    """One node of Cassandra 5.0 for the tests of this folder: one that stops or freezes it brings it back."""
    async with ScratchCluster(servers / "state", nodes=1, name="state") as cluster:
        yield cluster


@pytest_asyncio.fixture
async def site(state_node: ScratchCluster) -> AsyncIterator[CassandraSite]:
    """The keyspace, emptied."""
    session = await state_node.session()
    kept = [
        row[0]
        for row in session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name='state_of_tests'")
    ]
    for table in TABLES & set(kept):
        # One without rows, too: what was deleted hides what is older.
        session.execute(f"TRUNCATE state_of_tests.{table}")
    made = CassandraSite(settings_of(state_node))
    yield made
    await made.close()
