"""Attack row A12 at the agent: keys that may not delete, by which a thief of an agent's credentials can't either."""

import pytest

from agent.jobs.copying.errors import CopyFailed
from agent.storage.protocol import Denied
from tests.fast.jobs.agent_in_memory import Agent, MemoryReader
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_sweep import delete, sweep
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


async def test_with_keys_that_may_not_delete_old_backups_stay_and_it_is_said(
    agent: Agent, store: MemoryStorage
) -> None:
    """Promise: a sweep with such keys fails by name and costs no backup anything; with keys that may, it goes on."""
    await agent.backup.run(backup("t1"))
    await agent.backup.run(backup("t2"))
    before, calm = dict(store._objects), store._hook

    async def hook(verb: str, key: str) -> None:
        if verb == "delete":
            raise Denied("these keys may not delete", key=key)

    store._hook = hook
    await delete(agent, "t1")
    with pytest.raises(Denied):
        await sweep(agent)
    oracle = Oracle(MemoryReader(store))
    oracle.deleted("t1")
    assert before.items() <= store._objects.items()
    assert list(oracle.check()) == [("t2", HOST)]
    store._hook = calm
    assert (await sweep(agent)).tags == ["t1"]


async def test_a_backup_with_keys_that_may_not_delete_fails_by_name(agent: Agent, store: MemoryStorage) -> None:
    """Promise: its mark of being under way can't be taken away, which is said and costs no older backup anything; with
    keys that may, the next one is whole."""
    await agent.backup.run(backup("t1"))
    before, calm = dict(store._objects), store._hook

    async def hook(verb: str, key: str) -> None:
        if verb == "delete":
            raise Denied("these keys may not delete", key=key)

    store._hook = hook
    with pytest.raises(CopyFailed, match="storage_denied"):
        await agent.backup.run(backup("t2"))
    assert before.items() <= store._objects.items()
    store._hook = calm
    await agent.backup.run(backup("t3"))
    assert {("t1", HOST), ("t3", HOST)} <= set(Oracle(MemoryReader(store)).check())
