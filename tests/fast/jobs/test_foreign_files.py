"""Files that are nobody's beside a node's objects: never taken for an object, never removed."""

import pytest

from agent.plan.objects import ObjectIndex
from agent.repository.errors import ManifestIncomplete
from agent.repository.intents import Writer
from agent.repository.keys import data_key, data_prefix
from agent.repository.opened import OpenedRepository
from agent.repository.publisher import Publisher
from agent.storage.protocol import OPEN
from agent.wire.commands import State
from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, MemoryReader
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_sweep import _later, delete, sweep
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

SUFFIXES = [".raw.gone", ".raw.bak", ".raw~", ".bak", ".zstd", ".RAW", ""]


def largest(store: MemoryStorage) -> str:
    """The key of the largest object."""
    data = [key for key in store._objects if key.startswith(data_prefix(CLUSTER, HOST))]
    return max(data, key=lambda key: len(store._objects[key][0]))


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_an_object_with_another_suffix_is_put_again(
    agent: Agent, node: Node, store: MemoryStorage, suffix: str
) -> None:
    """Promise: I1. What an object was renamed to is not the object: the next backup puts it and is whole."""
    await agent.backup.run(backup("t1"))
    key = largest(store)
    renamed = key.removesuffix(".raw") + suffix
    store._objects[renamed] = store._objects.pop(key)
    outcome = await agent.backup.run(backup("t2"))
    assert outcome.state is State.SUCCESS
    assert key in store._objects
    assert store._objects.pop(renamed)  # the oracle knows no such key
    assert same(Oracle(MemoryReader(store)).check()["t2", HOST], node)


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_an_object_with_another_suffix_is_missing_at_the_end(store: MemoryStorage, suffix: str) -> None:
    """Promise: I5. The check before the manifest goes by the object's whole name: what lies beside it is no proof."""
    publisher = Publisher(OpenedRepository("d1", store, "r1", CLUSTER, OPEN, 4), HOST, "t1", Writer("a1", "i1", "0.1"))
    name = "ab" * 32
    await store.put(data_key(CLUSTER, HOST, bytes.fromhex(name)).removesuffix(".raw") + suffix, [b"content"])
    assert len(await publisher.begin("c1")) == 0
    named = ObjectIndex()
    named.add(bytes.fromhex(name), len(b"content"))
    with pytest.raises(ManifestIncomplete, match="1 objects are missing"):
        await publisher.publish([b"a manifest"], named, OPEN)
    assert not [key for key in store._objects if key.endswith(".manifest")]


async def test_a_sweep_leaves_what_is_nobodys(agent: Agent, store: MemoryStorage) -> None:
    """Promise: a sweep removes only objects of a codec that this version knows; a person's copies and a newer
    version's objects stay."""
    await agent.backup.run(backup("t1"))
    key = largest(store)
    foreign = {key.removesuffix(".raw") + suffix for suffix in SUFFIXES}
    for one in foreign:
        await store.put(one, [b"somebody's"])
    await delete(agent, "t1")
    agent.on_sleep.append(_later(store))
    freed = await sweep(agent)
    assert freed.tags == ["t1"]
    assert {one for one in store._objects if "/data/" in one} == foreign
    assert await sweep(agent) == FreedResult()
