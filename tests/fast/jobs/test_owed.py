"""What a failed snapshot left goes without a next one."""

import asyncio
import threading
from pathlib import Path

import pytest

from agent.cassandra.errors import CassandraUnavailable, NodetoolTimeout
from agent.jobs.owed import EVERY_SECONDS, OwedSnapshots
from agent.model.on_server import OWED
from agent.wire.commands import DeleteArguments, SnapshotArguments
from tests.fast.jobs.agent_in_memory import Agent, Command
from tests.fast.jobs.node import Node
from tests.fast.storage.memory import MemoryStorage


class Stop(Exception):
    """The agent stops."""


async def test_a_half_done_snapshot_goes_at_the_agents_start_and_is_tried_again(
    agent: Agent, node: Node, store: MemoryStorage, tmp_path: Path
) -> None:
    """Promise (I8): the next snapshot may be a day away. What a command works on stays, and what is complete: it may
    be uploaded again."""
    node.fail_half_way = NodetoolTimeout("it did not end")
    node.refuse_clear = CassandraUnavailable("may still come")
    for tag in ("t1", "t2"):
        with pytest.raises(NodetoolTimeout):
            await agent.snapshot.run(Command(tag, SnapshotArguments(tag)))
    node.fail_half_way = None
    await agent.snapshot.run(Command("c3", SnapshotArguments("t3")))
    await agent.on_server.owe("t3")
    started = Agent(node, {"d1": store}, tmp_path / "state")
    started.in_use.using = lambda tag: ["c2"] if tag == "t2" else []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert await node.exists("t1") is (len(slept) == 1)
        node.refuse_clear = None
        if len(slept) == 2:
            raise Stop

    try:
        with pytest.raises(Stop):
            await OwedSnapshots(started.taker, sleep=sleep).run()
    finally:
        started.close()
    assert slept == [EVERY_SECONDS] * 2
    assert [await node.exists(tag) for tag in ("t1", "t2", "t3")] == [False, True, True]


async def test_a_cancelled_delete_ends_when_its_debt_is_on_disk(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: once a delete has ended, whether its backup is there doesn't change any more: who looks for it then
    isn't told of one that goes a moment later."""
    await agent.snapshot.run(Command("c1", SnapshotArguments("t1", keep=True)))
    begun, go_on = threading.Event(), threading.Event()
    write = agent.on_server._write

    def slowly(tag: str, name: str, content: bytes) -> None:
        if name == OWED:
            begun.set()
            go_on.wait(10)
        write(tag, name, content)

    monkeypatch.setattr(agent.on_server, "_write", slowly)
    deleting = asyncio.create_task(agent.delete.run(Command("c2", DeleteArguments("t1"))))
    await asyncio.to_thread(begun.wait, 10)
    deleting.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not deleting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await deleting
    assert await agent.on_server.doomed() == ["t1"]
