"""Writes of a state in Cassandra that are under way when their coordinator's term ends, over tables in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from coordinator.model.leading import Lease
from coordinator.store.cassandra import patience, store
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.database import StoreFailed
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal
from tests.cluster.store_samples import command
from tests.cluster.tables_in_memory import Outcome, TablesInMemory, World

DEADLINE = 20.0


class Term:
    """A coordinator's time of leading over a world whose answers can be lost, and whose steps can be slow."""

    def __init__(self) -> None:
        self.world = World()
        self.lasts = True
        self.away = False
        self.lost = asyncio.Event()
        """an answer was lost"""
        self.slow: asyncio.Event | None = None
        """while it isn't set no step is done"""
        self.waiting = asyncio.Event()
        """a step waits for that"""

    async def hold(self) -> None:
        while not self.lasts:
            await asyncio.Event().wait()

    async def turn(self) -> None:
        await asyncio.sleep(0)
        if self.slow is not None:
            self.waiting.set()
            await self.slow.wait()

    def fate(self, number: int, call: str) -> Outcome:
        if self.away:
            self.lost.set()
        return Outcome.LOST_BEFORE if self.away else Outcome.DONE

    async def open(self, seconds: float = 30.0) -> CassandraStore:
        """The state, whoever leads."""
        tables = TablesInMemory(self.world, self.fate, self.turn)
        return await CassandraStore.open(tables, Seal(b"k" * 32), patience=seconds)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a store in memory need not be long."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(store, "FINISH_SECONDS", 0.05)


@pytest.fixture
def term() -> Term:
    return Term()


@pytest.fixture
async def begun(term: Term) -> AsyncIterator[tuple[Store, Store, AsyncExitStack]]:
    """The state as everybody has it, as the leader has it, and what ends his use of it."""
    plain = await term.open()
    async with AsyncExitStack() as stack:
        yield plain, await stack.enter_async_context(plain.during(term.hold)), stack


async def test_a_write_that_is_tried_again_is_not_once_the_term_is_over(
    term: Term, begun: tuple[Store, Store, AsyncExitStack]
) -> None:
    """Promise: begun while the term lasted, and repeated because Cassandra gave no answer, a write never lands after
    the term, whoever waits for it."""
    plain, led, stack = begun
    term.away = True
    writing = asyncio.create_task(led.values.put("a", "stale"))
    async with asyncio.timeout(DEADLINE):
        await term.lost.wait()
        term.lasts = False
        term.away = False
        await plain.values.put("a", "new")
        await asyncio.sleep(0.05)
        assert await plain.values.get("a") == "new"
        writing.cancel()
        await stack.aclose()
    assert await plain.values.get("a") == "new"


async def test_a_write_that_waits_for_another_of_the_same_is_not_done_after_the_term(
    term: Term, begun: tuple[Store, Store, AsyncExitStack]
) -> None:
    """Promise: what queued behind a slow write of the same record is not written once the term is over."""
    plain, led, stack = begun
    term.slow = asyncio.Event()
    writes = [asyncio.create_task(led.values.put("a", number)) for number in (1, 2)]
    async with asyncio.timeout(DEADLINE):
        await term.waiting.wait()
        term.lasts = False
        term.slow.set()
        await asyncio.sleep(0.05)
        for write in writes:
            write.cancel()
        await stack.aclose()
    assert await plain.values.get("a") is None


async def test_what_is_being_written_at_the_end_is_done_before_it(
    term: Term, begun: tuple[Store, Store, AsyncExitStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a write whose caller was cancelled is whole, and over, before the lead can be given back."""
    monkeypatch.setattr(store, "FINISH_SECONDS", DEADLINE)
    plain, led, stack = begun
    term.slow = asyncio.Event()
    writing = asyncio.create_task(led.commands.put([command("c1"), command("c2")]))
    async with asyncio.timeout(DEADLINE):
        await term.waiting.wait()
        writing.cancel()
        term.slow.set()
        await stack.aclose()
    kept = next(record for key, record in term.world.records.items() if key.kind == "request")
    assert {name for _, name in kept.rows} == {"c1", "c2"}
    assert {each.id for each in await plain.commands.of("r1")} == {"c1", "c2"}


async def test_what_can_not_be_written_at_the_end_is_cut_off(
    term: Term, begun: tuple[Store, Store, AsyncExitStack]
) -> None:
    """Promise: with Cassandra away the end of a term waits for no write, none lands later, and none is begun."""
    plain, led, stack = begun
    term.away = True
    writing = asyncio.create_task(led.values.put("a", "stale"))
    async with asyncio.timeout(DEADLINE):
        await term.lost.wait()
        writing.cancel()
        await stack.aclose()
    term.away = False
    await asyncio.sleep(0.05)
    assert await plain.values.get("a") is None
    with pytest.raises(StoreFailed):
        await led.values.put("a", "stale")
    with pytest.raises(StoreFailed):
        await led.commands.put([command("c1")])
    assert await plain.values.get("a") is None


async def test_waiting_for_another_write_counts_as_waiting(term: Term) -> None:
    """Promise: a write that queues behind one that hangs fails by name within its patience, as if Cassandra itself gave
    no answer."""
    hung = await term.open(seconds=0.05)
    term.slow = asyncio.Event()
    first = asyncio.create_task(hung.values.put("a", 1))
    await term.waiting.wait()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(StoreUnreachable):
            await hung.values.put("a", 2)
    term.slow.set()
    await first
    assert await hung.values.get("a") == 1


async def test_nothing_holds_back_the_record_of_who_leads(
    term: Term, begun: tuple[Store, Store, AsyncExitStack]
) -> None:
    """Promise: the lead is asked for and given back also through the state as the leader has it, when his term is over:
    that is what begins the next one."""
    plain, led, _ = begun
    term.lasts = False
    assert plain.lead is not None
    assert led.lead is not None
    lease = Lease(holder="a", fence=1, beat=1, seconds=30.0, url="http://127.0.70.9:1")
    async with asyncio.timeout(DEADLINE):
        assert await led.lead.swap(None, lease)
        assert await plain.lead.get() == lease
