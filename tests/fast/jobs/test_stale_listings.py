"""A store whose listings are late: a sweep beside it keeps what is needed."""

from collections.abc import AsyncIterator

import pytest

from agent.repository.keys import backups_prefix, data_prefix, manifest_key
from agent.storage.protocol import Entry
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, MemoryReader
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_sweep import _later, delete, sweep
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


class LateStorage(MemoryStorage):
    """Its listings leave out the `hidden` keys."""

    hidden: frozenset[str] = frozenset()

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        async for entry in super().list(prefix):
            if entry.key not in self.hidden:
                yield entry


@pytest.fixture
def store() -> LateStorage:
    return LateStorage(clock=Clock())


@pytest.mark.parametrize("hides", ["manifest", "object"])
async def test_what_a_stale_listing_hid_is_kept(agent: Agent, node: Node, store: LateStorage, hides: str) -> None:
    """Promise: a sweep deletes nothing on one listing alone: neither what a manifest needs that its first look missed,
    nor an object that the first look missed."""
    await agent.backup.run(backup("t1"))
    of_first = {key for key in store._objects if key.startswith(data_prefix(CLUSTER, HOST))}
    node.sstable("shop", "orders", 3, 1_200_000)
    await agent.backup.run(backup("t2"))
    await delete(agent, "t1")
    if hides == "manifest":
        store.hidden = frozenset({manifest_key(CLUSTER, "t2", HOST)})
        assert store.hidden < {entry.key async for entry in MemoryStorage.list(store, backups_prefix(CLUSTER))}
    else:
        for path in node.table("shop", "orders").glob("nb-1-*"):
            path.unlink()
        await delete(agent, "t2")
        await agent.backup.run(backup("t3"))
        store.hidden = frozenset(max(of_first, key=lambda key: len(store._objects[key][0])) for _ in range(1))
    hidden = store.hidden

    async def shows_again(_: float) -> None:
        store.hidden = frozenset()

    agent.on_sleep += [_later(store), shows_again]
    await sweep(agent)
    assert agent.slept == [600.0]
    assert hidden <= set(store._objects)
    tag = "t2" if hides == "manifest" else "t3"
    assert same(Oracle(MemoryReader(store)).check(idle=hides == "manifest")[tag, HOST], node)
