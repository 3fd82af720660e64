"""Several deletes of one destination, each with its sweep."""

from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import Agent
from tests.fast.jobs.node import Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_sweep import _later, delete, sweep
from tests.fast.storage.memory import MemoryStorage


async def test_deletes_that_are_sent_together_cost_one_margin(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: the first sweep frees what all that were marked before it needed; the others neither wait nor remove."""
    for number in range(4):
        node.sstable("shop", "orders", 10 + number, 100_000)
        await agent.backup.run(backup(f"t{number}"))
        for path in node.table("shop", "orders").glob(f"nb-{10 + number}-*"):
            path.unlink()
    for number in range(3):
        await delete(agent, f"t{number}")
    agent.on_sleep.append(_later(store))
    freed = await sweep(agent)
    assert freed.tags == ["t0", "t1", "t2"]
    assert freed.bytes_freed > 300_000
    assert [await sweep(agent), await sweep(agent)] == [FreedResult(), FreedResult()]
    assert agent.slept == [600.0]
