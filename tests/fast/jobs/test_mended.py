"""Objects that are in a destination with another size than theirs, over a store in memory."""

from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import Agent, Crash, Faults, MemoryReader
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


async def test_a_cut_object_is_put_anew_and_heals_the_backups_that_name_it(
    agent: Agent, node: Node, faults: Faults, store: MemoryStorage
) -> None:
    """Promise: an object that a full disk or a hand has cut costs no later backup anything, killed half-way or not, and
    the earlier ones are whole again; the result names it."""
    await agent.backup.run(backup("t1"))
    [key] = [key for key, (body, _) in store._objects.items() if "/data/" in key and len(body) > 2_000_000]
    body, when = store._objects[key]
    store._objects[key] = (body[:1_000_000], when)
    at, crashes = 0, True
    while crashes:
        at += 1
        faults.begin(at)
        try:
            outcome = await agent.backup.run(backup("t2"))
        except (Crash, BaseExceptionGroup):
            assert len(store._objects[key][0]) in (1_000_000, len(body))
        else:
            crashes = False
        faults.begin(None)
    assert at > 10
    assert store._objects[key][0] == body
    assert outcome.state is State.SUCCESS
    oracle = Oracle(MemoryReader(store))
    oracle.expect("t1", [HOST])
    oracle.expect("t2", [HOST])
    found = oracle.check()
    assert same(found["t1", HOST], node)
    assert same(found["t2", HOST], node)


async def test_an_object_that_was_put_anew_is_named(agent: Agent, store: MemoryStorage) -> None:
    """Promise: whoever watches a store hears that something there was damaged."""
    await agent.backup.run(backup("t1"))
    [key] = [key for key, (body, _) in store._objects.items() if "/data/" in key and len(body) > 2_000_000]
    store._objects[key] = (b"cut", store._objects[key][1])
    outcome = await agent.backup.run(backup("t2"))
    [warning] = outcome.result.targets["d1"].warnings  # type: ignore[attr-defined]
    assert warning.startswith("1 objects in d1 were damaged")
    assert key in warning
