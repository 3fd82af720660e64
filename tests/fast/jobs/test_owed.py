"""What a failed snapshot left goes without a next one."""

from pathlib import Path

import pytest

from agent.cassandra.errors import CassandraUnavailable, NodetoolTimeout
from agent.jobs.owed import EVERY_SECONDS, OwedSnapshots
from agent.wire.commands import SnapshotArguments
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
