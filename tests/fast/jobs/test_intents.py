"""Intents of copies that end before their time: none stays, and none of another agent goes."""

import asyncio
from pathlib import Path

import pytest

from agent.jobs import sweep
from agent.jobs.copying import storing
from agent.jobs.copying.errors import CopyFailed, SnapshotGivenUp
from agent.repository.intents import Intents, Writer
from agent.repository.keys import intents_prefix
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Transient
from agent.wire.commands import BackupArguments, DeleteArguments, SnapshotArguments, SweepArguments, UploadArguments
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Crash, MemoryReader, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


async def intents(store: MemoryStorage) -> list[str]:
    """What stands."""
    return [entry.key.rpartition("/")[2] async for entry in store.list(intents_prefix(CLUSTER, HOST))]


class Given:
    """The copy of `t1` is at its first object, and the data volume fills up."""

    def __init__(self, agent: Agent, node: Node, store: MemoryStorage) -> None:
        self.begun = asyncio.Event()
        self._store, self._node = store, node
        agent.in_use.using = lambda tag: ["command-t1"]
        agent.watermark._sleep = self._sleep
        store._hook = self._hook
        self._looks = 0
        self.killed_at_the_intent = False

    async def _sleep(self, seconds: float) -> None:
        self._looks += 1
        if self._looks > 1:
            await asyncio.Event().wait()
        await self.begun.wait()
        (self._node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
        self._node.full = [str(self._node.data)]

    async def _hook(self, verb: str, key: str) -> None:
        if verb == "put" and "/data/" in key:
            self.begun.set()
            await asyncio.Event().wait()
        if verb == "delete" and "/intents/" in key and self.killed_at_the_intent:
            raise Crash


async def nothing(verb: str, key: str) -> None:
    return None


@pytest.mark.parametrize("kind", ["backup", "upload"])
async def test_a_snapshot_that_is_given_up_leaves_no_intent(
    agent: Agent, node: Node, store: MemoryStorage, kind: str
) -> None:
    """Promise: a command that lost its snapshot writes no more, and says so to the destination."""
    command = backup("t1")
    if kind == "upload":
        await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
        command = Command("command-t1", UploadArguments("t1", [target()]))
    Given(agent, node, store)
    with pytest.raises(SnapshotGivenUp):
        await getattr(agent, kind).run(command)
    store._hook = nothing
    assert await intents(store) == []


async def test_an_agent_killed_while_it_gives_up_leaves_nothing_that_harms(
    agent: Agent, node: Node, store: MemoryStorage, tmp_path: Path
) -> None:
    """Promise: killed between the snapshot's end and the intent's, the agent's next copy clears what stayed."""
    Given(agent, node, store).killed_at_the_intent = True
    with pytest.raises(Crash):
        await agent.backup.run(backup("t1"))
    store._hook = nothing
    assert await intents(store) == ["t1"]
    node.full = []
    again = Agent(node, {"d1": store}, tmp_path / "state")
    await again.backup.run(backup("t2"))
    again.close()
    assert await intents(store) == []
    oracle = Oracle(MemoryReader(store))
    oracle.expect("t2", [HOST])
    oracle.check()


async def test_a_cancel_leaves_the_intent_of_another_agent(node: Node, store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: a destination that was refused because another agent writes the same backup there keeps that one's
    intent when the copy to the others is cancelled: a sweep would else take what it is writing."""
    foreign = OpenedRepository("d1", store, REPOSITORY, CLUSTER, OPEN, 4)
    await Intents(foreign, HOST, Writer("another", "i9")).begin("t1", "its command")
    other = MemoryStorage()
    begun = asyncio.Event()

    async def hook(verb: str, key: str) -> None:
        if verb == "put" and "/data/" in key:
            begun.set()
            await asyncio.Event().wait()

    other._hook = hook
    agent = Agent(node, {"d1": store, "d2": other}, tmp_path / "state")
    arguments = BackupArguments(SnapshotArguments("t1"), [target("d1"), target("d2")])
    command = Command("command-t1", arguments)
    running = asyncio.create_task(agent.backup.run(command))
    await begun.wait()
    command.undo = True
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    agent.close()
    other._hook = nothing
    assert await intents(store) == ["t1"]
    assert await intents(other) == []


async def test_a_cancelled_sweep_does_not_wait_for_a_store_that_stays_away(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: its mark is removed if the store lets it soon; the lane of the node's other commands is free then."""
    monkeypatch.setattr(sweep, "UNDO_SECONDS", 0.01, raising=False)
    await agent.backup.run(backup("t1"))
    await agent.delete.run(Command("d", DeleteArguments("t1", target())))
    asleep = asyncio.Event()

    async def sleeps(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    agent.on_sleep.append(sleeps)
    running = asyncio.create_task(agent.sweep.run(Command("sweep", SweepArguments(target()), undo=True)))
    async with asyncio.timeout(20):
        await asleep.wait()
    store._hook = never_at_a_delete
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
    assert await intents(store) == ["~sweep"]


async def test_a_copy_that_failed_does_not_wait_to_drop_its_intent(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a destination that went away holds the lane no longer than it took to fail."""
    monkeypatch.setattr(storing, "UNDO_SECONDS", 0.01, raising=False)

    async def gone(verb: str, key: str) -> None:
        if verb == "put" and "/data/" in key:
            raise Transient("no answer", key=key)
        await never_at_a_delete(verb, key)

    store._hook = gone
    async with asyncio.timeout(5):
        with pytest.raises(CopyFailed, match="storage_unavailable"):
            await agent.backup.run(backup("t1"))
    assert await intents(store) == ["t1"]


async def never_at_a_delete(verb: str, key: str) -> None:
    """A store that no delete gets an answer from."""
    if verb == "delete":
        await asyncio.Event().wait()
