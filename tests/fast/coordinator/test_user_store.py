"""Users in a file are seen and changed by a second process at once."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.store.database import StoreMissing
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import Store
from coordinator.store.sqlite import FILE, SqliteStore
from tests.cluster.store_contract_people import user

NOW = 1_489_763_169.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await SqliteStore.open(tmp_path / "state", now=NOW)
    yield opened
    await opened.close()


async def test_a_second_process_writes_users_beside_a_running_coordinator(store: Store, tmp_path: Path) -> None:
    """Promise: what the command wrote while the coordinator runs is what its next look finds, and the other way
    around; both write at once, and nothing is lost."""
    beside = await SqliteStore.open_beside(tmp_path / "state")
    try:
        await asyncio.gather(
            *(store.users.add(user(f"a{number}")) for number in range(20)),
            *(beside.users.add(user(f"b{number}")) for number in range(20)),
        )
        assert len(await store.users.all()) == 40
        assert await beside.users.all() == await store.users.all()
    finally:
        await beside.close()


async def test_a_second_process_makes_no_state_and_migrates_none(tmp_path: Path) -> None:
    """Promise: a command of another release changes nothing of the state under a running coordinator."""
    with pytest.raises(StoreMissing, match="there is no state"):
        await SqliteStore.open_beside(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    await (await SqliteStore.open(tmp_path / "state", now=NOW)).close()
    with sqlite3.connect(tmp_path / "state" / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
    connection.close()
    with pytest.raises(StoreMissing, match="version"):
        await SqliteStore.open_beside(tmp_path / "state")
