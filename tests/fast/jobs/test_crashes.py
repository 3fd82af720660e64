"""A crash before every operation on the store, of backup and of sweep, and the resume: the oracle stays green."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.jobs.copying.errors import CopyFailed
from agent.storage.protocol import DestinationFull
from agent.wire.commands import BackupArguments, DeleteArguments, SnapshotArguments, State, SweepArguments
from tests.fast.jobs.agent_in_memory import Agent, Command, Crash, Faults, MemoryReader, target
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


def crashed(error: BaseException) -> bool:
    """Whether it is nothing but the crash."""
    if isinstance(error, BaseExceptionGroup):
        return all(crashed(one) for one in error.exceptions)
    return isinstance(error, Crash)


async def until_crash(agent: Agent, command: Command, kind: str) -> bool:
    """Run the command in a process that is killed; False when it came to its end."""
    try:
        await getattr(agent, kind).run(command)
    except BaseException as error:
        if not crashed(error):
            raise
        return True
    finally:
        agent.close()
    return False


async def test_a_backup_killed_before_any_operation_is_finished_by_the_resume(tmp_path: Path) -> None:
    """Promise: kill -9 anywhere in an upload leaves a green repository, the resume publishes exactly once, puts nothing
    again, and leaves no intent and no snapshot."""
    faults = Faults()
    at = 0
    crashes = True
    while crashes:
        at += 1
        place = tmp_path / str(at)
        node = Node(place / "node")
        node.sstable("shop", "orders", 1, 1_300_000)
        node.sstable("many", "t1", 1, 500)
        store = MemoryStorage(clock=Clock(), hook=faults)
        oracle = Oracle(MemoryReader(store))
        faults.begin(None)
        first = Agent(node, {"d1": store}, place / "state")
        await first.backup.run(backup("t0"))
        first.close()
        node.sstable("shop", "orders", 2, 1_200_000)
        oracle.check()
        command = backup("t1")
        faults.begin(at)
        crashes = await until_crash(Agent(node, {"d1": store}, place / "state"), command, "backup")
        oracle.check()
        there = set(store._objects)
        faults.begin(None)
        resumed = Agent(node, {"d1": store}, place / "state")
        outcome = await resumed.backup.run(command)
        resumed.close()
        assert outcome.state is State.SUCCESS
        assert not there.intersection(key for key in faults.puts if "/data/" in key)
        oracle.expect("t1", [HOST])
        assert same(oracle.check(idle=True)["t1", HOST], node)
        assert not await node.exists("t1")
        shutil.rmtree(place)
    assert at > 12


async def test_a_sweep_killed_before_any_operation_is_finished_by_the_next(tmp_path: Path) -> None:
    """Promise: kill -9 anywhere in a sweep removes nothing that is needed, and the next sweep frees the rest."""
    faults = Faults()
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 1_300_000)
    node.sstable("many", "t1", 1, 500)
    whole = MemoryStorage(clock=Clock(), hook=faults)
    agent = Agent(node, {"d1": whole}, tmp_path / "state")
    await agent.backup.run(backup("t0"))
    node.sstable("shop", "orders", 2, 1_200_000)
    await agent.backup.run(backup("t1"))
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    await agent.delete.run(Command("d", DeleteArguments("t0", target())))
    before = dict(whole._objects)
    agent.close()
    at = 0
    crashes = True
    while crashes:
        at += 1
        store = MemoryStorage(clock=Clock(), hook=faults)
        store._objects.update(before)
        store._clock.now += 10_000  # type: ignore[attr-defined]
        oracle = Oracle(MemoryReader(store))
        oracle.expect("t1", [HOST])
        oracle.deleted("t0")
        faults.begin(None)
        oracle.check()
        faults.begin(at)
        command = Command("s", SweepArguments(target(), margin_seconds=0.0))
        crashes = await until_crash(Agent(node, {"d1": store}, tmp_path / "state"), command, "sweep")
        oracle.check()
        faults.begin(None)
        last = Agent(node, {"d1": store}, tmp_path / "state")
        await last.sweep.run(command)
        last.close()
        oracle.check(idle=True)
        assert not [key for key in store._objects if "/t0/" in key]
    assert at > 12


@pytest.mark.parametrize("noted", [True, False])
async def test_a_backup_that_failed_everywhere_does_not_become_a_success_when_killed_while_clearing(
    noted: bool, node: Node, store: MemoryStorage, faults: Faults, tmp_path: Path
) -> None:
    """Promise: what the copy came to survives a kill; where no note of it is left, that is a failure."""
    agent = Agent(node, {"d1": store}, tmp_path / "state")
    faults.fail["put"] = DestinationFull("no room")
    node.refuse_clear = Crash()
    command = backup("t1")
    assert await until_crash(agent, command, "backup")
    assert command.current == "clearing"
    if not noted:
        del command.saved["clearing"]
    node.refuse_clear = None
    resumed = Agent(node, {"d1": store}, tmp_path / "state")
    with pytest.raises(CopyFailed, match="destination_full" if noted else "never noted"):
        await resumed.backup.run(command)
    resumed.close()
    assert not await node.exists("t1")


@pytest.mark.parametrize("undo", [True, False])
async def test_a_cancel_by_a_person_undoes_and_a_stop_does_not(
    undo: bool, node: Node, agent: Agent, store: MemoryStorage
) -> None:
    """Promise: cancel leaves neither intent nor snapshot; a stopping agent leaves both to the resume."""
    command = Command("b", BackupArguments(SnapshotArguments("t1"), [target()]))
    reached = asyncio.Event()

    async def hook(verb: str, key: str) -> None:
        if verb == "put" and "/data/" in key:
            reached.set()
            await asyncio.sleep(60)

    calm, store._hook = store._hook, hook
    running = asyncio.ensure_future(agent.backup.run(command))
    await reached.wait()
    store._hook = calm
    command.undo = undo
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bool([key for key in store._objects if "/intents/" in key]) is not undo
    assert await node.exists("t1") is not undo
    Oracle(MemoryReader(store)).check()


@pytest.mark.parametrize("stage", ["snapshot", "listing", "opening", "storing"])
async def test_a_cancel_that_comes_after_a_crash_undoes_what_the_earlier_run_did(
    stage: str, node: Node, store: MemoryStorage, faults: Faults, tmp_path: Path
) -> None:
    """Promise: a command that is resumed only to be undone leaves neither intent nor snapshot."""
    command = Cancelled("b", BackupArguments(SnapshotArguments("t1"), [target()]))
    faults.begin(8)
    assert await until_crash(Agent(node, {"d1": store}, tmp_path / "state"), command, "backup")
    assert [key for key in store._objects if "/intents/" in key]
    faults.begin(None)
    command.undo = True
    command.cancel_at = stage
    resumed = Agent(node, {"d1": store}, tmp_path / "state")
    command.running = asyncio.ensure_future(resumed.backup.run(command))
    with pytest.raises(asyncio.CancelledError):
        await command.running
    resumed.close()
    assert not [key for key in store._objects if "/intents/" in key]
    assert not await node.exists("t1")


class Cancelled(Command):
    """A command whose cancel is delivered at a stage, as the runner does when it resumes one only to undo it."""

    running: "asyncio.Future[Any] | None" = None
    cancel_at = "snapshot"

    async def enter(self, stage: str, data: Any | None = None) -> None:
        await super().enter(stage, data)
        if self.undo and stage == self.cancel_at and self.running is not None:
            self.running.cancel()
            await asyncio.sleep(0)
