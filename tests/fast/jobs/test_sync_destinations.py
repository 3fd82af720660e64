"""A sync from destination to destination: real jobs over stores in memory, each in its own form; the oracle looks."""

import asyncio
import shutil
from pathlib import Path

import pytest

from agent.commands.arguments import destinations_of
from agent.jobs.copying.errors import CopyFailed
from agent.repository.errors import AdoptionRefused, BackupDeleted, BackupNotFound
from agent.repository.form import Packed
from agent.repository.frame import Codec, ObjectType
from agent.repository.intents import Intents, Writer
from agent.repository.keys import ADOPTED, data_key, manifest_key
from agent.repository.manifest import read_manifest
from agent.storage.protocol import Transient
from agent.wire.commands import DeleteArguments, State
from tests.fast.jobs.agent_in_memory import CLUSTER, Command, target
from tests.fast.jobs.four_destinations import Four, intents, sync, synced
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_crashes import until_crash

TABLES = [("many", "empty"), ("many", "t1"), ("shop", "orders")]


@pytest.mark.parametrize(
    ("source", "to"), [("p1", "p2"), ("p1", "e1"), ("e1", "p1"), ("e1", "e2")], ids=lambda name: str(name)
)
async def test_every_byte_comes_over_in_the_form_of_the_target(source: str, to: str, four: Four) -> None:
    """Promise: a backup copied from one destination to another is there as a whole, byte for byte, named, sealed and
    compressed as the target has it; it counts as it goes, and without the node's snapshot."""
    await four.agent.backup.run(backup("t1", source))
    before = dict(four.stores[source]._objects)
    command = sync(source, to)
    result = (await synced(four.agent, command))[to]
    assert result.outcome == "success"
    assert result.put_objects == len(four.objects(to)) == len(four.objects(source))
    assert same(four.found(to), four.node)
    assert four.found(to).files == four.found(source).files  # the snapshot's own among them
    assert [key.endswith(".raw") for key in four.objects(to)].count(False) == sum(
        not key.endswith(".raw") for key in four.objects(source)
    )
    for table, (files, size) in command.expected.items():
        assert command.counted[table] == [files, size]
    assert sorted((keyspace, table) for _, keyspace, table in command.expected) == TABLES
    assert four.stores[source]._objects == before


async def test_one_reading_serves_all_targets(four: Four) -> None:
    """Promise: each object is read once, however many targets of whatever form lack it."""
    await four.agent.backup.run(backup("t1", "e1"))
    read = four.copies("e1")
    results = await synced(four.agent, sync("e1", "p1", "p2", "e2"))
    assert [results[name].outcome for name in ("p1", "p2", "e2")] == ["success"] * 3
    assert len(read) == len(set(read))
    assert set(read) == set(four.objects("e1"))
    assert all(same(four.found(name), four.node) for name in ("p1", "p2", "e2"))


async def test_what_the_target_has_is_not_read(four: Four) -> None:
    """Promise: objects that the target's listing shows are neither read at the source nor put again."""
    await four.agent.backup.run(backup("t0", "p2"))
    four.node.sstable("shop", "orders", 9, 1_200_000)
    await four.agent.backup.run(backup("t1", "p1"))
    lacking = set(four.objects("p1")) - set(four.objects("p2"))
    assert 0 < len(lacking) < len(four.objects("p1"))
    read = four.copies("p1")
    result = (await synced(four.agent, sync("p1", "p2")))["p2"]
    assert set(read) == lacking
    assert result.put_objects == len(lacking)
    assert same(four.found("p2"), four.node)


async def test_a_backup_that_stands_there_is_not_copied_again(four: Four) -> None:
    """Promise: a sync is repeatable: of what is whole at the target no object is read or put."""
    await four.agent.backup.run(backup("t1", "p1"))
    await four.agent.sync.run(sync("p1", "e1"))
    read, puts = four.copies("p1"), four.faults["e1"]
    puts.begin(None)
    result = (await synced(four.agent, sync("p1", "e1")))["e1"]
    assert (result.outcome, read, puts.puts) == ("success", [], [])


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "swapped"])
@pytest.mark.parametrize("source", ["p1", "e1"])
async def test_a_damaged_object_of_the_source_costs_its_table_alone(source: str, how: str, four: Four) -> None:
    """Promise: bytes that are not those that the manifest names are never copied: their table and file are named, the
    other tables come over, and the copy is no success, not even when it is asked for again."""
    await four.agent.backup.run(backup("t1", source))
    store = four.stores[source]
    raw = {key: body for key, body in four.objects(source).items() if key.endswith(".raw")}
    key = max(raw, key=lambda one: len(raw[one]))  # the Data.db of the large SSTable
    other = min(raw, key=lambda one: len(raw[one]))
    body, when = store._objects[key]
    bad = {"flipped": body[:-200] + bytes([body[-200] ^ 1]) + body[-199:], "cut": body[:-1], "swapped": raw[other]}
    if how == "gone":
        del store._objects[key]
    else:
        store._objects[key] = (bad[how], when)
    command = sync(source, "p2")
    outcome = await four.agent.sync.run(command)
    assert outcome.state is State.PARTIAL
    result = outcome.result.targets["p2"]  # type: ignore[attr-defined]
    assert result.outcome == "partial"
    assert result.error["code"] == "source_damaged"
    assert list(result.error["fields"]["tables"]) == ["shop.orders"]
    assert "nb-1-big-Data.db" in result.error["fields"]["tables"]["shop.orders"]["files"]
    assert any("nb-1-big-Data.db of shop.orders" in text for text in command.errors)
    tables = {(keyspace, table) for keyspace, table, _ in four.found("p2").files}
    assert tables == {("many", "t1"), ("many", "empty")}
    (code,) = {table["code"] for table in result.error["fields"]["tables"].values()}
    assert four.found("p2").head["left_out"] == {"shop.orders": code}
    again = await four.agent.sync.run(sync(source, "p2"))
    assert again.state is State.PARTIAL
    assert "shop.orders" in again.result.targets["p2"].error["fields"]["tables"]  # type: ignore[attr-defined]


async def test_a_seal_alone_is_not_believed(four: Four) -> None:
    """Promise: bytes that were sealed as an object with the right keys, and aren't those of its id, are not copied
    either: their table is left out by name."""
    await four.agent.backup.run(backup("t1", "e1"))
    opened, store = four.opened("e1"), four.stores["e1"]
    manifest = await read_manifest(opened, "t1", HOST)
    orders = next(one for one in manifest.head.tables if one.table == "orders")
    sizes = {
        name: size for part in [one async for one in manifest.parts(orders)] for name, size in part.objects.items()
    }
    name = max(sizes, key=lambda one: sizes[one])
    plain, object_id = bytes(sizes[name] - opened.form.size(0)), bytes.fromhex(name)
    other = opened.form.encode(Packed(Codec.RAW, plain), len(plain), object_id, ObjectType.DATA)
    key = data_key(CLUSTER, HOST, opened.form.name(object_id), Codec.RAW, sizes[name])
    assert len(store._objects[key][0]) == other.size
    store._objects[key] = (b"".join(other.buffers), store._objects[key][1])
    result = (await synced(four.agent, sync("e1", "p2")))["p2"]
    assert (result.outcome, result.error is not None) == ("partial", True)
    assert "'shop.orders'" in str(result.error)
    assert "object_damaged" in str(result.error)
    assert {(keyspace, table) for keyspace, table, _ in four.found("p2").files} == set(TABLES[:2])


async def test_damage_that_the_target_does_not_need_does_no_harm(four: Four) -> None:
    """Promise: where the target has an object already, that of the source may be damaged."""
    await four.agent.backup.run(backup("t0", "p2"))
    await four.agent.backup.run(backup("t1", "p1"))
    shared = max(set(four.objects("p1")) & set(four.objects("p2")), key=lambda key: len(four.objects("p1")[key]))
    del four.stores["p1"]._objects[shared]
    assert (await synced(four.agent, sync("p1", "p2")))["p2"].outcome == "success"
    assert same(four.found("p2"), four.node)


async def test_a_source_without_a_sound_table_gives_nothing(tmp_path: Path) -> None:
    """Promise: no manifest and no intent is left where nothing could be copied."""
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 40_000)
    four = Four(node, tmp_path / "state")
    await four.agent.backup.run(backup("t1", "p1"))
    for key in four.objects("p1"):
        del four.stores["p1"]._objects[key]
    with pytest.raises(CopyFailed, match="source_damaged"):
        await four.agent.sync.run(sync("p1", "p2"))
    assert four.oracle("p2").check(idle=True) == {}
    four.agent.close()


async def test_own_files_that_are_damaged_are_left_out_and_named(four: Four) -> None:
    """Promise: what agents restore without costs no table, and is told all the same."""
    await four.agent.backup.run(backup("t0", "p1"))
    before = set(four.objects("p1"))
    await four.agent.backup.run(backup("t1", "p1"))
    (own,) = set(four.objects("p1")) - before  # the snapshot's manifest.json files
    del four.stores["p1"]._objects[own]
    result = (await synced(four.agent, sync("p1", "e1")))["e1"]
    assert result.outcome == "partial"
    assert result.error is not None
    assert "manifest.json" in str(result.error["fields"])
    assert same(four.found("e1"), four.node)


async def test_what_a_partial_backup_left_out_costs_the_others_nothing(four: Four) -> None:
    """Promise: of a backup without tables that were damaged on their node all else comes over, what the snapshot wrote
    of the other tables included, though it lies in one object with what it wrote of those; the copy is no better than
    its source, and says so, not only the first time."""
    bad = [("many", name) for name in ("empty", "t1")]
    bad += [(keyspace, f"bad_{number}") for keyspace in ("aaa", "many", "zoo") for number in range(20)]
    for keyspace, table in bad:
        four.node.sstable(keyspace, table, 90, 900).write_bytes(b"other bytes than its digest says")
    assert (await four.agent.backup.run(backup("t1", "p1"))).state is State.PARTIAL
    left_out = {f"{keyspace}.{table}": "sstable_corrupt" for keyspace, table in bad}
    for _ in range(2):
        outcome = await four.agent.sync.run(sync("p1", "p2", "e1"))
        assert outcome.state is State.PARTIAL
        for result in outcome.result.targets.values():  # type: ignore[attr-defined]
            assert (result.outcome, result.error["code"]) == ("partial", "source_partial")
            assert result.error["fields"] == {"destination": "p1", "tables": left_out}
    assert four.found("p2").files == four.found("e1").files == four.found("p1").files
    assert [four.found(name).head["left_out"] for name in ("p1", "p2", "e1")] == [left_out] * 3


async def test_a_source_that_fails_fails_the_command(four: Four) -> None:
    """Promise: a store that can't be read is no damage of its tables: nothing is published, and no intent stays."""
    await four.agent.backup.run(backup("t1", "p1"))

    async def hook(verb: str, key: str) -> None:
        if verb == "get" and "/data/" in key:
            raise Transient("no answer")

    four.stores["p1"]._hook = hook
    with pytest.raises(Transient):
        await four.agent.sync.run(sync("p1", "p2"))
    four.oracle("p2").check(idle=True)
    assert manifest_key(CLUSTER, "t1", HOST) not in four.stores["p2"]._objects


async def test_only_a_backup_that_is_there_is_copied(four: Four) -> None:
    """Promise: a deleted backup is not copied, nor one that the source has not."""
    with pytest.raises(BackupNotFound):
        await four.agent.sync.run(sync("p1", "p2"))
    await four.agent.backup.run(backup("t1", "p1"))
    await four.agent.delete.run(Command("d", DeleteArguments("t1", target("p1"))))
    with pytest.raises(BackupDeleted):
        await four.agent.sync.run(sync("p1", "p2"))
    assert four.stores["p2"]._objects == {}


async def test_the_part_of_a_node_that_left_the_ring_is_copied_by_another(four: Four) -> None:
    """Promise: somebody else copies the part of a node that is gone, as it would have itself, but never that of a node
    in the ring."""
    await four.agent.backup.run(backup("t1", "p1"))
    four.agent.close()
    gone, four.node.host_id = four.node.host_id, "99999999-2222-3333-4444-555555555555"
    four.agent = four.started("a2")
    four.agent.ring = {"127.0.0.1": four.node.host_id, "127.0.0.2": gone}
    with pytest.raises(AdoptionRefused):
        await four.agent.sync.run(sync("p1", "e1", host_id=gone))
    four.agent.ring = {"127.0.0.1": four.node.host_id}
    await Intents(four.opened("e1"), gone, Writer("a3", "i9"), adopting=True).adopt("an earlier sweep")
    for _ in range(2):
        assert (await synced(four.agent, sync("p1", "e1", host_id=gone)))["e1"].outcome == "success"
        assert same(four.found("e1", idle=False), four.node)
    assert [key.rpartition("/")[2] for key in intents(four, "e1")] == [ADOPTED]


@pytest.mark.parametrize(("source", "to", "killed"), [("p1", "e1", "e1"), ("e1", "p1", "e1"), ("e1", "p1", "p1")])
async def test_a_sync_killed_before_any_operation_is_finished_by_the_resume(
    source: str, to: str, killed: str, tmp_path: Path
) -> None:
    """Promise: kill -9 before any operation on either store leaves both green; the resume publishes, puts nothing again
    and leaves no intent."""
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 1_300_000)
    node.sstable("many", "t1", 1, 500)
    first = Four(node, tmp_path / "first")
    await first.agent.backup.run(backup("t1", source))
    first.agent.close()
    whole = dict(first.stores[source]._objects)
    at, crashes = 0, True
    while crashes:
        at += 1
        four = Four(node, tmp_path / str(at))
        four.agent.close()
        four.stores[source]._objects.update(whole)
        command = sync(source, to)
        four.faults[killed].begin(at)
        crashes = await until_crash(four.started(), command, "sync")
        four.oracle(to).check()
        there = set(four.stores[to]._objects)
        for faults in four.faults.values():
            faults.begin(None)
        four.agent = four.started()
        assert (await synced(four.agent, command))[to].outcome == "success"
        four.agent.close()
        assert not there.intersection(key for key in four.faults[to].puts if "/data/" in key)
        assert same(four.found(to), node)
        shutil.rmtree(four.state)
    assert at > (12 if killed == to else 5)


def test_a_command_works_on_what_it_reads_too() -> None:
    """Promise: while a sync runs, the settings of its source stay as well as those of its targets."""
    assert destinations_of(sync("p1", "p2", "e1").arguments) == {"p1", "p2", "e1"}


@pytest.mark.parametrize("undo", [True, False])
async def test_a_cancel_by_a_person_undoes_and_a_stop_does_not(undo: bool, four: Four) -> None:
    """Promise: cancel leaves no intent at the target; a stopping agent leaves it to the resume."""
    await four.agent.backup.run(backup("t1", "p1"))
    reached = asyncio.Event()

    async def hook(verb: str, key: str) -> None:
        if verb == "put" and "/data/" in key:
            reached.set()
            await asyncio.sleep(60)

    four.stores["p2"]._hook = hook
    command = sync("p1", "p2")
    running = asyncio.ensure_future(four.agent.sync.run(command))
    await reached.wait()
    four.stores["p2"]._hook = four.faults["p2"]
    command.undo = undo
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bool(intents(four, "p2")) is not undo
    four.oracle("p2").check()
