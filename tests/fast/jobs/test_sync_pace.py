"""How a sync from a destination goes along: limits of either side, a target at a standstill, how much is held."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.jobs.copying import rate
from agent.pipeline.transfer import MOST_BYTES
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.storage.protocol import OPEN, Buffer, Gate, Put, Storage
from agent.wire.commands import State, SyncArguments, Target
from tests.fast.jobs.agent_in_memory import Agent, Command, MemoryReader, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_slow_destinations import Quick, Slow
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

SSTABLES = 20
SIZE = 2_500_000


class Counting:
    """A gate that lets all through; how much it was asked for."""

    free = True

    def __init__(self) -> None:
        self.passed = 0

    def pass_bytes(self, count: int) -> None:
        self.passed += count


class Gated(Repositories):
    """Destinations each of whose commands has a limit of its own."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        super().__init__(storages)
        self.gates: dict[str, Counting] = {name: Counting() for name in storages}

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
        async with super().opened(target, waiting) as opened:
            yield replace(opened, gate=self.gates[target.destination])


class Counted(MemoryStorage):
    """Tells how many bytes of data objects were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        found = await super().get(key, start, length, gate=gate)
        if "/data/" in key:
            self.read += len(found)
        return found


class Stopping(Quick):
    """Takes no data while it `stands_still`, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.stands_still: Callable[[], bool] = lambda: False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        if "/data/" in key and self.stands_still():
            await self.let_go.wait()
        return await super().put(key, body, replace=replace, gate=gate)


class Site:
    """A source with one backup, a quick target, and one that stands still until it is let go."""

    def __init__(self, node: Node, state: Path) -> None:
        for number in range(1, SSTABLES + 1):
            node.sstable("bulk", "rows", number, SIZE)
        self.node = node
        self.source, self.quick, self.slow = Counted(), Stopping(), Slow()
        self.repositories = Gated({"d0": self.source, "d1": self.quick, "d2": self.slow})
        self.agent = Agent(node, {}, state, repositories=self.repositories)

    @property
    def size(self) -> int:
        """Bytes that the source holds."""
        return sum(len(body) for key, (body, _) in self.source._objects.items() if "/data/" in key)

    def check(self, *stores: MemoryStorage) -> None:
        for store in stores:
            oracle = Oracle(MemoryReader(store))
            oracle.expect("t1", [HOST])
            assert same(oracle.check(idle=True)["t1", HOST], self.node)


@pytest.fixture
async def site(node: Node, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(node, tmp_path / "state")
    await made.agent.backup.run(backup("t1", "d0"))
    yield made
    made.agent.close()


def sync(*names: str) -> Command:
    arguments = SyncArguments("t1", [target(name) for name in names], source=target("d0"), source_host_id=HOST)
    return Command("sync-t1", arguments)


async def test_a_slow_target_keeps_no_other_waiting(site: Site) -> None:
    """Promise: with one target at a standstill the other has its whole backup, published; the slow one gets its own
    once it moves, for which the source is read a second time."""
    command = sync("d1", "d2")
    running = asyncio.create_task(site.agent.sync.run(command))
    async with asyncio.timeout(60):
        await site.quick.published.wait()
    assert not site.slow.let_go.is_set()
    assert site.source.read <= site.size + 2 * MOST_BYTES
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        assert (await running).state is State.SUCCESS
    site.check(site.quick, site.slow)
    for table, (files, size) in command.expected.items():
        assert command.counted[table] == [files, size], table


async def test_no_more_is_held_than_the_budget(site: Site) -> None:
    """Promise: a target that takes nothing has the source read no further than what may be in flight."""
    running = asyncio.create_task(site.agent.sync.run(sync("d2")))
    async with asyncio.timeout(60):
        read = -1
        while read != site.source.read or not site.slow.begun:  # it stands still once nothing more is read
            read = site.source.read
            await asyncio.sleep(0.2)
    assert 0 < site.source.read <= MOST_BYTES + 1024 * 1024 < site.size
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        await running
    site.check(site.slow)


async def test_a_target_that_goes_on_alone_takes_its_room_along(site: Site) -> None:
    """Promise: once one was parted with the others hold no more than the rest of the budget, though they come to a
    standstill as well; the one by itself, at its first object still, has the other part."""
    site.quick.stands_still = lambda: site.slow.cancelled > 0
    running = asyncio.create_task(site.agent.sync.run(sync("d1", "d2")))

    def held() -> int:
        return site.source.read - sum(len(body) for key, (body, _) in site.quick._objects.items() if "/data/" in key)

    async with asyncio.timeout(60):
        read = -1
        while read != site.source.read or not site.slow.cancelled:
            read = site.source.read
            await asyncio.sleep(0.2)
    assert site.slow.cancelled
    assert SIZE < held() <= MOST_BYTES // 2 + SIZE // 8
    site.quick.let_go.set()
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        assert (await running).state is State.SUCCESS
    site.check(site.quick, site.slow)


async def test_its_pace_says_nothing_of_snapshots(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: how long a snapshot gets to live is not measured by a sync that reads none."""
    monkeypatch.setattr(rate, "LEAST_BYTES", 1)
    site.slow.let_go.set()
    before = site.agent.rate.expected()
    await site.agent.sync.run(sync("d2"))
    assert site.agent.rate.expected() == before
    await site.agent.backup.run(backup("t2", "d1"))
    assert site.agent.rate.expected() != before


async def test_both_limits_are_passed(site: Site) -> None:
    """Promise: what is read passes the source's limit and what is put the target's."""
    site.slow.let_go.set()
    for gate in site.repositories.gates.values():
        gate.passed = 0
    await site.agent.sync.run(sync("d2"))
    gates = site.repositories.gates
    assert gates["d0"].passed >= site.size
    assert gates["d2"].passed >= site.size
    assert gates["d1"].passed == 0
