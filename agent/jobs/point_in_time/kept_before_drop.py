"""What a table holds before it is dropped to be made anew, where Cassandra itself keeps nothing of it. In: the tables
and what is done with them. Out: a refusal; a snapshot.

PIT_TABLES drops on all nodes what one of them orders. With auto_snapshot on, each keeps a `dropped-…` snapshot of its
own. A node where it is off is refused by PIT_CHECK; with `force` its PIT_FETCH, which every node ends before the first
drop, has Cassandra take a snapshot of these tables. It lies below the dropped table's directory and stays there, like
Cassandra's own, until a person clears it. What clients write between it and the drop is in none: a restore that is
undone later does not bring that back, which the refusal says.
"""

import contextlib
from collections.abc import Sequence

from agent.cassandra.errors import SnapshotExists
from agent.cassandra.node import CassandraNode
from agent.jobs.point_in_time.point_errors import DropKeepsNothing
from agent.jobs.point_in_time.tables_then import TableThen

DROPPED = "helenus-dropped-"
"""How the tag begins; the job follows."""


async def refuse_without_keeping(node: CassandraNode, tables: Sequence[TableThen]) -> None:
    """Raises `DropKeepsNothing`."""
    again = [one.name for one in tables if one.table.action == "recreate"]
    if again and not await node.view.auto_snapshot():
        raise DropKeepsNothing(
            f"auto_snapshot is off, so that Cassandra keeps nothing of what is dropped to be made anew: "
            f"{', '.join(again[:20])}",
            tables=again[:100],
        )


async def keep_before_drop(node: CassandraNode, job: str, tables: Sequence[TableThen]) -> None:
    """Have those that will be dropped kept, where Cassandra itself keeps none. Each has its own order, so that one that
    was cut is gone on with: what is there was taken by Cassandra to its end. Raises as `NodeControl.snapshot`."""
    again = [one.table for one in tables if one.table.action == "recreate"]
    if not again or await node.view.auto_snapshot():
        return
    for table in again:
        with contextlib.suppress(SnapshotExists):
            await node.control.snapshot(f"{DROPPED}{job}", {table.keyspace: [table.table]}, None)
