"""Which tables were dropped and made again under their old id between a snapshot and a point. In: the schema's history,
the names of Cassandra's own snapshots. Out: their names.

By its id the commit log tells such a table from no other: what it held before the drop would come back, from the
snapshot and from the log. Two signs: a look at the schema that lacks the id, and `dropped-<ms>-<table>`, which
Cassandra keeps below the directory of the id [X: ColumnFamilyStore.getTimestampedSnapshotNameWithPrefix]. Where
auto_snapshot is off and both happened between two looks, nothing shows it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from agent.cassandra.inventory import snapshot_tags
from agent.cassandra.node import CassandraNode
from agent.jobs.point_in_time.point import pit_seconds
from agent.jobs.point_in_time.point_errors import DroppedSince
from agent.jobs.point_in_time.tables_then import TableThen
from agent.model.commit_log import SchemaRecord
from agent.model.manifest import Head
from agent.plan.beginnings import dropped_at, same_id
from agent.wire.point_in_time import PitArguments


async def refuse_dropped(
    node: CassandraNode,
    head: Head,
    records: Sequence[SchemaRecord],
    tables: Sequence[TableThen],
    arguments: PitArguments,
) -> None:
    """Raises `DroppedSince`, and OSError."""
    tags = await asyncio.to_thread(snapshot_tags, await node.directories.data(), "dropped-")
    found = dropped_and_made_again(head, records, tables, tags, pit_seconds(arguments))
    if found:
        told = f"dropped between snapshot and point, and made again under the same id: {', '.join(found[:20])}"
        raise DroppedSince(told, tables=found[:100])


def dropped_and_made_again(
    head: Head,
    records: Sequence[SchemaRecord],
    tables: Iterable[TableThen],
    tags: Mapping[str, Sequence[str]],
    pit: float,
) -> list[str]:
    """Of those that the snapshot has under the id that they had at the point. `tags`: tag → directories. Pure."""
    taken = {(one.keyspace, one.table): one.table_id for one in head.tables}
    looks = [one for one in records if head.taken_at < one.first_seen <= pit]
    found = []
    for one in tables:
        keyspace, table, own = one.table.keyspace, one.table.table, one.table.id_at_pit
        if not own or not same_id(taken.get((keyspace, table), ""), own):
            continue
        absent = any(not _has(look, own) for look in looks)
        place = f"/{keyspace}/{table}-{own.replace('-', '')}/"
        kept = [tag for tag, places in tags.items() if any(place in path for path in places)]
        if absent or any(head.taken_at < when / 1000 <= pit for when in dropped_at(kept, table)):
            found.append(one.name)
    return found


def _has(look: SchemaRecord, own_id: str) -> bool:
    return any(same_id(each, own_id) for schema in look.keyspaces for each in schema.table_ids.values())
