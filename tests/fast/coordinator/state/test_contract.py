"""Every store keeps the same promises: SQLite's, and Cassandra's over tables in memory (tests/real: over real ones)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal
from coordinator.store.sqlite import SqliteStore
from tests.cluster.store_contract import StoreContract
from tests.cluster.store_samples import NOW, Site
from tests.cluster.tables_in_memory import TablesInMemory, World


class SqliteSite:
    """A state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: list[Store] = []

    async def open(self, now: float = NOW) -> Store:
        store = await SqliteStore.open(self._directory, now=now)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


class MemorySite:
    """A world of tables."""

    def __init__(self) -> None:
        self._world = World()

    async def open(self, now: float = NOW) -> Store:
        store = await CassandraStore.open(TablesInMemory(self._world), Seal(b"k" * 32), patience=30.0)
        await store.prune(now)
        return store


class TestSqlite(StoreContract):
    """The default."""

    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        made = SqliteSite(tmp_path / "state")
        yield made
        await made.close()


class TestCassandraInMemory(StoreContract):
    """All of Cassandra's store but its CQL."""

    @pytest.fixture
    def site(self) -> Site:
        return MemorySite()
