"""SCHEMA: what the restore needs and the cluster lacks is made, from the backup's own statements. Fenced; on one node.

Order: tables to be replaced are dropped, then per keyspace: keyspace, types, functions, aggregates, tables (without
`WITH ID`), their indexes. One statement at a time, agreement awaited. Whatever is there already as it should be is
passed over, so that a run that was cut is simply done again. A live table that lacks an index stays so, unless an
earlier run of this job has begun to make it: the tables are noted before the first statement.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from agent.cassandra.cql_text import quote
from agent.cassandra.schema_capture import types_of
from agent.cassandra.schema_compare import all_statements, by_name, other_types, type_described
from agent.jobs.restore.errors import TableNotInBackup, TypeDiffers
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.replaced_types import tables_going, types_going, types_in_use
from agent.jobs.restore.tools import RestoreTools, checked, refuse_after_import
from agent.model.job import JobContext, Outcome
from agent.model.snapshot import KeyspaceSchema, SchemaObject
from agent.wire.commands import RestoreArguments
from agent.wire.node import Tables
from agent.wire.results import PhaseResult


class SchemaJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Replace what is to be replaced, make what is missing. Raises `TypeInUse` and `TypeDiffers` before anything is
        dropped or made."""
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        refuse_after_import(notes)
        await context.stages.enter("reading the backup")
        async with self._tools.sources.opened(arguments, context.waiting) as source:
            backup = by_name(source.head.schema)
        _refuse_unknown(arguments, backup)
        await self._tools.settled()
        live = await self._tools.live(sorted(arguments.tables))
        for refused in types_in_use(arguments.replace, backup, live):
            raise refused
        _refuse_other_types(arguments, backup, live, arguments.replace)
        done: list[str] = []
        for label, statement in _drops(arguments, backup, live):
            await self._change(context, notes, label, statement)
        live = await self._tools.live(sorted(arguments.tables))
        _refuse_other_types(arguments, backup, live, {})  # should somebody have made one while tables were dropped
        begun = await notes.begin_tables(
            {
                (keyspace, table)
                for keyspace, tables in arguments.tables.items()
                for table in tables
                if keyspace not in live or table not in live[keyspace].columns
            }
        )
        for keyspace in sorted(arguments.tables):
            ours = {table for each, table in begun if each == keyspace}
            for one in missing_objects(backup[keyspace], live.get(keyspace), arguments.tables[keyspace], ours):
                for statement in missing_statements(one, live.get(keyspace)):
                    await self._change(context, notes, f"making {one.kind} {keyspace}.{one.name}", statement)
                done.append(f"{keyspace}.{one.name}" if one.kind != "keyspace" else keyspace)
        return Outcome(PhaseResult(done))

    async def _change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        await self._tools.change(context, notes, label, statement)
        await self._tools.settled()


def missing_objects(
    backup: KeyspaceSchema, live: KeyspaceSchema | None, tables: Sequence[str], begun: Collection[str] = ()
) -> list[SchemaObject]:
    """What the live keyspace lacks for the asked tables, in the order in which it can be made; of the tables `begun` by
    an earlier run what that did not come to, so that they are among it though they may be whole.

    A keyspace that is gone comes back with all its types, functions and aggregates; one that is there gets only the
    types (and, for masked columns, the functions) that the tables to be made need. Indexes come with their table.
    """
    have = {(one.kind, one.name) for one in live.objects} if live is not None else set()
    have -= {("table", table) for table in begun}
    making = {table for table in tables if table in begun or live is None or table not in live.columns}
    types = {name for table in making for name in types_of(backup, table)}
    masked = any("MASKED WITH" in one.statement for one in backup.objects if one.kind == "table" and one.name in making)

    def wanted(one: SchemaObject) -> bool:
        match one.kind:
            case "keyspace":
                return live is None
            case "type":
                return live is None or one.name in types
            case "function" | "aggregate":
                return live is None or masked
            case "table":
                return one.name in making
            case "index":
                return one.base in making
            case _:
                return False

    return [one for one in backup.objects if wanted(one) and (one.kind, one.name) not in have]


def missing_statements(one: SchemaObject, live: KeyspaceSchema | None) -> list[str]:
    """What makes the object; of a table that is there already, what it was not told yet: Cassandra describes it by the
    statements that it has carried out."""
    there = [
        each for each in (live.objects if live is not None else ()) if (each.kind, each.name) == (one.kind, one.name)
    ]
    if not there:
        return all_statements(one)
    told = all_statements(there[0])
    return [statement for statement in all_statements(one)[1:] if statement not in told]


def _drops(
    arguments: RestoreArguments, backup: Mapping[str, KeyspaceSchema], live: Mapping[str, KeyspaceSchema]
) -> Iterator[tuple[str, str]]:
    """(what, statement) that removes the tables to be replaced, then those of their types that differ. A table that is
    as in the backup already was replaced by a run that was cut."""
    for keyspace, tables in sorted(arguments.replace.items()):
        if keyspace not in live:
            continue
        then, now = backup[keyspace], live[keyspace]
        for table in tables_going(tables, then, now):
            yield f"dropping table {keyspace}.{table}", f"DROP TABLE IF EXISTS {quote(keyspace)}.{quote(table)}"
        for name in types_going(tables, then, now):
            yield f"dropping type {keyspace}.{name}", f"DROP TYPE IF EXISTS {quote(keyspace)}.{quote(name)}"


def _refuse_other_types(
    arguments: RestoreArguments,
    backup: Mapping[str, KeyspaceSchema],
    live: Mapping[str, KeyspaceSchema],
    replaced: Tables,
) -> None:
    """Raises `TypeDiffers` when a table that is to be made would get a live type of other fields, unless it is one of
    `replaced`, whose types go first."""
    for keyspace, tables in sorted(arguments.tables.items()):
        if keyspace not in live:
            continue
        then, now = backup[keyspace], live[keyspace]
        for table in tables:
            if table in now.columns or table in replaced.get(keyspace, ()):
                continue
            for name in other_types(then, now, table):
                raise TypeDiffers(
                    f"the type {keyspace}.{name}, which {keyspace}.{table} needs, differs from the backup",
                    keyspace=keyspace,
                    table=table,
                    type=name,
                    backup=type_described(then, name),
                    live=type_described(now, name),
                )


def _refuse_unknown(arguments: RestoreArguments, backup: Mapping[str, KeyspaceSchema]) -> None:
    for asked in (arguments.tables, arguments.replace):
        for keyspace, tables in asked.items():
            if keyspace not in backup:
                raise TableNotInBackup(f"the backup has no keyspace {keyspace}", keyspace=keyspace)
            for table in tables:
                if table not in backup[keyspace].columns:
                    raise TableNotInBackup(
                        f"the backup has no table {keyspace}.{table}", keyspace=keyspace, tables=[table]
                    )
