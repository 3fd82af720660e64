"""A state that isn't there yet when the coordinator begins."""

import asyncio
from pathlib import Path

import pytest

from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.late import LateStore
from coordinator.store.protocol import PARTS, Store
from coordinator.store.sealing import StateKeyWrong
from coordinator.store.sqlite import SqliteStore
from tests.cluster.store_samples import NOW


async def test_it_is_there_as_soon_as_it_is_opened(tmp_path: Path) -> None:
    """Promise: who was given the state before it was there is told so, and works with it afterwards; one that is there
    at once is given as it is."""
    come = asyncio.Event()

    async def opened() -> Store:
        await come.wait()
        return await SqliteStore.open(tmp_path, now=NOW)

    late, failed = LateStore(opened()), asyncio.Event()
    failed.set()
    store = await late.once_there(failed)
    assert all(hasattr(store, part) for part in (*PARTS, "lead"))
    values = store.values
    with pytest.raises(StoreUnreachable):
        await values.put("a", 1)
    come.set()
    there = await late.once_there(asyncio.Event())
    assert isinstance(there, SqliteStore)
    await values.put("a", 1)
    assert await there.values.get("a") == 1
    await store.prune(NOW)
    await late.close()


async def test_what_never_opens_it_ends_the_start() -> None:
    """Promise: another key is no reason to wait, before anybody works with the state and afterwards; and one that is
    given up is not opened any more."""

    async def refused() -> Store:
        raise StateKeyWrong("another key")

    late = LateStore(refused())
    with pytest.raises(StateKeyWrong):
        await late.once_there(asyncio.Event())
    with pytest.raises(StateKeyWrong):
        await late.kept_open()
    await late.close()
    never = LateStore(asyncio.sleep(3600))  # type: ignore[arg-type]
    await never.close()
    with pytest.raises(asyncio.CancelledError):
        _ = never.there
