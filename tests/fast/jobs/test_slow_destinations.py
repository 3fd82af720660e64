"""One backup into a quick destination and one that hardly moves."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.pipeline import reading
from agent.repository.frame import ObjectType
from agent.storage.protocol import OPEN, Buffer, Gate, Put, Storage
from agent.wire.commands import ScrubArguments, State
from tests.fast.jobs.agent_in_memory import Agent, Command, MemoryReader, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

SSTABLES = 30
SIZE = 2_500_000


class Slow(MemoryStorage):
    """Takes no data until it is let go; counts what it is asked to hold at once."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.begun: list[str] = []
        self.cancelled = 0
        self.fail: Exception | None = None

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        if "/data/" in key and not self.let_go.is_set():
            self.begun.append(key)
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return await super().put(key, body, replace=replace, gate=gate)


class SlowFrames(Slow):
    """Takes everything but tables' frames."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        if "/data/" in key and memoryview(body[0])[6] != ObjectType.TABLE:
            return await MemoryStorage.put(self, key, body, replace=replace, gate=gate)
        return await super().put(key, body, replace=replace, gate=gate)


class Quick(MemoryStorage):
    """Says when a manifest has come."""

    def __init__(self) -> None:
        super().__init__()
        self.published = asyncio.Event()

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        put = await super().put(key, body, replace=replace, gate=gate)
        if key.endswith(".manifest"):
            self.published.set()
        return put


class Site:
    """An agent with both, over a node whose bytes read are counted."""

    def __init__(self, node: Node, state: Path, monkeypatch: pytest.MonkeyPatch, slow: Slow) -> None:
        for number in range(1, SSTABLES + 1):
            node.sstable("bulk", "rows", number, SIZE)
        self.node = node
        self.quick, self.slow = Quick(), slow
        storages: dict[str, Storage] = {"d1": self.quick, "d2": self.slow}
        self.agent = Agent(node, {}, state, repositories=Repositories(storages))
        self.read = 0
        read_run = reading.read_run

        def counted(file, start, into, beside=()):  # type: ignore[no-untyped-def]
            self.read += into.nbytes
            read_run(file, start, into, beside)

        monkeypatch.setattr(reading, "read_run", counted)

    @property
    def size(self) -> int:
        """Bytes of the data set."""
        return sum(len(content) for content in self.node.files().values())


@pytest.fixture
def site(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(node, tmp_path / "state", monkeypatch, Slow())
    yield made
    made.agent.close()


async def test_a_slow_destination_keeps_no_other_waiting(site: Site) -> None:
    """Promise: with one destination at a standstill the other has its whole backup, published, from one reading, and no
    more than 32 MiB were read ahead for the slow one; that one gets its own once it moves."""
    command = backup("t1", "d1", "d2")
    running = asyncio.create_task(site.agent.backup.run(command))
    async with asyncio.timeout(60):
        await site.quick.published.wait()
    assert not site.slow.let_go.is_set()
    assert site.read <= 1.05 * site.size + 32 * 1024 * 1024
    assert site.slow.cancelled > 0
    async with asyncio.timeout(10):
        while "d1" not in command.saved.get("published", {}):  # noqa: ASYNC110  # a dictionary sets no event
            await asyncio.sleep(0.01)
    assert command.saved["published"]["d1"]["outcome"] == "success"
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        outcome = await running
    assert outcome.state is State.SUCCESS
    for store in (site.quick, site.slow):
        oracle = Oracle(MemoryReader(store))
        oracle.expect("t1", [HOST])
        assert same(oracle.check(idle=True)["t1", HOST], site.node)
    for table, (files, size) in command.expected.items():
        assert command.counted[table] == [files, size], table


async def test_destinations_that_keep_pace_share_one_reading(site: Site) -> None:
    """Promise: two destinations cost the disk what one does."""
    site.slow.let_go.set()
    outcome = await site.agent.backup.run(backup("t1", "d1", "d2"))
    assert outcome.state is State.SUCCESS
    assert site.read <= 1.05 * site.size
    assert site.slow.cancelled == 0


async def test_a_cancel_ends_both_passes(site: Site) -> None:
    """Promise: a person's cancel while the slow one goes on by itself leaves no intent, and nothing that still runs."""
    command = backup("t1", "d1", "d2")
    running = asyncio.create_task(site.agent.backup.run(command))
    async with asyncio.timeout(60):
        await site.quick.published.wait()
    before = asyncio.all_tasks()
    command.undo = True
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() <= before - {running}
    assert not [key for key in site.slow._objects if "/intents/" in key]
    assert not await site.node.exists("t1")


async def test_a_snapshot_that_goes_fails_the_slow_one_alone(site: Site) -> None:
    """Promise: what is published stays a success, whatever becomes of the snapshot that the slow destination still
    reads."""
    running = asyncio.create_task(site.agent.backup.run(backup("t1", "d1", "d2")))
    async with asyncio.timeout(60):
        await site.quick.published.wait()
        while site.slow.cancelled == 0:  # noqa: ASYNC110  # a number sets no event
            await asyncio.sleep(0.01)
    for path in site.node.data.rglob("snapshots/t1/nb-1?-big-Data.db"):
        path.unlink()
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        outcome = await running
    assert outcome.state is State.PARTIAL
    results = outcome.result.targets  # type: ignore[attr-defined]
    assert (results["d1"].outcome, results["d2"].outcome) == ("success", "failed")
    assert "snapshot" in results["d2"].error["message"]
    assert not [key for key in site.slow._objects if "/intents/" in key or key.endswith(".manifest")]


async def test_a_slow_frame_keeps_no_other_waiting(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: so it is when what doesn't move is the list of a large table, which each destination has of its own."""
    for number in range(300):
        node.sstable("wide", "many", number, 10)
    site = Site(node, tmp_path / "state", monkeypatch, SlowFrames())
    running = asyncio.create_task(site.agent.backup.run(backup("t1", "d1", "d2")))
    async with asyncio.timeout(60):
        await site.quick.published.wait()
    assert site.slow.cancelled > 0
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        assert (await running).state is State.SUCCESS
    oracle = Oracle(MemoryReader(site.slow))
    oracle.expect("t1", [HOST])
    assert same(oracle.check(idle=True)["t1", HOST], node)
    site.agent.close()


async def test_a_slow_destination_is_healed_all_the_same(site: Site) -> None:
    """Promise: what a scrub noted as damaged is put anew in the pass that a slow destination has by itself."""
    site.slow.let_go.set()
    await site.agent.backup.run(backup("t0", "d2"))
    key = max((key for key in site.slow._objects if "/data/" in key), key=lambda key: len(site.slow._objects[key][0]))
    body, when = site.slow._objects[key]
    site.slow._objects[key] = (body[:50] + bytes([body[50] ^ 1]) + body[51:], when)
    outcome = await site.agent.scrub.run(Command("scrub", ScrubArguments(target("d2"), whole=True)))
    assert outcome.state is State.PARTIAL
    site.slow.let_go.clear()
    running = asyncio.create_task(site.agent.backup.run(backup("t1", "d1", "d2")))
    async with asyncio.timeout(60):
        await site.quick.published.wait()
        while site.slow.cancelled == 0:  # noqa: ASYNC110  # a number sets no event
            await asyncio.sleep(0.01)
    site.slow.let_go.set()
    async with asyncio.timeout(60):
        assert (await running).state is State.SUCCESS
    assert site.slow._objects[key][0] == body
