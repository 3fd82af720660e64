"""A whole coordinator over a state in Cassandra's tables in memory: what it does when it stops leading."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from coordinator.main import prepare
from coordinator.serving.in_turns import InTurns
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.protocol import Hold
from coordinator.store.sealing import Seal
from kit.logs import Redactor
from kit.notify import Notifier
from tests.cluster.tables_in_memory import TablesInMemory, World
from tests.fast.coordinator.test_service import ADDRESS, TOKEN, configuration, free_port

DEADLINE = 60.0


class Told(CassandraStore):
    """Tells who had the lead when the use of the state for a term began, and when all that it wrote had ended."""

    holders: list[str]

    @asynccontextmanager
    async def during(self, hold: Hold) -> AsyncIterator[CassandraStore]:
        self.holders.append(await self.holder())
        try:
            async with super().during(hold) as store:
                yield store
        finally:
            self.holders.append(await self.holder())

    async def holder(self) -> str:
        assert self.lead is not None
        lease = await self.lead.get()
        assert lease is not None
        return lease.holder


async def test_the_lead_is_given_back_when_nothing_is_written_any_more(tmp_path: Path) -> None:
    """Promise: a leader that is stopped ends all its writes first, and only then lets another one begin."""
    port = free_port()
    ready = prepare(configuration(tmp_path, port))
    store = await Told.open(TablesInMemory(World()), Seal(b"k" * 32), patience=30.0)
    assert isinstance(store, Told)
    assert store.lead is not None
    store.holders = []
    stop = asyncio.Event()
    serving = asyncio.create_task(InTurns(ready, store, store.lead, Redactor(), Notifier({})).serve(stop))
    async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://{ADDRESS}:{port}/health", headers=headers) as answer:
                    if (await answer.json())["status"] == "ok":
                        break
            assert not serving.done()
            await asyncio.sleep(0.02)
        stop.set()
        await serving
    first, last = store.holders
    assert first == last != ""
    assert await store.holder() == ""
