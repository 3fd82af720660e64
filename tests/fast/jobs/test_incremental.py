"""What a backup costs after what Cassandra does all day: repairs, compactions, and a reboot of the machine."""

import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agent.cassandra import directories
from agent.cassandra.directories import Volume
from agent.jobs.copying.errors import CopyFailed
from agent.model.snapshot import SnapshotTable
from agent.pipeline.store import Store
from agent.repository.errors import ZeroBackup
from agent.wire.commands import SnapshotArguments, State, SyncArguments, UploadArguments
from tests.fast.jobs import node as node_module
from tests.fast.jobs.agent_in_memory import Agent, Command, Faults, MemoryReader, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


def plain(stored: bytes) -> bytes:
    """What an object holds: behind the header of 20 bytes, whose sixth is the codec, and before the footer of 32."""
    payload = stored[20:-32]
    return zstandard.ZstdDecompressor().decompressobj().decompress(payload) if stored[5] else payload


def put(store: MemoryStorage, faults: Faults) -> list[bytes]:
    """The plain bytes of the data objects that were put, without the snapshot's own manifest.json."""
    found = [plain(store._objects[key][0]) for key in faults.puts if "/data/" in key]
    return [body for body in found if b'"taken"' not in body]


async def test_a_repair_of_an_unchanged_table_puts_its_statistics_and_nothing_else(
    agent: Agent, node: Node, store: MemoryStorage, faults: Faults
) -> None:
    """Promise: incremental repair, which rewrites Statistics.db of every SSTable, costs one small object for each
    SSTable over 1 MiB."""
    node.sstable("shop", "orders", 3, 2_000_000)
    await agent.backup.run(backup("t1"))
    wanted = []
    for number in (1, 3):
        statistics = node.table("shop", "orders") / f"nb-{number}-big-Statistics.db"
        fresh = statistics.with_suffix(".new")
        fresh.write_bytes(f"repaired {number}".encode() * 500)
        fresh.rename(statistics)
        wanted.append(fresh.with_suffix(".db").read_bytes())
    faults.begin(None)
    await agent.backup.run(backup("t2"))
    found = put(store, faults)
    assert len(found) == len(wanted)
    for statistics_bytes in wanted:
        [body] = [body for body in found if statistics_bytes in body]
        assert len(body) - len(statistics_bytes) == 96  # Summary.db, which Cassandra rewrites in place too
    assert same(Oracle(MemoryReader(store)).check()["t2", HOST], node)


async def test_a_compaction_puts_the_new_sstable_and_nothing_else(
    agent: Agent, node: Node, store: MemoryStorage, faults: Faults
) -> None:
    """Promise: of a compacted table the bytes of the new SSTable are put, each once; nothing of the others."""
    await agent.backup.run(backup("t1"))
    table = node.table("shop", "orders")
    for path in [*table.glob("nb-1-big-*"), *table.glob("nb-2-big-*")]:
        path.unlink()
    node.sstable("shop", "orders", 4, 2_900_000)
    faults.begin(None)
    await agent.backup.run(backup("t2"))
    new = sum(path.stat().st_size for path in table.glob("nb-4-big-*"))
    assert sum(map(len, put(store, faults))) == new
    assert same(Oracle(MemoryReader(store)).check()["t2", HOST], node)


async def test_after_a_reboot_nothing_is_read_again(
    agent: Agent, node: Node, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a file system keeps its name when its device gets another number: a file whose bytes were changed behind
    its stat is not noticed, because nobody reads it."""
    await agent.backup.run(backup("t1"))
    data = node.table("shop", "orders") / "nb-1-big-Data.db"
    before = data.stat()
    with data.open("r+b") as file:
        file.write(b"not what Digest.crc32 says")
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))

    def rebooted(path: str, _: int, *others: object) -> Volume:
        return Volume(path, 77, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(node_module, "Volume", rebooted)
    outcome = await agent.backup.run(backup("t2"))
    assert outcome.state is State.SUCCESS
    assert outcome.result.targets["d1"].put_objects == 1  # type: ignore[attr-defined]
    monkeypatch.setattr(node_module, "Volume", lambda path, number, _, *others: Volume(path, number, "new", *others))
    outcome = await agent.backup.run(backup("t3"))
    assert outcome.state is State.PARTIAL, "on another file system it is read"


async def test_the_largest_table_goes_first(agent: Agent, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what takes longest begins first, so that a copy doesn't end with one stream at work."""
    node.sstable("aaa", "small", 1, 100)
    node.sstable("zzz", "large", 1, 9_000_000)
    begun: list[tuple[str, int]] = []
    tables = Store.tables

    async def noted(self: Store, given: list[SnapshotTable], *more: Any, **named: Any) -> None:
        begun.extend((table.table, sum(file.size for file in table.files)) for table in given)
        await tables(self, given, *more, **named)

    monkeypatch.setattr(Store, "tables", noted)
    await agent.backup.run(backup("t1"))
    assert [name for name, _ in begun] == ["large", "orders", "t1", "small", "empty"]
    assert [size for _, size in begun] == sorted((size for _, size in begun), reverse=True)


def test_a_file_system_is_known_again_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: where the machine numbers its devices anew, what is remembered is found by the same name."""
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(directories, "_MOUNTS", mounts)
    monkeypatch.setattr(directories, "_UUIDS", str(tmp_path / "no such directory"))
    names = []
    for number in (3, 19):
        mounts.write_text(
            f"22 1 8:{number} / /data rw - ext4 /dev/vg0/data rw\n23 1 8:40 / /var rw - ext4 /dev/vg0/var rw\n"
        )
        names.append(directories._filesystem(os.makedev(8, number)))
        assert directories._filesystem(os.makedev(8, 40)) not in names
    assert names[0] == names[1]
    assert "/dev/vg0/data" in names[0]


@pytest.mark.parametrize("kind", ["snapshot", "backup", "upload", "sync"])
async def test_nothing_to_back_up_is_an_error(tmp_path: Path, store: MemoryStorage, kind: str) -> None:
    """Promise: `nothing_to_back_up`, whichever command finds a snapshot without table and keyspace; no manifest of
    nothing, no snapshot and no intent is left."""
    agent = Agent(Node(tmp_path / "bare"), {"d1": store}, tmp_path / "bare state")
    if kind in ("upload", "sync"):
        # A snapshot that an earlier version of the agent took: this one refuses to.
        await agent.taker._snapshots.take(SnapshotArguments("t1", keep=kind == "sync"), "s")
    commands = {
        "snapshot": Command("s", SnapshotArguments("t1")),
        "backup": backup("t1"),
        "upload": Command("u", UploadArguments("t1", [target()])),
        "sync": Command("y", SyncArguments("t1", [target()])),
    }
    with pytest.raises((ZeroBackup, CopyFailed)) as caught:
        await getattr(agent, kind).run(commands[kind])
    assert caught.value.code == "nothing_to_back_up"
    agent.close()
    assert not [key for key in store._objects if "/intents/" in key or key.endswith(".manifest")]
