"""What a snapshot's job tells of it, and for how long it asks Cassandra to keep it."""

import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.wire.commands import BackupArguments, SnapshotArguments
from agent.wire.destinations import ON_SERVER
from tests.fast.jobs.agent_in_memory import Agent, Command, target
from tests.fast.jobs.node import Node


async def test_the_tables_of_a_snapshot_are_counted_before_it_is_taken(agent: Agent, node: Node) -> None:
    """Promise: while Cassandra is at it, none of so many tables is done."""
    node.fail_half_way = CassandraUnavailable("killed")
    command = Command("s", SnapshotArguments("t1"))
    with pytest.raises(CassandraUnavailable):
        await agent.snapshot.run(command)
    assert command.expected == {(ON_SERVER, *table): (1, 0) for table in node.tables}
    assert set(map(tuple, command.counted.values())) == {(0, 0)}


async def test_a_snapshot_is_taken_for_as_long_as_its_copy_will_take(agent: Agent, node: Node) -> None:
    """Promise: the slowest of the limits and of what the last copy made tells how long it must live."""
    await agent.snapshot.run(Command("s1", SnapshotArguments("t1", throttle_bytes_per_second=1_000)))
    assert node.copy_rate == 1_000
    agent.rate.note(1_000_000_000, 1.0)
    arguments = BackupArguments(SnapshotArguments("t2"), [target("d1")], 500_000_000)
    await agent.backup.run(Command("s2", arguments))
    assert node.copy_rate == 500_000_000
    agent.rate.note(10, 1.0)
    await agent.snapshot.run(Command("s3", SnapshotArguments("t3")))
    assert node.copy_rate == 1_000_000_000, "a small copy says nothing of speed"
