"""PIT_TABLES: the asked tables become what they were at the point: same ids, columns and indexes. Fenced; on one node.

    reading the schema's history → dropping views → dropping tables → making types, tables, indexes

In: PitArguments; `views` are dropped first, after their CQL was noted. Out: PhaseResult. What makes it safe: nothing is
dropped before every statement that makes it again is on this node's disk (`<state>/restores/<job>/schema.json`, from
which a run that was cut goes on, whatever the destination answers by then), Cassandra keeps what it drops as a snapshot
of its own (auto_snapshot; where that is off PIT_FETCH has taken one, see kept_before_drop.py), and every node is up, so
that all have the same schema before any is stopped. The data that the tables are made for stands verified on the nodes
already: the coordinator orders this after PIT_FETCH alone.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path

import msgspec

from agent.cassandra.schema_compare import Schemas, by_name
from agent.jobs.point_in_time.making import drops, forgets, is_readable, makes, names_in_the_way, refuse_unlike
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.point import checked_point, pit_seconds, snapshot_of
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.seen_logs import read_schemas
from agent.jobs.point_in_time.tables_then import refuse_not_then, schema_then, table_needs, tables_then
from agent.jobs.restore.going_views import drop_of, note_going
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.replaced_types import types_in_use
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import JobContext, Outcome
from agent.model.own_state import own_state
from agent.model.snapshot import KeyspaceSchema
from agent.plan.schema_history import later_columns
from agent.wire.commands import RestoreArguments
from agent.wire.node import Tables
from agent.wire.point_in_time import PitArguments
from agent.wire.results import PhaseResult
from kit.atomic_files import write_into

_SCHEMA = "schema.json"


class NotedSchema(msgspec.Struct, frozen=True):
    """What the tables become, noted before the first drop. `then`: the keyspaces at the point; `live`: as they were
    found; `later`: table id → columns that came after the point, name → type."""

    then: tuple[KeyspaceSchema, ...]
    live: tuple[KeyspaceSchema, ...]
    later: dict[str, dict[str, str]]


class PitTablesJob:
    """See the module."""

    def __init__(self, tools: PointTools, restore: RestoreTools) -> None:
        self._tools = tools
        self._restore = restore

    async def run(self, context: JobContext) -> Outcome:
        """Raises `TableNotThen`, `TypeInUse`, `NameTaken`, `NodesDown`, `NodesMoving`, `ViewsChanged` before anything
        is dropped."""
        arguments = checked_point(context.arguments)
        asked = msgspec.structs.replace(snapshot_of(arguments, ""), views=arguments.views)
        notes = self._restore.notes(context)
        await FetchNotes(self._tools.state, context.job).must_point(arguments)
        await self._restore.refuse_when_down_or_moving("changing the schema")
        await self._restore.settled()
        await self._restore.refuse_new_views(asked, notes)
        noted = await self._noted(context, arguments)
        then, found, live = by_name(noted.then), by_name(noted.live), await self._live(arguments)
        again = _needing(("recreate",), arguments, then, found)
        made = _needing(("recreate", "create"), arguments, then, found)
        for refused in [*types_in_use(made, then, live), *names_in_the_way(made, then, live, arguments.views)]:
            raise refused
        done = await self._drop_views(context, notes, asked)
        for label, statement in drops(made, again, then, live):
            await self._change(context, notes, label, statement)
        live = await self._live(arguments)
        lacking = {
            (keyspace, table)
            for keyspace, tables in arguments.tables.items()
            for table in tables
            if keyspace not in live or table not in live[keyspace].columns
        }
        begun = await notes.begin_tables(lacking)
        for keyspace, tables in sorted(arguments.tables.items()):
            ours = {table for each, table in begun if each == keyspace}
            for label, statement in makes(keyspace, tables, then[keyspace], live.get(keyspace), ours):
                await self._change(context, notes, label, statement)
        done += [f"{keyspace}.{table}" for keyspace, table in sorted(begun)]
        warnings = await self._forget_later(context, notes, arguments, noted)
        refuse_unlike(arguments.tables, then, await self._live(arguments))
        return Outcome(PhaseResult(done, warnings))

    async def _noted(self, context: JobContext, arguments: PitArguments) -> NotedSchema:
        """What an earlier run of the job noted, or the history's word, noted now."""
        directory = self._tools.state / "restores" / str(context.job)
        with own_state():
            found = await asyncio.to_thread(_read, directory / _SCHEMA)
        if found is not None:
            return found
        await context.stages.enter("reading the schema's history")
        host_id = (await self._tools.node.view.identity()).host_id
        async with (
            self._tools.sources.opened(snapshot_of(arguments, host_id), context.waiting, indexes=True) as source,
            self._tools.logs.opened(arguments, host_id, context.waiting) as logs,
        ):
            records = await read_schemas(logs, self._tools.own, source.head)
            refuse_not_then(arguments, await tables_then(self._tools, source.head, records, arguments))
            then = schema_then(source.head, records, pit_seconds(arguments))
        later = {
            then[keyspace].table_ids[table]: later_columns(
                records,
                pit_seconds(arguments),
                then[keyspace].table_ids[table],
                {column.name for column in then[keyspace].columns[table]},
            )
            for keyspace, tables in arguments.tables.items()
            for table in tables
        }
        noted = NotedSchema(
            tuple(then[keyspace] for keyspace in sorted(arguments.tables)),
            tuple((await self._live(arguments)).values()),
            later,
        )
        with own_state():
            await asyncio.to_thread(write_into, directory, _SCHEMA, msgspec.json.encode(noted))
        return noted

    async def _drop_views(self, context: JobContext, notes: RestoreNotes, asked: RestoreArguments) -> list[str]:
        """Every view that is named and there, after its CQL was noted; the names."""
        going = await note_going(self._restore, notes, asked.views)
        for view in going:
            await self._change(context, notes, f"dropping view {view.keyspace}.{view.name}", drop_of(view))
        return [f"{view.keyspace}.{view.name}" for view in going]

    async def _forget_later(
        self, context: JobContext, notes: RestoreNotes, arguments: PitArguments, noted: NotedSchema
    ) -> list[str]:
        """Have the columns that came after the point known as dropped; what can't be, as sentences."""
        warnings = []
        live = await self._live(arguments)
        for keyspace, tables in sorted(arguments.tables.items()):
            types = live[keyspace].types
            for table in tables:
                later = noted.later.get(live[keyspace].table_ids[table], {})
                for label, statement in forgets(keyspace, table, live[keyspace], later, types):
                    await self._change(context, notes, label, statement)
                warnings += [
                    f"{keyspace}.{table} had a column {column} of the type {type_} after the point, and that type is "
                    "not there: if the commit log holds writes to it, Cassandra only starts with force, without these"
                    for column, type_ in sorted(later.items())
                    if not is_readable(type_, types)
                ]
        return warnings

    async def _live(self, arguments: PitArguments) -> dict[str, KeyspaceSchema]:
        return await self._restore.live(sorted(arguments.tables))

    async def _change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        await self._restore.change(context, notes, label, statement)
        await self._restore.settled()


def _needing(actions: Collection[str], arguments: PitArguments, then: Schemas, found: Schemas) -> Tables:
    """The asked tables that need one of these, by how they were found before anything was changed."""
    chosen = {
        keyspace: [
            table
            for table in tables
            if table_needs(keyspace, table, then[keyspace], found.get(keyspace)).action in actions
        ]
        for keyspace, tables in arguments.tables.items()
    }
    return {keyspace: tables for keyspace, tables in chosen.items() if tables}


def _read(path: Path) -> NotedSchema | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=NotedSchema)
    except FileNotFoundError:
        return None
