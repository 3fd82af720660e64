"""What must be known of a node before its Cassandra is stopped. In: the node, while it answers CQL. Out: durable facts.

PIT_QUIESCE notes them, as the last phase that can ask: ids are those that PIT_TABLES has left, and PIT_PLACE works
without Cassandra.
"""

import asyncio
from pathlib import Path

from agent.cassandra.cql import Cql
from agent.cassandra.errors import NoDataDirectories, TableNotFound
from agent.cassandra.live_directories import IndexFact, NodeFacts, roots_of
from agent.cassandra.node import CassandraNode
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.wire.node import Tables

_CUSTOM = "CUSTOM"
"""Kind of indexes whose files are components of the table's SSTables (SAI, SASI), not a table of their own."""


async def note_facts(node: CassandraNode, tables: Tables, notes: PlaceNotes) -> NodeFacts:
    """Note directories, table ids and indexes. Raises `TableNotFound`, `NoDataDirectories`, `StagingRefused`, and what
    the node's answers raise."""
    view = node.view
    present = await view.keyspaces()
    missing = [
        f"{keyspace}.{table}"
        for keyspace, names in tables.items()
        for table in names
        if keyspace not in present or table not in present[keyspace].tables
    ]
    if missing:
        raise TableNotFound(f"tables are not on the node: {', '.join(missing)}", tables=missing)
    data = await node.directories.fresh()
    commitlog = await node.directories.commitlog()
    hints = await view.setting("hints_directory") or ""
    if not commitlog or not hints:
        lacking = "commit-log" if not commitlog else "hints"
        raise NoDataDirectories(f"the node does not name its {lacking} directory")
    roots = await asyncio.to_thread(roots_of, data, commitlog, hints, notes.job, node.settings.run_as)
    facts = NodeFacts(
        version=(await view.identity()).version,
        tables={
            keyspace: {table: present[keyspace].tables[table].replace("-", "") for table in names}
            for keyspace, names in tables.items()
        },
        indexes=await _indexes(node.cql, tables),
        data=roots[:-2],
        commitlog=roots[-2],
        hints=roots[-1],
        members={member.host_id: member.address for member in await view.ring(None)},
    )
    await notes.put_facts(facts)
    return facts


async def _indexes(cql: Cql, tables: Tables) -> tuple[IndexFact, ...]:
    rows = await cql.rows("SELECT keyspace_name, table_name, index_name, kind FROM system_schema.indexes")
    return tuple(
        IndexFact(row["keyspace_name"], row["table_name"], row["index_name"], row["kind"] != _CUSTOM)
        for row in rows
        if row["table_name"] in tables.get(row["keyspace_name"], ())
    )


def segments_of(facts: NodeFacts) -> Path:
    """Where the segments are that Cassandra replays: on the commit log's volume."""
    return facts.commitlog.path / "segments"


def restored_of(facts: NodeFacts) -> Path:
    """Where the restore command leaves an empty file for each segment that it gave back."""
    return facts.commitlog.path / "restored"
