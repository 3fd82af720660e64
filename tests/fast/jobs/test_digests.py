"""What a copy remembers of the node's files, and forgets."""

import shutil
import sqlite3
from pathlib import Path

from agent.wire.commands import BackupArguments, SnapshotArguments
from tests.fast.jobs.agent_in_memory import Agent, Command, target
from tests.fast.jobs.node import Node
from tests.fast.jobs.test_backup import backup


def remembered(state: Path) -> set[str]:
    """The ids of the tables in the cache's file."""
    with sqlite3.connect(state / "digests.sqlite") as connection:
        return {table_id for (table_id,) in connection.execute("SELECT DISTINCT table_id FROM digests")}


async def test_a_dropped_table_is_forgotten_and_no_other(agent: Agent, node: Node, tmp_path: Path) -> None:
    """Promise: what a node remembers follows what it holds, also when only a part of it is backed up."""
    await agent.backup.run(backup("t1"))
    before = remembered(tmp_path / "state")
    table = node.table("shop", "orders")
    dropped = table.name.rpartition("-")[2]
    assert dropped in before
    shutil.rmtree(table)
    arguments = BackupArguments(SnapshotArguments("t2", {"many": ["empty"]}), [target()])
    await agent.backup.run(Command("command-t2", arguments))
    assert remembered(tmp_path / "state") == before - {dropped}
