"""Two destinations while one of them breaks, or the whole is cancelled."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agent.cassandra.directories import Volume
from agent.cassandra.inventory import read_inventory
from agent.crypto.digest import digest, file_digest
from agent.model.snapshot import SnapshotTable
from agent.pipeline.budget import BYTES
from agent.pipeline.digest_cache import DigestCache
from agent.pipeline.errors import SnapshotVanished
from agent.pipeline.store import OwnFile, Store
from agent.pipeline.targets import StoreTarget
from agent.plan.objects import ObjectIndex
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Buffer, Gate, Put
from tests.fast.jobs.agent_in_memory import Command
from tests.fast.jobs.node import HOST, Node
from tests.fast.storage.memory import MemoryStorage


class Slow(MemoryStorage):
    """Like a store whose request is in a thread's hands: a cancel takes effect only after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = 0
        self.begun = asyncio.Event()
        self.changed: list[str] = []

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        self.sending += 1
        self.begun.set()
        before = b"".join(body)
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            if b"".join(body) != before:
                self.changed.append(key)
            self.sending -= 1
        raise AssertionError("it never ends by itself")


class Broken(MemoryStorage):
    """Fails in a way that nobody foresaw, once the other one sends."""

    def __init__(self, other: Slow) -> None:
        super().__init__()
        self._other = other

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        await self._other.begun.wait()
        raise ValueError("a bug")


class Waiting(MemoryStorage):
    """Never answers, and lets go at once when it is cancelled."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        await asyncio.Event().wait()
        raise AssertionError("it never ends by itself")


def target(name: str, storage: MemoryStorage) -> StoreTarget:
    return StoreTarget(OpenedRepository(name, storage, "r1", "c1", OPEN, 4), HOST, ObjectIndex(), OPEN)


def snapshot(node: Node, tag: str) -> list[SnapshotTable]:
    """The files of a new snapshot of the table."""
    node._link(node.table("shop", "orders"), tag)
    return list(read_inventory([Volume(str(node.data), 1, "fs", 1, 1)], tag, None))


@pytest.fixture
def tables(tmp_path: Path) -> list[SnapshotTable]:
    node = Node(tmp_path / "node")
    for number in range(1, 5):
        node.sstable("shop", "orders", number, 3_000_000)
    return snapshot(node, "t1")


class Stored:
    """A store of the tables' bytes in two destinations."""

    def __init__(self, state: Path, *storages: MemoryStorage, most_bytes: int = BYTES) -> None:
        tally = Command("c1", None)
        for number in range(len(storages)):
            tally.expect(f"d{number}", "shop", "orders", 0, 0)
        self.cache = DigestCache(state / "digests.sqlite")
        targets = [target(f"d{number}", storage) for number, storage in enumerate(storages)]
        self.store = Store(targets, self.cache, tally, most_bytes=most_bytes)

    async def run(self, how: str, tables: list[SnapshotTable]) -> None:
        """Store the tables' SSTables, or their own files."""
        if how == "tables":

            async def finish(_: object) -> None:
                return None

            await self.store.tables(list(tables), finish)
        else:
            own = [OwnFile(one.keyspace, one.table, file) for one in tables for file in one.files]
            await self.store.own_files([one for one in own if one.file.name == "manifest.json"])

    async def close(self) -> None:
        await self.store.close()
        self.cache.close()


HOW = pytest.mark.parametrize("how", ["tables", "own files"])


@HOW
async def test_a_destination_that_breaks_leaves_no_other_sending(
    how: str, tables: list[SnapshotTable], tmp_path: Path
) -> None:
    """Promise: a buffer is reused only when nobody sends from it any more, whatever went wrong: else an object would
    hold other bytes than its name says."""
    slow = Slow()
    stored = Stored(tmp_path, slow, Broken(slow))
    with pytest.raises(ExceptionGroup) as raised:
        await stored.run(how, tables)
    assert (slow.sending, slow.changed) == (0, [])
    assert raised.value.subgroup(ValueError) is not None
    await stored.close()


@HOW
async def test_a_cancel_waits_for_every_destination(how: str, tables: list[SnapshotTable], tmp_path: Path) -> None:
    """Promise: the same when it is cancelled, though one destination lets go at once."""
    slow = Slow()
    stored = Stored(tmp_path, Waiting(), slow)
    running = asyncio.create_task(stored.run(how, tables))
    await slow.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (slow.sending, slow.changed) == (0, [])
    await stored.close()


def appended(path: Path, component: str) -> None:
    """As Cassandra 4.1 does it."""
    with path.open("a") as toc:
        toc.write(f"{component}\n")


def sorted_in(path: Path, component: str) -> None:
    """As Cassandra 5.0 does it: the same file, written anew."""
    path.write_text("".join(f"{line}\n" for line in sorted({component, *path.read_text().splitlines()})))


@pytest.mark.parametrize("grow", [appended, sorted_in])
async def test_an_index_that_is_made_while_a_table_is_stored_is_no_change(
    tmp_path: Path, grow: Callable[[Path, str], None]
) -> None:
    """Promise: Cassandra adds the index to TOC.txt in place, and so through the hard link to the snapshot's. What it
    held is stored; of one that named more than the snapshot has when that was listed, the lines that are true of it."""
    node, store = Node(tmp_path / "node"), MemoryStorage()
    node.sstable("shop", "orders", 1, 30_000)
    live = node.table("shop", "orders") / "nb-1-big-TOC.txt"
    before, digests = live.read_bytes(), []
    for tag, component in (("t1", "SAI+aa+Meta.db"), ("t2", "SAI+bb+Meta.db")):
        tables = snapshot(node, tag)
        grow(live, component)
        stored = Stored(tmp_path, store)
        await stored.run("tables", tables)
        known = stored.cache.files("fs", tables[0].table_id, "nb-1-big")[live.name]
        digests.append((known.size, known.digest))
        await stored.close()
    texts = (before, before + b"\n" * len("SAI+aa+Meta.db\n"))
    assert digests == [(len(text), file_digest([digest(text)], len(text))) for text in texts]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("nb-1-big-TOC.txt", "shorter"),
        ("nb-1-big-TOC.txt", "another"),
        ("nb-1-big-Index.db", "longer"),
        ("nb-1-big-Index.db", "shorter"),
        ("nb-1-big-Index.db", "another"),
    ],
)
async def test_a_file_that_changes_while_a_table_is_stored_ends_it(tmp_path: Path, name: str, change: str) -> None:
    """Promise: nothing else that becomes longer is stored as if it were what the listing saw, nor a TOC.txt that was
    replaced or cut."""
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 30_000)
    tables = snapshot(node, "t1")
    path = node.table("shop", "orders") / "snapshots" / "t1" / name
    content = path.read_bytes()
    if change == "another":
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").rename(path)
    else:
        path.write_bytes(content + b"x" if change == "longer" else content[:-1])
    stored = Stored(tmp_path, MemoryStorage())
    with pytest.raises(SnapshotVanished, match=name):
        await stored.run("tables", tables)
    await stored.close()


async def test_what_a_failed_table_did_not_come_to_is_not_forgotten(tmp_path: Path) -> None:
    """Promise: one damaged SSTable does not cost reading all the others of its table anew."""
    node, store = Node(tmp_path / "node"), MemoryStorage()
    for number in range(1, 6):
        node.sstable("shop", "orders", number, 30_000)
    for tag in ("t1", "t2"):
        stored = Stored(tmp_path, store, most_bytes=1_000)  # one object after the other
        tables = snapshot(node, tag)
        await stored.run("tables", tables)
        known = {number: stored.cache.files("fs", tables[0].table_id, f"nb-{number}-big") for number in range(1, 6)}
        assert all(known[number] for number in (4, 5)), tag
        await stored.close()
        node.sstable("shop", "orders", 1, 31_000)
        data = node.sstable("shop", "orders", 3, 31_000).with_name("nb-2-big-Data.db")
        data.with_suffix(".new").write_bytes(bytes(30_000))
        data.with_suffix(".new").rename(data)
