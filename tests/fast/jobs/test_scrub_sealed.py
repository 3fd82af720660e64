"""Scrub and heal of an encrypted repository, over a store in memory."""

from pathlib import Path

import pytest

from agent.crypto.digest import DIGEST_SIZE, digest, digest_of
from agent.crypto.sealing import SALT_SIZE
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.frame import HEADER_SIZE
from agent.repository.keys import manifest_key
from agent.wire.backups import SUCCESS, NodeRecord, Plan, Record
from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub import change, flipped, large, noted, objects, scrub
from tests.fast.jobs.test_stored_forms import KEYRING
from tests.fast.storage.memory import MemoryStorage


async def test_another_objects_bytes_are_told_by_their_size(node: Node, store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: an object whose footer is right and whose size is not the manifest's is damaged, noted, told, and healed
    by the next backup."""
    agent = Agent(node, {}, tmp_path / "sealed", repositories=Repositories({"d1": store}, {"d1": KEYRING}))
    await agent.backup.run(backup("t1"))
    key, right = large(store), objects(store)[large(store)]
    change(store, key, min((body for name, body in objects(store).items() if name.endswith(".raw")), key=len))
    assert key.endswith(".raw")
    assert objects(store)[key] != right
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert (result.damaged, [one.key for one in result.places]) == (1, [key])
    assert len(noted(store)) == 1
    assert (await scrub(agent, command="again"))[1].damaged == 1
    await agent.backup.run(backup("t2"))
    assert objects(store)[key] == right
    assert noted(store) == []
    agent.close()


@pytest.mark.parametrize("codec", ["raw", "zstd"])
async def test_two_sealed_objects_of_equal_size_that_were_swapped_are_found(
    node: Node, store: MemoryStorage, tmp_path: Path, codec: str
) -> None:
    """Promise: whoever holds the keys finds by its content what stands under another one's name, though footer, codec
    and size are right; the next backup puts back what was there."""
    for number in range(7, 12):
        node.sstable("shop", "orders", number, 2_000_000)
    agent = Agent(node, {}, tmp_path / "sealed", repositories=Repositories({"d1": store}, {"d1": KEYRING}))
    await agent.backup.run(backup("t1"))
    assert (await scrub(agent))[0].state is State.SUCCESS
    right = objects(store)
    of_size: dict[int, list[str]] = {}
    for name, body in right.items():
        if f".{codec}" in name:
            of_size.setdefault(len(body), []).append(name)
    first, second = next(names for names in of_size.values() if len(names) > 1)[:2]
    change(store, first, right[second])
    change(store, second, right[first])
    outcome, result = await scrub(agent, command="again")
    assert outcome.state is State.PARTIAL
    assert (result.damaged, {one.key for one in result.places}) == (2, {first, second})
    await agent.backup.run(backup("t2"))
    assert objects(store).items() >= right.items()
    assert noted(store) == []
    agent.close()


async def test_a_forged_object_with_a_right_footer_is_found(node: Node, store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: a footer needs no key, so one who can only write may make it right; the seal tells all the same."""
    agent = Agent(node, {}, tmp_path / "sealed", repositories=Repositories({"d1": store}, {"d1": KEYRING}))
    await agent.backup.run(backup("t1"))
    key = large(store)
    for place in (HEADER_SIZE, HEADER_SIZE + SALT_SIZE, -DIGEST_SIZE - 1):
        right = objects(store)[key]
        forged = flipped(right, place % len(right))
        payload = forged[HEADER_SIZE:-DIGEST_SIZE]
        change(store, key, forged[:-DIGEST_SIZE] + digest_of([forged[:HEADER_SIZE], digest(payload)]))
        _, result = await scrub(agent, command=f"at {place}")
        assert (result.damaged, {one.key for one in result.places}) == (1, {key})
        change(store, key, right)
    agent.close()


async def test_sealed_objects_are_verified_as_they_lie_there(node: Node, store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: a flipped byte of a sealed object is named by table and file though its key says nothing of them, and
    the next backup puts back the very bytes that were there."""
    agent = Agent(node, {}, tmp_path / "sealed", repositories=Repositories({"d1": store}, {"d1": KEYRING}))
    await agent.backup.run(backup("t1"))
    assert (await scrub(agent))[0].state is State.SUCCESS
    key = large(store)
    right = objects(store)[key]
    change(store, key, flipped(right, 1_000))
    outcome, result = await scrub(agent, command="again")
    assert outcome.state is State.PARTIAL
    assert [(one.keyspace, one.table, one.file, one.key) for one in result.places] == [
        ("shop", "orders", "nb-1-big-Data.db", key)
    ]
    assert (await agent.backup.run(backup("t2"))).state is State.SUCCESS
    assert objects(store)[key] == right
    assert noted(store) == []
    agent.close()


async def test_a_manifest_that_is_gone_is_told(node: Node, store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: the sealed record of a backup tells that a node's manifest is missing, as a plain one does."""
    repositories = Repositories({"d1": store}, {"d1": KEYRING})
    agent = Agent(node, {}, tmp_path / "sealed", repositories=repositories)
    await agent.backup.run(backup("t1"))
    record = Record("t1", "adhoc", 5.0, SUCCESS, {}, [NodeRecord(HOST, "127.0.0.1", SUCCESS, {})])
    async with repositories.opened(target()) as opened:
        catalogue = Catalogue(opened, RecordCache())
        await catalogue.put_plan(Plan("t1", "adhoc", 5.0, "Test", CLUSTER, [], {}, {}, "s1"))
        await catalogue.put_record(record)
    assert (await scrub(agent))[0].state is State.SUCCESS
    key = manifest_key(CLUSTER, "t1", HOST)
    del store._objects[key]
    outcome, result = await scrub(agent, command="again")
    assert outcome.state is State.PARTIAL
    assert (result.missing, result.backups, [one.key for one in result.places]) == (1, ["t1"], [key])
    agent.close()
