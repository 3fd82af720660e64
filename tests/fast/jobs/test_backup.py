"""Backup, upload and sync over a store in memory, with the oracle looking after each."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.cassandra.errors import CassandraUnavailable, SnapshotMissing
from agent.jobs.copying.errors import CopyFailed, SnapshotGivenUp, SnapshotNotKept
from agent.repository.errors import BackupDeleted, BackupExists, IntentForeign
from agent.repository.keys import deleted_key, intent_key, intents_prefix
from agent.storage.protocol import OPEN, Buffer, DestinationFull, Gate, Put
from agent.wire.commands import BackupArguments, SnapshotArguments, State, SyncArguments, UploadArguments
from agent.wire.destinations import ON_SERVER
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Command, Faults, MemoryReader, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Backup, Oracle


def backup(tag: str = "t1", *destinations: str, keep: bool = False) -> Command:
    arguments = BackupArguments(SnapshotArguments(tag, keep=keep), [target(name) for name in destinations or ("d1",)])
    return Command(f"command-{tag}", arguments)


def same(found: Backup, node: Node) -> bool:
    """Whether the backup's files are the live ones (the snapshot's own apart)."""
    wanted = {name: hashlib.sha256(content).hexdigest() for name, content in node.files().items()}
    own = ("manifest.json", "schema.cql")
    return {name: digest for name, digest in found.files.items() if name[2] not in own} == wanted


async def test_a_backup_holds_every_byte_of_the_node(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: what is reported success is complete, byte for byte, and the snapshot is gone."""
    command = backup()
    outcome = await agent.backup.run(command)
    assert outcome.state is State.SUCCESS
    oracle = Oracle(MemoryReader(store))
    oracle.expect("t1", [HOST])
    found = oracle.check()
    assert same(found["t1", HOST], node)
    assert {name[2] for name in found["t1", HOST].files} >= {"manifest.json", "schema.cql"}
    assert not await node.exists("t1")
    assert [entry async for entry in store.list(intents_prefix(CLUSTER, HOST))] == []
    result = outcome.result.targets["d1"]  # type: ignore[attr-defined]
    for table, (files, size) in command.expected.items():
        assert command.counted[table] == [files, size]
    assert result.files == sum(files for files, _ in command.expected.values())
    assert result.bytes == sum(result.sizes.values()) == sum(size for _, size in command.expected.values())


async def test_an_unchanged_node_costs_one_small_object(agent: Agent, faults: Faults, store: MemoryStorage) -> None:
    """Promise: what did not change is neither read nor put again; only the snapshot's own manifest.json is new."""
    await agent.backup.run(backup("t1"))
    faults.begin(None)
    outcome = await agent.backup.run(backup("t2"))
    assert outcome.result.targets["d1"].put_objects == 1  # type: ignore[attr-defined]
    assert faults.count < 16
    Oracle(MemoryReader(store)).check()


async def test_a_lost_cache_costs_reading_but_no_puts(
    agent: Agent, node: Node, store: MemoryStorage, tmp_path: Path
) -> None:
    """Promise: local state is a cache; the destination is the truth."""
    await agent.backup.run(backup("t1"))
    other = Agent(node, {"d1": store}, tmp_path / "new state", agent_id="a1")
    try:
        outcome = await other.backup.run(backup("t2"))
    finally:
        other.close()
    assert outcome.result.targets["d1"].put_objects == 1  # type: ignore[attr-defined]


async def test_a_rewritten_statistics_file_becomes_a_second_object(
    agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: components that Cassandra rewrites in place do not cost the rest of the SSTable, and both backups hold
    their own bytes."""
    await agent.backup.run(backup("t1"))
    statistics = node.table("shop", "orders") / "nb-1-big-Statistics.db"
    new = statistics.with_suffix(".new")
    new.write_bytes(b"repaired" * 600)
    new.rename(statistics)
    outcome = await agent.backup.run(backup("t2"))
    assert outcome.result.targets["d1"].put_objects == 2  # type: ignore[attr-defined]
    found = Oracle(MemoryReader(store)).check()
    name = ("shop", "orders", "nb-1-big-Statistics.db")
    assert found["t1", HOST].files[name] != found["t2", HOST].files[name]


async def test_names_that_repeat_on_a_wiped_node_harm_no_older_backup(
    agent: Agent, node: Node, store: MemoryStorage, tmp_path: Path
) -> None:
    """Promise: content names the object; the same file name with other bytes is another object."""
    await agent.backup.run(backup("t1"))
    oracle = Oracle(MemoryReader(store))
    before = oracle.check()["t1", HOST].files
    node.sstable("shop", "orders", 1, 2_500_000)
    await agent.backup.run(backup("t2"))
    found = oracle.check()
    assert found["t1", HOST].files == before
    assert same(found["t2", HOST], node)


async def test_a_damaged_data_file_is_named_and_left_out(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: a Data.db that differs from Cassandra's Digest.crc32 is never a quiet success."""
    data = node.sstable("many", "bad", 1, 50_000)
    content = bytearray(data.read_bytes())
    content[30_000] ^= 1
    data.write_bytes(content)
    command = backup()
    outcome = await agent.backup.run(command)
    assert outcome.state is State.PARTIAL
    result = outcome.result.targets["d1"]  # type: ignore[attr-defined]
    assert (result.outcome, result.error["code"]) == ("partial", "sstable_corrupt")
    assert "many.bad" in result.error["message"]
    assert any("sstable_corrupt" in text for text in command.errors)
    tables = {name[:2] for name in Oracle(MemoryReader(store)).check()["t1", HOST].files}
    assert ("many", "bad") not in tables
    assert ("many", "t1") in tables


async def test_an_sstable_without_cassandras_digest_is_stored_and_named(
    agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: bytes that Cassandra vouches for nowhere are never a quiet success, also when they are reused."""
    (node.table("shop", "orders") / "nb-1-big-Digest.crc32").unlink()
    for tag in ("t1", "t2"):
        command = backup(tag)
        outcome = await agent.backup.run(command)
        assert outcome.state is State.SUCCESS
        (warning,) = outcome.result.targets["d1"].warnings  # type: ignore[attr-defined]
        assert warning.startswith("shop.orders: 1 SSTables have no Digest.crc32 (nb-1-big)")
        assert [text.partition(":")[0] for text in command.errors] == ["warning"]
        assert same(Oracle(MemoryReader(store)).check()[tag, HOST], node)


async def test_a_file_that_no_reader_would_take_costs_its_table_only(
    agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: a manifest that was written can be read."""
    (node.table("many", "t1") / "odd name").write_bytes(b"x")
    outcome = await agent.backup.run(backup())
    assert outcome.state is State.PARTIAL
    assert "odd name" in outcome.result.targets["d1"].error["message"]  # type: ignore[attr-defined]
    tables = {name[:2] for name in Oracle(MemoryReader(store)).check()["t1", HOST].files}
    assert ("shop", "orders") in tables
    assert ("many", "t1") not in tables


async def test_each_destination_has_its_own_outcome(node: Node, store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: a full destination fails by name; the other one gets everything, in the same pass."""
    full = Faults()
    full.fail["put"] = DestinationFull("no room")
    agent = Agent(node, {"d1": store, "d2": MemoryStorage(hook=full)}, tmp_path / "state")
    try:
        outcome = await agent.backup.run(backup("t1", "d1", "d2", "unknown"))
    finally:
        agent.close()
    assert outcome.state is State.PARTIAL
    targets = outcome.result.targets  # type: ignore[attr-defined]
    assert targets["d1"].outcome == "success"
    assert targets["d2"].error["code"] == "destination_full"
    assert targets["unknown"].error["code"] == "unknown_destination"
    assert same(Oracle(MemoryReader(store)).check()["t1", HOST], node)


async def test_no_destination_is_a_failure(agent: Agent, node: Node, faults: Faults) -> None:
    """Promise: success needs a durable manifest; the snapshot is not left behind."""
    faults.fail["put"] = DestinationFull("no room")
    with pytest.raises(CopyFailed, match="destination_full"):
        await agent.backup.run(backup())
    assert not await node.exists("t1")


async def test_a_store_that_lies_about_a_put_is_found_out(agent: Agent, store: MemoryStorage) -> None:
    """Promise: before the manifest everything named is listed anew, with its size."""
    lying = _Forgetting(store)
    other = {"d1": lying}
    agent.storages.update(other)
    with pytest.raises(CopyFailed, match="manifest_incomplete"):
        await agent.backup.run(backup())
    assert Oracle(MemoryReader(store)).check() == {}


async def test_an_upload_of_a_snapshot_taken_before(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: snapshot and upload as two commands do what backup does in one."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    assert await node.exists("t1")
    outcome = await agent.upload.run(Command("u", UploadArguments("t1", [target()])))
    assert outcome.result.snapshot_cleared  # type: ignore[attr-defined]
    assert not await node.exists("t1")
    assert same(Oracle(MemoryReader(store)).check()["t1", HOST], node)
    with pytest.raises(SnapshotMissing):
        await agent.upload.run(Command("u2", UploadArguments("t1", [target()])))


async def test_a_kept_snapshot_is_a_backup_on_the_server_and_can_be_synced(
    agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: on-server backups are listed, copied later by sync, and stay; each command counts every file, a sync
    that finds the copy there already as well."""
    taking = Command("s", SnapshotArguments("t1", keep=True))
    await agent.snapshot.run(taking)
    assert [one.tag for one in await agent.on_server.listing()] == ["t1"]
    manifest = await agent.on_server.manifest("t1", HOST)
    entry = next(one for one in manifest.head.tables if (one.keyspace, one.table) == ("shop", "orders"))
    assert entry.sstables == 2
    assert "nb-1-big-Data.db" in {file.name async for part in manifest.parts(entry) for file in part.files}
    assert "manifest.json" in {file.name for file in entry.own}
    syncs = [Command(name, SyncArguments("t1", [target()])) for name in ("y1", "y2")]
    again = [await agent.sync.run(sync) for sync in syncs]
    for command, place in ((taking, ON_SERVER), *((sync, "d1") for sync in syncs)):
        assert set(command.expected) == {(place, *table) for table in node.tables}, command.command_id
        assert {table: tuple(done) for table, done in command.counted.items()} == command.expected
        assert all(files > 0 for files, _ in command.expected.values())
    assert [one.state for one in again] == [State.SUCCESS, State.SUCCESS]
    assert await node.exists("t1")
    assert same(Oracle(MemoryReader(store)).check()["t1", HOST], node)


async def test_only_kept_snapshots_can_be_synced(agent: Agent) -> None:
    """Promise: a snapshot that is about to go is not mistaken for a backup."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    with pytest.raises(SnapshotNotKept):
        await agent.sync.run(Command("y", SyncArguments("t1", [target()])))


async def test_a_snapshot_that_cannot_be_cleared_is_owed_and_cleared_by_the_next_job(agent: Agent, node: Node) -> None:
    """Promise: own snapshots are cleared, kept, or listed as owed (I8)."""
    node.refuse_clear = CassandraUnavailable("it is down")
    outcome = await agent.backup.run(backup("t1"))
    assert outcome.state is State.SUCCESS
    assert not outcome.result.snapshot_cleared  # type: ignore[attr-defined]
    assert await agent.on_server.owed() == ["t1"]
    node.refuse_clear = None
    await agent.backup.run(backup("t2"))
    assert await agent.on_server.owed() == []
    assert not await node.exists("t1")


async def test_an_owed_snapshot_that_is_uploaded_again_is_not_cleared_under_the_upload(
    agent: Agent, node: Node, store: MemoryStorage, faults: Faults
) -> None:
    """Promise: what another lane's snapshot clears is nobody's; the repeated upload ends, then its snapshot goes."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    faults.fail["put"] = DestinationFull("no room")
    with pytest.raises(CopyFailed):
        await agent.upload.run(Command("u", UploadArguments("t1", [target()])))
    assert await agent.on_server.owed() == ["t1"]
    faults.fail.clear()
    agent.in_use.using = lambda tag: ["u2"] if tag == "t1" else []
    await agent.snapshot.run(Command("s2", SnapshotArguments("t2")))
    assert await node.exists("t1")
    agent.in_use.using = lambda tag: []
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hook(verb: str, key: str) -> None:
        reached.set()
        await go_on.wait()

    store._hook = hook
    uploading = asyncio.ensure_future(agent.upload.run(Command("u2", UploadArguments("t1", [target()]))))
    await reached.wait()
    assert await agent.on_server.owed() == []
    await agent.snapshot.run(Command("s3", SnapshotArguments("t3")))
    go_on.set()
    assert (await uploading).state is State.SUCCESS
    assert not await node.exists("t1")


async def test_a_snapshot_that_failed_half_way_is_owed(agent: Agent, node: Node) -> None:
    """Promise: what a failed try left on the node is listed as owed and cleared by the next snapshot (I8)."""
    node.fail_half_way = CassandraUnavailable("it went down")
    with pytest.raises(CassandraUnavailable):
        await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    assert await node.exists("t1")
    assert await agent.on_server.owed() == ["t1"]
    node.fail_half_way = None
    await agent.snapshot.run(Command("s2", SnapshotArguments("t2")))
    assert not await node.exists("t1")
    assert await agent.on_server.owed() == []


async def test_another_agents_intent_is_named_and_nothing_is_written(agent: Agent, store: MemoryStorage) -> None:
    """Promise: one writer per node prefix."""
    key = intent_key(CLUSTER, HOST, "theirs")
    await store.put(key, [b'{"tag":"theirs","agent_id":"a2","instance":"x","command_id":"y"}'])
    with pytest.raises(CopyFailed, match=r"intent_foreign.*theirs \(agent a2"):
        await agent.backup.run(backup())
    assert [entry.key async for entry in store.list("helenus/")] == [key]
    assert IntentForeign.retry == "later"


async def test_a_deleted_tag_is_refused(agent: Agent, store: MemoryStorage) -> None:
    """Promise: until its mark is swept, a tag can't come back."""
    await store.put(deleted_key(CLUSTER, "t1"), [b"{}"])
    with pytest.raises(CopyFailed, match=BackupDeleted.code):
        await agent.backup.run(backup("t1"))


async def test_a_tag_is_never_published_twice(agent: Agent) -> None:
    """Promise: a manifest is immutable."""
    await agent.backup.run(backup("t1"))
    again = backup("t1")
    again.command_id = "other"
    with pytest.raises(CopyFailed, match=BackupExists.code):
        await agent.backup.run(again)


async def test_a_full_volume_costs_only_snapshots_that_free_something_and_are_nobodys(agent: Agent, node: Node) -> None:
    """Promise: Cassandra is not starved, and what goes is named; on-server backups, snapshots that another command
    works on, and such as hold nothing of their own, stay."""
    for tag, keep in (("kept", True), ("used", False), ("old", False), ("now", False)):
        await agent.snapshot.run(Command(tag, SnapshotArguments(tag, keep=keep)))
    agent.in_use.using = lambda tag: ["x"] if tag in ("used", "now") else []
    node.full = [str(node.data)]
    given_up: list[str] = []

    async def looks(count: int) -> list[str]:
        turns = iter(range(count))

        async def sleep(seconds: float) -> None:
            if next(turns, None) is None:
                done.set()
                await asyncio.Event().wait()

        done = asyncio.Event()
        agent.watermark._sleep = sleep
        await agent.watermark.guarded("now", done.wait(), given_up)
        return given_up

    assert await looks(2) == []
    assert await node.exists("old")
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    for tag in ("kept", "used", "now"):
        (node.table("shop", "orders") / "snapshots" / tag / "nb-1-big-Data.db").unlink()
    assert await looks(2) == ["old"]
    assert not await node.exists("old")
    last = node.table("shop", "orders") / "nb-2-big-Data.db"
    last.unlink()
    for tag in ("kept", "used"):
        (node.table("shop", "orders") / "snapshots" / tag / last.name).unlink()
    with pytest.raises(SnapshotGivenUp, match="now") as refusal:
        await looks(2)
    assert refusal.value.fields["given_up"] == ["old", "now"]
    assert [one.tag for one in await node.ours()] == ["kept", "used"]


async def test_a_snapshot_that_was_given_up_is_named_in_the_result(
    agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: nothing of a person's goes without a word."""
    await agent.snapshot.run(Command("s", SnapshotArguments("old")))
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    node.full = [str(node.data)]
    agent.in_use.using = lambda tag: ["command-t1"] if tag == "t1" else []
    turns = iter(range(1))
    looked = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if next(turns, None) is None:
            looked.set()
            await asyncio.Event().wait()

    async def hook(verb: str, key: str) -> None:
        await looked.wait()

    agent.watermark._sleep = sleep
    store._hook = hook
    outcome = await agent.backup.run(backup("t1"))
    assert outcome.result.given_up == ["old"]  # type: ignore[attr-defined]


class _Forgetting(MemoryStorage):
    """A store that says it kept its first data object, and did not."""

    def __init__(self, behind: MemoryStorage) -> None:
        super().__init__()
        self._objects = behind._objects
        self._forgot = False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        if "/data/" in key and not self._forgot:
            self._forgot = True
            return Put(created=True, size=sum(len(memoryview(part)) for part in body))
        return await super().put(key, body, replace=replace, gate=gate)
