"""Snapshots whose files change between their taking and their use: never a quiet success with fewer or other bytes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cassandra.directories import Volume
from agent.cassandra.inventory import read_inventory
from agent.cassandra.snapshot_notes import SnapshotNotes
from agent.jobs.copying import manifests
from agent.jobs.restore.errors import DamagedOnServer
from agent.model.manifest import TablePart
from agent.pipeline.compression import Compression
from agent.pipeline.reading import load
from agent.pipeline.sstable_run import SSTableRun
from agent.plan.backup import plan_sstable
from agent.plan.layout import PIECE_SIZE, grouped, laid_out
from agent.repository.form import PLAIN
from agent.repository.manifest import read_manifest_file
from agent.wire.commands import SnapshotArguments, State, SyncArguments, UploadArguments
from tests.fast.jobs.agent_in_memory import Agent, Command, MemoryReader, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

Change = Callable[[Path], object]


def snapshot_of(node: Node, keyspace: str = "shop", table: str = "orders", tag: str = "t1") -> Path:
    return node.table(keyspace, table) / "snapshots" / tag


async def take(agent: Agent, *, keep: bool) -> None:
    await agent.snapshot.run(Command("taken", SnapshotArguments("t1", keep=keep)))


async def copy(agent: Agent, *, kept: bool) -> Any:
    if kept:
        return await agent.sync.run(Command("copied", SyncArguments("t1", [target()])))
    return await agent.upload.run(Command("copied", UploadArguments("t1", [target()])))


def replaced(path: Path) -> None:
    """Another file of the same size, with one byte flipped: what a person or a disk's repair leaves."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def cut(path: Path) -> None:
    """Another file, a byte shorter, with the time of the one before."""
    then, content = path.stat().st_mtime_ns, path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])
    os.utime(path, ns=(then, then))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("table", "name", "change"),
    [
        (("shop", "orders"), "nb-1-big-Data.db", Path.unlink),
        (("shop", "orders"), "nb-1-big-Statistics.db", Path.unlink),
        (("shop", "orders"), "nb-1-big-TOC.txt", Path.unlink),
        (("many", "t1"), ".by_name/nb-2-big-Index.db", Path.unlink),
        (("many", "empty"), "schema.cql", Path.unlink),
        (("shop", "orders"), "nb-2-big-Index.db", replaced),
        (("shop", "orders"), "nb-2-big-Summary.db", cut),
        (("many", "t1"), "manifest.json", replaced),
        (("many", "empty"), "nb-9-big-Data.db", Path.touch),
    ],
)
async def test_a_copy_of_a_snapshot_that_changed_fails_by_name(
    agent: Agent, node: Node, store: MemoryStorage, kept: bool, table: tuple[str, str], name: str, change: Change
) -> None:
    """Promise: what is in a destination is what the snapshot held when it was taken, or nothing: a file that is gone,
    came to it or is another one is named with its table."""
    await take(agent, keep=kept)
    change(snapshot_of(node, *table) / name)
    with pytest.raises(DamagedOnServer) as caught:
        await copy(agent, kept=kept)
    assert caught.value.code == "snapshot_damaged"
    assert caught.value.fields == {"keyspace": table[0], "table": table[1], "file": name}
    assert not [key for key in store._objects if key.endswith(".manifest") or "/intents/" in key]


@pytest.mark.parametrize("kept", [True, False])
async def test_an_sstable_that_is_gone_with_all_its_files_is_missed(agent: Agent, node: Node, kept: bool) -> None:
    """Promise: what is left makes whole SSTables, and yet is no backup."""
    await take(agent, keep=kept)
    for path in snapshot_of(node).glob("nb-1-*"):
        path.unlink()
    with pytest.raises(DamagedOnServer, match=r"nb-1-big-.+ of shop\.orders is missing from the snapshot"):
        await copy(agent, kept=kept)


@pytest.mark.parametrize("keep", [True, False])
async def test_a_command_that_begins_again_does_not_note_what_is_left(agent: Agent, node: Node, keep: bool) -> None:
    """Promise: a restart between the listing and the copy hides nothing, neither from the command nor later."""
    command = backup("t1", keep=keep)
    await agent.taker.take(command, command.arguments.snapshot)
    (snapshot_of(node) / "nb-1-big-Filter.db").unlink()
    with pytest.raises(DamagedOnServer, match=r"nb-1-big-Filter\.db"):
        await agent.backup.run(command)


@pytest.mark.parametrize("kept", [True, False])
async def test_what_cassandra_itself_does_to_a_snapshot_is_no_damage(
    agent: Agent, node: Node, store: MemoryStorage, kept: bool
) -> None:
    """Promise: an index that the live table gets is added to TOC.txt in place, also in the snapshot; and data that was
    moved with its times in whole seconds, to files of other inodes, is as good as before."""
    await take(agent, keep=kept)
    with (snapshot_of(node) / "nb-1-big-TOC.txt").open("a") as toc:
        toc.write("SAI+aa+Meta.db\n")
    moved = node.data.with_name("moved")
    shutil.copytree(node.data, moved)
    for path in moved.rglob("*"):
        whole = path.stat().st_mtime_ns // 1_000_000_000 * 1_000_000_000
        os.utime(path, ns=(whole, whole))
    shutil.rmtree(node.data)
    moved.rename(node.data)
    outcome = await copy(agent, kept=kept)
    assert outcome.state is State.SUCCESS
    assert same(Oracle(MemoryReader(store)).check()["t1", HOST], node)


async def test_an_index_that_is_made_during_a_copy_ends_it_for_no_destination(
    agent: Agent, node: Node, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: TOC.txt may grow between the listing and the hour in which it is read."""
    whole, toc = node.inventory, node.table("shop", "orders") / "nb-1-big-TOC.txt"
    before = node.files()

    async def growing(tag: str, tables: Any = None) -> Any:
        found = await whole(tag, tables)
        with toc.open("a") as file:
            file.write("SAI+aa+Meta.db\n")
        return found

    with monkeypatch.context() as during:
        during.setattr(node, "inventory", growing)
        assert (await agent.backup.run(backup("t1"))).state is State.SUCCESS
    assert (await agent.backup.run(backup("t2"))).state is State.SUCCESS
    found = Oracle(MemoryReader(store)).check()
    assert same(found["t2", HOST], node)
    shutil.rmtree(node.table("shop", "orders"))
    for (keyspace, table, name), content in before.items():
        path = node.table(keyspace, table) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert same(found["t1", HOST], node)


async def test_a_manifest_of_before_has_no_times_and_is_compared_by_size(
    agent: Agent, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: on-server backups that an older agent made stay what they are."""

    def untimed(files: Any) -> Any:
        entries, objects, _ = plain(files)
        return entries, objects, msgspec.UNSET

    plain = manifests._plain
    monkeypatch.setattr(manifests, "_plain", untimed)
    await take(agent, keep=True)
    manifest = await read_manifest_file(tmp_path / "state" / "on-server" / "t1" / "manifest", "t1", HOST)
    assert {one.own_times for one in manifest.head.tables} == {msgspec.UNSET}
    index = snapshot_of(node) / "nb-1-big-Index.db"
    content = index.read_bytes()
    index.write_bytes(content[1:])
    with pytest.raises(DamagedOnServer, match=r"nb-1-big-Index\.db"):
        await copy(agent, kept=True)
    index.write_bytes(content)
    assert (await copy(agent, kept=True)).state is State.SUCCESS


async def test_a_snapshot_of_which_nothing_was_noted_is_copied_as_it_is(agent: Agent, tmp_path: Path) -> None:
    """Promise: a snapshot that an agent took before it was replaced by a newer version is still uploaded, and what an
    earlier one of the same tag has left is not taken for its note."""
    await take(agent, keep=False)
    listing = tmp_path / "state" / "on-server" / "t1" / "listing"
    earlier = listing.read_bytes()
    await agent.taker.clear("t1")
    await agent.snapshot.run(Command("later", SnapshotArguments("t1", keyspaces={"shop": []})))
    listing.write_bytes(earlier)
    assert (await copy(agent, kept=False)).state is State.SUCCESS


async def test_the_files_of_a_snapshot_go_with_its_own_notes(agent: Agent, tmp_path: Path) -> None:
    """Promise: what is noted of a snapshot that is to be copied makes no backup of it, and is gone when that is."""
    await take(agent, keep=False)
    assert await agent.on_server.listing() == []
    SnapshotNotes(tmp_path / "state" / "on-server").forget("t1")
    assert not (tmp_path / "state" / "on-server" / "t1").exists()


def test_parts_in_destinations_say_nothing_of_times(tmp_path: Path) -> None:
    """Promise: manifests in destinations are byte for byte what they were: the line of an SSTable that did not change,
    copied with other times from another disk, is the same."""
    lines = set[bytes]()
    for place in ("one", "two"):
        node = Node(tmp_path / place)
        node.sstable("shop", "orders", 1, 100)
        for path in node.table("shop", "orders").iterdir():
            os.utime(path, ns=(0, len(lines)))
        node._link(node.table("shop", "orders"), "t1")
        (table,) = read_inventory([Volume(str(node.data), 1, place, 1, 1)], "t1", None)
        (found,) = grouped(table)
        sstable = laid_out(found)
        run = SSTableRun(sstable, plan_sstable(sstable, {}, lambda *_: False, PIECE_SIZE), {}, PIECE_SIZE)
        for number, layout in enumerate(sstable.objects):
            run.loaded(number, load(sstable.files, layout, bytearray(layout.length), [PLAIN], Compression()))
        done = run.finish()
        lines.add(msgspec.json.encode(TablePart(done.files, {name.hex(): size for name, size in done.objects})))
    assert len(lines) == 1
    part = msgspec.json.decode(lines.pop())
    assert list(part) == ["files", "objects"]
    assert len(part["files"]) == 8
    assert {len(file) for file in part["files"]} == {6}
