"""Fetching: the manifest's bytes or nothing, never through a link, never twice."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.crypto.digest import digest
from agent.model.manifest import FileEntry
from agent.pipeline import writing
from agent.pipeline.digest_cache import DigestCache
from agent.pipeline.errors import FileDiffers, SnapshotVanished, SstableCorrupt, TargetUnwritable
from agent.pipeline.fetch import fetch_files
from agent.pipeline.store import Store
from agent.pipeline.table_run import StoredTable
from agent.pipeline.targets import StoreTarget
from agent.plan.objects import ObjectIndex
from agent.repository.errors import ObjectDamaged
from agent.repository.manifest_frame import read_parts
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Buffer, NotFound
from agent.wire.commands import SnapshotArguments
from tests.fast.jobs.agent_in_memory import Command, Faults
from tests.fast.jobs.node import HOST, Node
from tests.fast.repository.manifests import reference
from tests.fast.storage.memory import MemoryStorage

PIECE = 1024 * 1024


@dataclass
class Wanted:
    """An SSTable's files and where they go."""

    files: Sequence[FileEntry]
    directory: Path
    objects: Mapping[str, int]
    codecs: Mapping[str, int]
    keyspace: str = "shop"
    table: str = "orders"


@dataclass
class Stored:
    """A table in a store."""

    node: Node
    opened: OpenedRepository
    store: MemoryStorage
    faults: Faults
    groups: list[Wanted]
    target: Path

    async def fetch(self) -> list[Wanted]:
        """Fetch everything; what was placed."""
        placed: list[Wanted] = []

        async def wanted() -> AsyncIterator[Wanted]:
            for one in self.groups:
                yield one

        async def note(one: Wanted) -> None:
            placed.append(one)

        moved: dict[int, int] = {}

        def count(one: Wanted, size: int) -> None:
            moved[id(one)] = moved.get(id(one), 0) + size

        await fetch_files(self.opened, HOST, wanted(), note, count, gate=OPEN)
        for one in placed:
            assert moved.get(id(one), 0) == sum(entry.size for entry in one.files)
        return placed

    def there(self) -> dict[str, bytes]:
        """What stands in the directory."""
        return {
            path.relative_to(self.target).as_posix(): path.read_bytes()
            for path in self.target.rglob("*")
            if path.is_file()
        }

    def wanted(self) -> dict[str, bytes]:
        """What is to stand there."""
        return {name[2]: content for name, content in self.node.files().items()}

    def object_of(self, name: str) -> str:
        """The key of a file's first object."""
        entry = next(one for group in self.groups for one in group.files if one.name == name)
        return next(key for key in self.store._objects if entry.pieces[0].object in key)


@pytest.fixture
async def stored(tmp_path: Path) -> Stored:
    node = Node(tmp_path / "node")
    node.sstable("ks", "t", 1, 3 * PIECE + 17)
    node.sstable("ks", "t", 2, 900)
    node.sstable("ks", "t", 3, 0, index=".idx")
    (node.table("ks", "t") / "nb-1-big-Rows.db").write_bytes(b"")
    await node.take(SnapshotArguments("t1"), "c")
    tables = await node.inventory("t1")
    faults = Faults()
    store = MemoryStorage(hook=faults)
    opened = OpenedRepository("d1", store, "r1", "c1", OPEN, 4)
    command = Command("c", None)
    command.expect("d1", "ks", "t", 0, 0)
    done: list[StoredTable] = []

    async def finish(table: StoredTable) -> None:
        done.append(table)

    with closing(DigestCache(tmp_path / "digests.sqlite")) as cache:
        one = Store([StoreTarget(opened, HOST, ObjectIndex(), OPEN)], cache, command, piece_size=PIECE)
        await one.tables(list(tables), finish)
        await one.close()
    target = tmp_path / "held"
    target.mkdir()
    table = done[0]
    (frame,) = table.frames
    place = reference(frame, table_id=table.table_id, files=table.files, bytes=table.size)
    groups = [Wanted(part.files, target, part.objects, part.coded) for part in read_parts(frame, place, 1)]
    return Stored(node, opened, store, faults, groups, target)


async def test_every_byte_comes_back(stored: Stored) -> None:
    """Promise: names, bytes and modes are the manifest's; a pack is fetched once for all its files."""
    stored.faults.begin(None)
    assert len(await stored.fetch()) == len(stored.groups)
    assert stored.there() == stored.wanted()
    assert {path.stat().st_mode & 0o777 for path in stored.target.rglob("*") if path.is_file()} == {0o660}
    assert stored.faults.count == len(stored.store._objects)


async def test_what_was_fetched_is_durable_before_it_has_its_name(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: after a power cut a file that is there has its bytes: they are synced before it gets its name, and the
    directory after the last name of an SSTable, before that counts as placed."""
    done: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("synced", os.readlink(f"/proc/self/fd/{descriptor}")))

    def renamed(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        directory = os.readlink(f"/proc/self/fd/{src_dir_fd}")
        assert ("synced", f"{directory}/{old}") in done
        rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        done.append(("named", f"{directory}/{new}"))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    await stored.fetch()
    names = [path for what, path in done if what == "named"]
    assert len(names) == len(stored.wanted())
    assert done[-1] == ("synced", str(stored.target))


async def test_what_is_there_is_verified_and_not_fetched_again(stored: Stored) -> None:
    """Promise: a resume trusts complete files only after it read them; a file with other bytes is fetched anew."""
    await stored.fetch()
    stored.faults.begin(None)
    await stored.fetch()
    assert stored.faults.count == 0
    data = stored.target / "nb-1-big-Data.db"
    changed = bytearray(data.read_bytes())
    changed[-1] ^= 1
    data.write_bytes(changed)
    (stored.target / "nb-2-big-Data.db").write_bytes(b"short")
    await stored.fetch()
    assert stored.there() == stored.wanted()


async def test_damage_of_any_object_is_found(stored: Stored) -> None:
    """Promise: the manifest's bytes or an error; nothing damaged ever gets its name (I6). The error begins with the
    table and what is wrong; the long key comes last."""
    for name in ("nb-1-big-Data.db", "nb-2-big-TOC.txt"):
        key = stored.object_of(name)
        body, modified = stored.store._objects[key]
        flipped = bytearray(body)
        flipped[len(body) // 2] ^= 1
        for bad, error in ((bytes(flipped), ObjectDamaged), (body[:-1], ObjectDamaged), (b"", ObjectDamaged)):
            stored.store._objects[key] = (bad, modified)
            (stored.target / name).unlink(missing_ok=True)  # an attempt that failed of another file may have fetched it
            with pytest.raises((error, FileDiffers)) as damaged:
                await stored.fetch()
            assert damaged.value.message.startswith("shop.orders: an object is ")
            assert damaged.value.message.endswith(f": {key}")
            assert (damaged.value.fields["keyspace"], damaged.value.fields["table"]) == ("shop", "orders")
            assert name not in stored.there()
        del stored.store._objects[key]
        (stored.target / name).unlink(missing_ok=True)
        with pytest.raises(NotFound) as missing:
            await stored.fetch()
        assert missing.value.message.startswith("shop.orders: ")
        stored.store._objects[key] = (body, modified)
    await stored.fetch()
    assert stored.there() == stored.wanted()


async def test_an_object_that_grew_is_not_read_into_memory(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: whoever may write to the destination can't fill a node's memory: what the manifest names is read."""
    most = max(len(body) for body, _ in stored.store._objects.values())
    key = stored.object_of("nb-1-big-Data.db")
    _, modified = stored.store._objects[key]
    stored.store._objects[key] = (bytes(16 * PIECE), modified)
    read: list[int] = []
    get = stored.store.get

    async def counted(*given: Any, **more: Any) -> bytes:
        found = await get(*given, **more)
        read.append(len(found))
        return found

    monkeypatch.setattr(stored.store, "get", counted)
    with pytest.raises(ObjectDamaged):
        await stored.fetch()
    assert max(read) <= most


async def test_swapped_objects_are_found(stored: Stored) -> None:
    """Promise: an object's name is its content."""
    first, second = stored.object_of("nb-1-big-Data.db"), stored.object_of("nb-2-big-Data.db")
    objects = stored.store._objects
    objects[first], objects[second] = objects[second], objects[first]
    with pytest.raises(ObjectDamaged):
        await stored.fetch()


async def test_links_are_never_followed(stored: Stored, tmp_path: Path) -> None:
    """Promise: a link in the staging directory can't lead a write or a read elsewhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    os.symlink(victim, stored.target / "nb-1-big-Data.db")
    with pytest.raises(TargetUnwritable, match="symbolic"):
        await stored.fetch()
    assert victim.read_bytes() == b"untouched"


async def test_a_changed_snapshot_is_no_quiet_success(stored: Stored, tmp_path: Path) -> None:
    """Promise: a file that went, or is another one than the inventory saw, ends the copy by name."""
    tables = await stored.node.inventory("t1")
    opened = stored.opened

    async def again() -> list[StoredTable]:
        done: list[StoredTable] = []

        async def finish(table: StoredTable) -> None:
            done.append(table)

        command = Command("c", None)
        command.expect("d1", "ks", "t", 0, 0)
        with closing(DigestCache(tmp_path / "other.sqlite")) as cache:
            store = Store([StoreTarget(opened, HOST, ObjectIndex(), OPEN)], cache, command, piece_size=PIECE)
            try:
                await store.tables(list(tables), finish)
            finally:
                await store.close()
        return done

    path = next(Path(file.path) for file in tables[0].files if file.name == "nb-1-big-Data.db")
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(SnapshotVanished):
        await again()
    path.write_bytes(content[:-1])
    with pytest.raises(SnapshotVanished):
        await again()
    digest = next(Path(file.path) for file in tables[0].files if file.name == "nb-2-big-Digest.crc32")
    path.unlink()
    fresh = Path(stored.node.table("ks", "t") / "nb-1-big-Data.db")
    os.link(fresh, path)
    digest.write_bytes(b"0" * digest.stat().st_size)
    (table,) = await again()
    assert isinstance(table.error, SstableCorrupt)


async def test_a_cancel_ends_the_verification_of_what_is_there_within_a_piece(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: neither a person's cancel nor the agent's shutdown waits for a file of 100 GB to be read."""
    await stored.fetch()
    pieces: list[int] = []
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(data: Buffer) -> bytes:
        if memoryview(data).nbytes == PIECE:
            pieces.append(PIECE)
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(30)
        return digest(data)

    monkeypatch.setattr(writing, "digest", slowly)
    stored.groups = [group for group in stored.groups if any(file.size > 3 * PIECE for file in group.files)]
    fetching = asyncio.create_task(stored.fetch())
    async with asyncio.timeout(30):
        await begun.wait()
        fetching.cancel()
        asyncio.get_running_loop().call_later(0.05, go.set)
        with pytest.raises(asyncio.CancelledError):
            await fetching
    assert pieces == [PIECE]
