"""Scrub and heal of an encrypted repository, over a store in memory."""

from pathlib import Path

from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import Agent, Repositories
from tests.fast.jobs.node import Node
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
