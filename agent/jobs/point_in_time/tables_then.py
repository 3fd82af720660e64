"""The asked tables as they were at the point, against how they are now. In: the schema's history, the snapshot's head,
the node. Out: for each table what has to be done, and what it begins with."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import msgspec

from agent.cassandra.inventory import snapshot_tags
from agent.cassandra.node import CassandraNode
from agent.cassandra.schema_compare import Schemas, by_name, hidden_columns, table_differs
from agent.cassandra.schema_telling import what_differs
from agent.jobs.point_in_time.point import is_refused, pit_seconds
from agent.jobs.point_in_time.point_errors import TableNotThen
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.restore.errors import TableNotInBackup
from agent.model.commit_log import SchemaRecord
from agent.model.manifest import Head
from agent.model.snapshot import KeyspaceSchema
from agent.plan.beginnings import Beginning, beginning, may_hide, same_id, truncate_times
from agent.plan.schema_history import grown, in_force
from agent.wire.node import Tables
from agent.wire.point_in_time import PitArguments, PitTable


class TableThen(msgspec.Struct, frozen=True):
    """An asked table that existed at the point. `hidden`: a TRUNCATE before the point may be behind a later one, of
    which alone Cassandra keeps the time. `forgotten`: at the replay it keeps the position of none."""

    table: PitTable
    beginning: Beginning
    hidden: bool = False
    forgotten: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.table.keyspace}.{self.table.table}"


class Truncates(msgspec.Struct, frozen=True):
    """`last`: table id → the time that Cassandra keeps; `seen`: (keyspace, table) → the times in the names of its
    auto-snapshots. Milliseconds since 1970."""

    last: Mapping[str, int]
    seen: Mapping[tuple[str, str], Sequence[int]]


def schema_then(head: Head, records: Sequence[SchemaRecord], pit: float) -> dict[str, KeyspaceSchema]:
    """Keyspace → its schema at the point; the snapshot's where the history has none. Types keep fields that they got
    since."""
    record = in_force(records, pit)
    later = [one for one in records if one.first_seen > pit]
    return by_name(grown(record.keyspaces if record is not None else head.schema, later))


def named_tables(asked: Tables, then: Schemas, backed_up: Collection[str]) -> Tables:
    """What is asked for, table by table: {} is every keyspace of the backup, [] every table of the keyspace, as at the
    point. One that did not exist then stays named."""
    chosen = asked or {name: [] for name in then if name in backed_up and not is_refused(name)}
    return {
        keyspace: sorted(tables) or sorted(then[keyspace].columns if keyspace in then else ())
        for keyspace, tables in sorted(chosen.items())
    }


async def tables_then(
    tools: PointTools, head: Head, records: Sequence[SchemaRecord], arguments: PitArguments
) -> list[TableThen]:
    """Each asked table that existed at the point. Raises what the node's answers raise, OSError."""
    node, then = tools.node, schema_then(head, records, pit_seconds(arguments))
    asked = named_tables(arguments.tables, then, keyspaces_of(head))
    live = await tools.live(sorted(asked))
    truncates = Truncates(await node.view.truncated_at(), await _seen_truncates(node, asked))
    snapshot = {(one.keyspace, one.table): one.table_id for one in head.tables}
    there = ids_at_snapshot(head, records, then)
    found = compared(asked, then, live, snapshot, truncates, head.taken_at, arguments.pit_micros, there)
    return found if arguments.tables else [one for one in found if one.beginning != "absent"]


def keyspaces_of(head: Head) -> set[str]:
    """The keyspaces that the backup has."""
    return {schema.name for schema in head.schema} | {one.keyspace for one in head.tables}


def ids_at_snapshot(head: Head, records: Sequence[SchemaRecord], then: Schemas) -> set[str]:
    """Ids of tables that may have existed when the snapshot was taken, without dashes. The snapshot knows exactly, of
    the keyspaces that it has; of others the history tells, and without one every table counts as older."""
    known = {schema.name for schema in head.schema}
    schemas = [
        schema
        for record in records
        if record.unseen_since is None or record.unseen_since < head.taken_at
        for schema in record.keyspaces
    ] or list(then.values())
    seen = [*head.schema, *(schema for schema in schemas if schema.name not in known)]
    return {own_id.replace("-", "") for schema in seen for own_id in schema.table_ids.values()}


def compared(
    asked: Tables,
    then: Schemas,
    live: Schemas,
    snapshot: Mapping[tuple[str, str], str],
    truncates: Truncates,
    taken_at: float,
    pit_micros: int,
    at_snapshot: Collection[str] = (),
) -> list[TableThen]:
    """`snapshot`: (keyspace, table) → the table's id in the snapshot; `at_snapshot`: see `ids_at_snapshot`. Pure."""
    found = []
    for keyspace, tables in asked.items():
        for table in tables:
            if keyspace not in then or table not in then[keyspace].columns:
                continue
            one = table_needs(keyspace, table, then[keyspace], live.get(keyspace))
            last = {same.replace("-", ""): when for same, when in truncates.last.items()}.get(
                one.id_at_pit.replace("-", "")
            )
            seen = list(truncates.seen.get((keyspace, table), ()))
            hidden = may_hide(last, seen, pit_micros)
            forgotten = one.action != "keep" or (last is not None and last > pit_micros // 1_000)
            if one.action != "keep" and last is not None:
                seen, last = [*seen, last], None  # made anew, it loses the position that Cassandra keeps
            begins = beginning(
                snapshot.get((keyspace, table)),
                one.id_at_pit,
                last_truncate=last,
                truncates=seen,
                taken_at=taken_at,
                pit_micros=pit_micros,
                was_there=one.id_at_pit.replace("-", "") in at_snapshot,
            )
            told = msgspec.structs.replace(one, begins_empty=begins == "empty")
            from_snapshot = begins == "snapshot"
            found.append(TableThen(told, begins, hidden and from_snapshot, forgotten and from_snapshot))
    return found


def refuse_absent(head: Head, then: Sequence[TableThen]) -> None:
    """Raises `TableNotInBackup` for a table that is not in the snapshot, or not whole, and was there when it was
    taken: the commit log has not all of it."""
    lacking = [
        one.name for one in then if one.beginning == "absent" or (one.beginning != "empty" and one.name in head.lacking)
    ]
    if lacking:
        told = f"this node's part of the backup lacks {', '.join(lacking[:20])}, whole or in part"
        raise TableNotInBackup(told, tables=lacking[:100])


def refuse_not_then(arguments: PitArguments, then: Sequence[TableThen]) -> None:
    """Raises `TableNotThen` for a table that was asked for by name and did not exist at the point."""
    known = {(one.table.keyspace, one.table.table) for one in then}
    keyspaces = {keyspace for keyspace, _ in known}
    absent = [
        f"{keyspace}.{table}" for keyspace, tables in arguments.tables.items() for table in tables
        if (keyspace, table) not in known
    ]  # fmt: skip
    absent += [keyspace for keyspace, tables in arguments.tables.items() if not tables and keyspace not in keyspaces]
    if absent:
        raise TableNotThen(f"there was no {', '.join(absent[:20])} at the point", tables=absent[:100])


def table_needs(keyspace: str, table: str, then: KeyspaceSchema, now: KeyspaceSchema | None) -> PitTable:
    """What the table, which was there at the point, needs to be as it was. Pure."""
    id_at_pit = then.table_ids.get(table, "")
    if now is None or table not in now.columns:
        return PitTable(keyspace, table, id_at_pit, None, "create", "it is not there now")
    live_id = now.table_ids[table]
    if id_at_pit and not same_id(live_id, id_at_pit):
        return PitTable(keyspace, table, id_at_pit, live_id, "recreate", "it was made again since")
    if table_differs(then, now, table):
        told = "; ".join(what_differs(then, now, table))
        return PitTable(keyspace, table, live_id, live_id, "recreate", told)
    hidden = hidden_columns(then, now, table)
    if hidden:
        told = f"cells of before the point are hidden: {', '.join(sorted(hidden))} was dropped and added again since"
        return PitTable(keyspace, table, live_id, live_id, "recreate", told)
    lost = _indexes(then, table) ^ _indexes(now, table)
    if lost:
        names = ", ".join(sorted({name for name, _ in lost}))
        return PitTable(keyspace, table, live_id, live_id, "recreate", f"other indexes than at the point: {names}")
    return PitTable(keyspace, table, live_id, live_id, "keep")


def _indexes(schema: KeyspaceSchema, table: str) -> set[tuple[str, str]]:
    return {(one.name, one.statement) for one in schema.objects if one.kind == "index" and one.base == table}


async def _seen_truncates(node: CassandraNode, asked: Tables) -> dict[tuple[str, str], list[int]]:
    tags = await asyncio.to_thread(snapshot_tags, await node.directories.data(), ("truncated-",))
    found: dict[tuple[str, str], list[int]] = {}
    for tag, places in tags.items():
        for keyspace, tables in asked.items():
            for table in tables:
                times = truncate_times((tag,), table)
                if times and any(f"/{keyspace}/{table}-" in place for place in places):
                    found.setdefault((keyspace, table), []).extend(times)
    return found
