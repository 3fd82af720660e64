"""Clocks that jump while something may be deleted: the agent's own counts for nothing, the store's harms nothing."""

import time
from collections.abc import Awaitable, Callable

import pytest

from agent.repository.errors import IntentForeign
from agent.repository.keys import intent_key
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, MemoryReader
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_sweep import FOREIGN, delete, sweep
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

HOUR = 3600.0
YEAR = 365 * 24 * HOUR


def clock_of(store: MemoryStorage) -> Clock:
    clock = store._clock
    assert isinstance(clock, Clock)
    return clock


async def replaced(agent: Agent, node: Node) -> None:
    """Two backups, of which the first is deleted; what it alone needed is gone from the node."""
    await agent.backup.run(backup("t1"))
    for path in node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    await agent.backup.run(backup("t2"))
    await delete(agent, "t1")


def jump(store: MemoryStorage, by: float) -> Callable[[float], Awaitable[None]]:
    """While the agent sleeps: the store's clock goes on, and the first time it jumps."""
    jumps = [by]

    async def step(seconds: float) -> None:
        clock_of(store).now += seconds + (jumps.pop() if jumps else 0.0)

    return step


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
async def test_the_agents_own_clock_frees_and_keeps_nothing(
    agent: Agent, node: Node, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    """Promise: ages are the store's: with whatever time of its own an agent gives up no intent of another one that was
    not silent for long enough, and frees what a deleted backup needed, all of it and nothing else."""
    await replaced(agent, node)
    monkeypatch.setattr(time, "time", lambda: clock_of(store).now + by)
    theirs = intent_key(CLUSTER, HOST, "theirs")
    await store.put(theirs, [FOREIGN])
    with pytest.raises(IntentForeign, match="must be silent"):
        await sweep(agent, "theirs")
    assert theirs in store._objects
    clock_of(store).now += HOUR
    agent.on_sleep.append(jump(store, 0.0))
    freed = await sweep(agent, "theirs")
    assert freed.bytes_freed > 3_000_000
    assert agent.slept == [600.0]
    assert same(Oracle(MemoryReader(store)).check(idle=True)["t2", HOST], node)


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
async def test_a_stores_clock_that_jumps_costs_no_backup_anything(
    agent: Agent, node: Node, store: MemoryStorage, by: float
) -> None:
    """Promise: a store whose clock is set in the midst of a sweep's margin has what is needed afterwards, and holds the
    node's lane for one more margin at most; what the jump kept goes once the clock is past it."""
    await replaced(agent, node)
    agent.on_sleep.append(jump(store, by))
    freed = (await sweep(agent)).bytes_freed
    assert agent.slept == ([600.0] if by > 0 else [600.0, 600.0])
    oracle = Oracle(MemoryReader(store))
    oracle.deleted("t1")
    assert same(oracle.check(idle=True)["t2", HOST], node)
    clock_of(store).now += 2 * YEAR
    freed += (await sweep(agent)).bytes_freed
    assert freed > 3_000_000
    assert same(oracle.check(idle=True)["t2", HOST], node)
