"""Delete and sweep over a store in memory."""

import asyncio
from typing import Any

import msgspec
import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.commands.arguments import decode_arguments
from agent.jobs.copying.errors import CopyFailed
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupNotFound, IntentForeign, ManifestInvalid
from agent.repository.keys import backups_prefix, catalogue_prefix, data_key, intent_key, manifest_key, sweep_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from agent.wire.backups import RUNNING, Plan, Record
from agent.wire.commands import DeleteArguments, Kind, SnapshotArguments, SweepArguments
from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Command, Faults, MemoryReader, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

FOREIGN = b'{"tag":"theirs","agent_id":"a2","instance":"x","command_id":"y"}'


async def sweep(agent: Agent, *abandoned: str, margin: float | None = None) -> FreedResult:
    """The result of a sweep."""
    outcome = await agent.sweep.run(Command("sweep", SweepArguments(target(), list(abandoned), margin)))
    assert isinstance(outcome.result, FreedResult)
    return outcome.result


async def delete(agent: Agent, tag: str) -> None:
    await agent.delete.run(Command(f"delete {tag}", DeleteArguments(tag, target())))


def size_of(store: MemoryStorage) -> int:
    return sum(len(body) for key, (body, _) in store._objects.items() if "/data/" in key)


async def test_a_sweep_frees_what_only_deleted_backups_needed(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: the bytes freed are those that went; the other backup keeps all of its own."""
    await agent.backup.run(backup("t1"))
    for path in node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    await agent.backup.run(backup("t2"))
    oracle = Oracle(MemoryReader(store))
    oracle.check()
    await delete(agent, "t1")
    oracle.deleted("t1")
    before = size_of(store)
    agent.on_sleep.append(_later(store))
    freed = await sweep(agent)
    assert agent.slept == [600.0]
    assert freed.tags == ["t1"]
    assert freed.bytes_freed == before - size_of(store) > 3_000_000
    assert list(oracle.check()) == [("t2", HOST)]
    assert not [key for key in store._objects if "/t1/" in key or "/intents/" in key]


async def test_a_sweep_with_nothing_to_do_does_not_wait(agent: Agent, store: MemoryStorage) -> None:
    """Promise: sweeping is cheap when nothing was deleted."""
    await agent.backup.run(backup("t1"))
    before = dict(store._objects)
    assert await sweep(agent) == FreedResult()
    assert agent.slept == []
    assert store._objects == before


async def test_the_last_node_takes_the_last_traces(agent: Agent, store: MemoryStorage) -> None:
    """Promise: while another node's manifest of a deleted tag is there, the mark stays."""
    await agent.backup.run(backup("t1"))
    other = manifest_key(CLUSTER, "t1", "99999999-2222-3333-4444-555555555555")
    await store.put(other, [b"another node's"])
    await delete(agent, "t1")
    agent.on_sleep.append(_later(store))
    await sweep(agent)
    assert [entry.key async for entry in store.list(backups_prefix(CLUSTER))] == [other]
    assert [entry.key async for entry in store.list(catalogue_prefix(CLUSTER))] == [
        catalogue_prefix(CLUSTER, "t1") + "deleted"
    ]
    await store.delete([other])
    await sweep(agent)
    assert [entry.key async for entry in store.list(catalogue_prefix(CLUSTER))] == []


@pytest.mark.parametrize("got_as_far_as", ["the plan", "the record", "the data"])
async def test_nothing_stays_of_a_cancelled_backup_after_the_next_sweep(
    agent: Agent, node: Node, store: MemoryStorage, faults: Faults, got_as_far_as: str
) -> None:
    """Promise: plan, records, objects and mark of a backup that was cancelled go with the next sweep, whichever backup
    that is for; a sweep by itself needs nothing else to do."""
    await agent.backup.run(backup("t0"))
    before = dict(store._objects)
    opened = OpenedRepository("d1", store, "r1", CLUSTER, OPEN, 4)
    catalogue = Catalogue(opened, RecordCache())
    await catalogue.put_plan(Plan("t1", "adhoc", 1.0, "test", CLUSTER, [], {}, {}, "v1", made_by="m1"))
    if got_as_far_as != "the plan":
        await catalogue.put_record(Record("t1", "adhoc", 1.0, RUNNING, {}, []))
    if got_as_far_as == "the data":
        node.sstable("shop", "orders", 3, 5_000)
        command = backup("t1")
        faults.fail["put"] = asyncio.CancelledError()
        command.undo = True
        with pytest.raises(asyncio.CancelledError):
            await agent.backup.run(command)
        faults.fail.clear()
        await store.put(data_key(CLUSTER, HOST, b"\xab" * 32), [b"put before the cancel"])
    await agent.delete.run(Command("undo", DeleteArguments("t1", target(), "m1")))
    assert [one.tag for one in await catalogue.listing()] == []
    agent.on_sleep.append(_later(store))
    await sweep(agent)
    assert store._objects == before


async def test_a_sweep_deletes_nothing_beside_a_foreign_intent(agent: Agent, store: MemoryStorage) -> None:
    """Promise: another agent's work in progress stops the sweep, by name."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    await store.put(intent_key(CLUSTER, HOST, "theirs"), [FOREIGN])
    before = dict(store._objects)
    with pytest.raises(IntentForeign, match="theirs"):
        await sweep(agent)
    assert store._objects == before


async def test_a_foreign_intent_that_appears_during_the_margin_stops_the_sweep(
    agent: Agent, store: MemoryStorage
) -> None:
    """Promise: intents are looked at again before anything goes."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    before = size_of(store)
    later = _later(store)

    async def begins(seconds: float) -> None:
        await store.put(intent_key(CLUSTER, HOST, "theirs"), [FOREIGN])
        await later(seconds)

    agent.on_sleep.append(begins)
    with pytest.raises(IntentForeign, match="theirs"):
        await sweep(agent)
    assert size_of(store) == before


async def test_a_foreign_intent_is_given_up_only_after_silence(agent: Agent, store: MemoryStorage) -> None:
    """Promise: abandon_intents clears what was silent for the margin, by the store's clock, and nothing younger."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    await store.put(intent_key(CLUSTER, HOST, "theirs"), [FOREIGN])
    with pytest.raises(IntentForeign, match="silent"):
        await sweep(agent, "theirs")
    await _later(store)(700.0)
    agent.on_sleep.append(_later(store))
    assert (await sweep(agent, "theirs")).tags == ["t1"]
    assert size_of(store) == 0


async def test_another_agents_sweep_that_never_ended_is_given_up_after_silence(
    agent: Agent, store: MemoryStorage
) -> None:
    """Promise: what a killed sweep of a lost state left blocks a node's prefix only until a person gives it up; no
    request shortens the silence."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    await store.put(sweep_key(CLUSTER, HOST), [FOREIGN])
    named = {"target": {"destination": "d1", "repository_id": "r1", "cluster_id": "c1"}, "abandon_intents": ["~sweep"]}
    assert decode_arguments(Kind.SWEEP, msgspec.json.encode(named)) is not None
    with pytest.raises(IntentForeign, match="~sweep"):
        await sweep(agent)
    with pytest.raises(IntentForeign, match="silent"):
        await sweep(agent, "~sweep", margin=0.0)
    await _later(store)(700.0)
    assert (await sweep(agent, "~sweep", margin=0.0)).tags == ["t1"]
    assert not [key for key in store._objects if "/intents/" in key]


async def test_a_sweep_through_an_upload_whose_intent_was_given_up_leaves_no_broken_backup(
    agent: Agent, store: MemoryStorage
) -> None:
    """Promise: an intent that is gone after the manifest was put has its objects looked at again; a manifest that
    names missing ones does not stay."""
    calm = store._hook
    mine = manifest_key(CLUSTER, "t1", HOST)

    async def hook(verb: str, key: str) -> None:
        if verb == "put" and key == mine:
            taken = next(one for one in store._objects if "/data/" in one)
            del store._objects[taken], store._objects[intent_key(CLUSTER, HOST, "t1")]

    store._hook = hook
    with pytest.raises(CopyFailed, match="manifest_incomplete"):
        await agent.backup.run(backup("t1"))
    assert mine not in store._objects
    store._hook = calm

    async def only_the_intent(verb: str, key: str) -> None:
        if verb == "put" and "/backups/" in key:
            del store._objects[intent_key(CLUSTER, HOST, "t2")]

    store._hook = only_the_intent
    await agent.backup.run(backup("t2"))
    assert ("t2", HOST) in Oracle(MemoryReader(store)).check()


async def test_each_manifest_is_read_once_and_a_few_side_by_side(
    agent: Agent, node: Node, store: MemoryStorage
) -> None:
    """Promise: with a year of backups a sweep neither reads for hours, nor all of it twice; only what was published
    meanwhile is read after the margin."""
    for number in range(9):
        await agent.backup.run(backup(f"t{number}"))
    await delete(agent, "t0")
    reads: list[str] = []
    running = most = 0

    async def slow(verb: str, key: str) -> None:
        nonlocal running, most
        if verb != "get" or "/backups/" not in key:
            return
        reads.append(key.split("/backups/")[1].split("/")[0])
        running += 1
        most = max(most, running)
        for _ in range(50):
            await asyncio.sleep(0)
        running -= 1

    async def publish(seconds: float) -> None:
        node.sstable("shop", "orders", 7, 20_000)
        await agent.backup.run(backup("t9"))

    store._hook = slow
    agent.on_sleep += [publish, _later(store)]
    await sweep(agent)
    assert sorted(reads) == [f"t{number}" for number in range(1, 10)]
    assert 1 < most <= 4
    assert ("t9", HOST) in Oracle(MemoryReader(store)).check()


async def test_an_unreadable_manifest_stops_the_sweep(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: what can't be read may need anything: nothing goes."""
    await agent.backup.run(backup("t1"))
    await agent.backup.run(backup("t2"))
    await delete(agent, "t1")
    key = manifest_key(CLUSTER, "t2", HOST)
    body, modified = store._objects[key]
    store._objects[key] = (body[:-100] + b"x" * 100, modified)
    before = dict(store._objects)
    with pytest.raises(ManifestInvalid):
        await sweep(agent)
    assert store._objects == before


async def test_a_tag_that_is_not_there_cannot_be_deleted(agent: Agent) -> None:
    """Promise: an unknown tag is a clear error, in a destination and on the server."""
    with pytest.raises(BackupNotFound):
        await delete(agent, "nothing")
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("d", DeleteArguments("nothing")))


async def test_an_on_server_backup_is_deleted_with_its_snapshot(agent: Agent, node: Node) -> None:
    """Promise: the snapshot goes, the bytes that only it held are counted, and it is listed no more."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1", keep=True)))
    for path in node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    outcome = await agent.delete.run(Command("d", DeleteArguments("t1")))
    assert outcome.result.bytes_freed > 3_000_000  # type: ignore[attr-defined]
    assert await agent.on_server.listing() == []
    assert not await node.exists("t1")


async def test_what_a_failed_snapshot_left_can_be_deleted_but_not_what_is_being_taken(agent: Agent, node: Node) -> None:
    """Promise: whatever the agent owns up to on the node, a person can delete by its tag."""
    node.fail_half_way = CassandraUnavailable("it went down")
    with pytest.raises(CassandraUnavailable):
        await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    agent.in_use.using = lambda tag: ["s", "d"]
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("d", DeleteArguments("t1")))
    agent.in_use.using = lambda tag: ["d"]
    await agent.delete.run(Command("d", DeleteArguments("t1")))
    assert not await node.exists("t1")
    assert await agent.on_server.owed() == []


def _later(store: MemoryStorage):  # type: ignore[no-untyped-def]
    async def later(seconds: float) -> None:
        store._clock.now += seconds  # type: ignore[attr-defined]

    return later


async def test_a_sweep_says_that_it_waits_and_how_long(agent: Agent, store: MemoryStorage) -> None:
    """Promise: between mark and deletion it looks like waiting, never like standing still; also when it is run again
    after the agent's restart."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    agent.on_sleep.append(_later(store))
    command = Command("sweep", SweepArguments(target()), current="waiting")
    shown: list[Any] = []

    async def look(seconds: float) -> None:
        shown.append((command.current, command.waits[-1]))

    agent.on_sleep.append(look)
    await agent.sweep.run(command)
    [(stage, error)] = shown
    assert stage == "waiting"
    assert (error["code"], error["fields"]) == ("sweep_waits", {"seconds": 600.0, "margin_seconds": 600.0})
    assert "waits 600 s" in error["message"]
    assert command.waits[-1] is None
