"""A whole coordinator over a state in Cassandra's tables in memory: what it does when it stops leading."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from coordinator.leading.decision import terms_of
from coordinator.leading.leadership import Leadership, Term
from coordinator.main import prepare
from coordinator.serving.in_turns import InTurns
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.protocol import Hold
from coordinator.store.sealing import Seal
from kit.config import ConfigError
from kit.logs import Redactor
from kit.notify import Notifier
from tests.cluster.lead_in_memory import LeadInMemory, Shelf
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


async def test_a_taken_address_ends_the_start_with_its_setting_alone(tmp_path: Path) -> None:
    """Promise: who can't have its address says which setting to change, and nothing of parts that were never begun."""
    port = free_port()
    ready = prepare(configuration(tmp_path, port))
    store = await Told.open(TablesInMemory(World()), Seal(b"k" * 32), patience=30.0)
    assert store.lead is not None
    in_turns = InTurns(ready, store, store.lead, Redactor(), Notifier({}))

    async def part() -> None:
        raise AssertionError("it was begun")

    with socket.create_server((ADDRESS, port)), pytest.raises(ConfigError) as refused:
        await in_turns.serve(asyncio.Event(), [part])
    assert refused.value.fields["setting"] == "http.port"
    gc.collect()  # a coroutine that nobody awaited is told of here, and ends the test


class Slow(InTurns):
    """What acts here takes its time to end."""

    begun: asyncio.Event
    ending: asyncio.Event
    may_end: asyncio.Event

    async def _act(self, term: Term) -> None:
        try:
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.may_end.wait()


async def test_a_stop_amid_the_end_of_a_term_waits_for_that(tmp_path: Path) -> None:
    """Promise: told to stop while what acted is still ending, a coordinator lets it end before it goes on to end
    itself."""
    ready = prepare(configuration(tmp_path, free_port()))
    store = await CassandraStore.open(TablesInMemory(World()), Seal(b"k" * 32), patience=30.0)
    record = LeadInMemory(Shelf())
    slow = Slow(ready, store, record, Redactor(), Notifier({}))
    slow.begun, slow.ending, slow.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    leadership = Leadership(record, "me", terms_of(30.0), "https://me:1")
    await leadership.step()
    term = await leadership.led()
    async with asyncio.timeout(DEADLINE):
        turn = asyncio.create_task(slow._until_over(term))
        await slow.begun.wait()
        term.over.set()
        await slow.ending.wait()
        turn.cancel()
        await asyncio.sleep(0.05)
        assert not turn.done()
        slow.may_end.set()
        with contextlib.suppress(asyncio.CancelledError):
            await turn
        assert turn.cancelled()
