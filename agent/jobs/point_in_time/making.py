"""What makes the asked tables as they were at a point, out of how they are now. Pure.

In: the schema at the point, the live one, and the columns that came after the point. Out: (what, statement) pairs in
the order in which they can be executed. Whatever is there already as it should be is passed over, so that a run that
was cut is simply done again.

Tables are made `WITH ID` as at the point: the commit log names tables by their ids. A column that came later must be
known as dropped, or Cassandra can't read the log's later writes and does not start (tried on 4.1.10 and 5.0.9): it is
added and dropped again.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from agent.cassandra.cql_text import quote, statements
from agent.cassandra.schema_capture import named_types
from agent.cassandra.schema_compare import Schemas, dropped_columns
from agent.jobs.point_in_time.point_errors import NameTaken
from agent.jobs.point_in_time.tables_then import table_needs
from agent.jobs.restore.replaced_types import types_going
from agent.jobs.restore.schema import missing_objects
from agent.model.snapshot import KeyspaceSchema, SchemaObject
from agent.wire.node import Tables

Step = tuple[str, str]
"""What is done, for people; and the statement."""


def drops(made: Tables, again: Tables, then: Schemas, live: Schemas) -> Iterator[Step]:
    """Of the tables that are `made` those that are made `again` go first, where they are not yet as they were; then the
    types of any that differ."""
    for keyspace, tables in sorted(made.items()):
        if keyspace not in live:
            continue
        for table in again.get(keyspace, ()):
            if table_needs(keyspace, table, then[keyspace], live[keyspace]).action == "recreate":
                yield f"dropping table {keyspace}.{table}", f"DROP TABLE IF EXISTS {quote(keyspace)}.{quote(table)}"
        for name in types_going(tables, then[keyspace], live[keyspace]):
            yield f"dropping type {keyspace}.{name}", f"DROP TYPE IF EXISTS {quote(keyspace)}.{quote(name)}"


def makes(
    keyspace: str, tables: Sequence[str], then: KeyspaceSchema, live: KeyspaceSchema | None, begun: Collection[str]
) -> Iterator[Step]:
    """What the live keyspace lacks for the asked tables; of those `begun` by an earlier run what that did not come
    to."""
    for one in missing_objects(then, live, tables, begun):
        for statement in _lacking(one, live):
            yield f"making {one.kind} {keyspace}.{one.name}", statement


def forgets(
    keyspace: str, table: str, live: KeyspaceSchema, later: Mapping[str, str], types: Collection[str]
) -> Iterator[Step]:
    """Has Cassandra know the columns `later` (name → type) of a table as dropped. `types`: user types that are there; a
    column of another one is left out (see `unreadable`)."""
    there = {column.name for column in live.columns[table]}
    name = f"{quote(keyspace)}.{quote(table)}"
    for column, type_ in sorted(later.items()):
        if column not in there | dropped_columns(live, table) and is_readable(type_, types):
            yield f"adding column {column} to {keyspace}.{table}", f"ALTER TABLE {name} ADD {quote(column)} {type_}"
    for column in sorted(later):
        known = column in there | dropped_columns(live, table)
        if column in there or (not known and is_readable(later[column], types)):
            yield f"dropping column {column} of {keyspace}.{table}", f"ALTER TABLE {name} DROP {quote(column)}"


def is_readable(type_: str, types: Collection[str]) -> bool:
    """Whether a column of that type can be added where only those user types are there. Numbers: sizes of vectors."""
    return all(word in types or word in _CQL_TYPES or word.isdecimal() for word in named_types(type_))


_CQL_TYPES = frozenset(
    {
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "counter",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "frozen",
        "inet",
        "int",
        "list",
        "map",
        "set",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "tuple",
        "uuid",
        "varchar",
        "varint",
        "vector",
    }
)
"""CQL's own."""


def refuse_unlike(asked: Tables, then: Schemas, live: Schemas) -> None:
    """Raises `NameTaken` for a table that is not as at the point though all was done for it: somebody has made another
    one of that name meanwhile, which would get rows that are not its own."""
    for keyspace, tables in sorted(asked.items()):
        for table in tables:
            found = table_needs(keyspace, table, then[keyspace], live.get(keyspace))
            if found.action != "keep":
                told = f"{keyspace}.{table} was changed while it was made as at the point: {found.told}"
                raise NameTaken(told, names=[f"{keyspace}.{table}"])


def names_in_the_way(made: Tables, then: Schemas, live: Schemas, views: Tables) -> Iterator[NameTaken]:
    """What has the name of one of the tables to be made, or of their indexes, and does not go: another table's index,
    a view that is none of `views`, a table where an index is not on its own."""
    for keyspace, tables in sorted(made.items()):
        if keyspace not in live:
            continue
        going = set(views.get(keyspace, ()))
        holders = {
            one.name: one
            for one in live[keyspace].objects
            if one.kind == "view" and one.name not in going and one.base not in tables
        }
        indexes = {one.name: one for one in live[keyspace].objects if one.kind == "index" and one.base not in tables}
        for one in then[keyspace].objects:
            if one.kind == "table" and one.name in tables and one.name in holders:
                told = f"{keyspace}.{one.name} is a view of {holders[one.name].base} now"
                yield NameTaken(told, names=[f"{keyspace}.{one.name}"])
            if one.kind == "index" and one.base in tables and one.name in indexes:
                told = f"the index {keyspace}.{one.name} of {one.base} is one of {indexes[one.name].base} now"
                yield NameTaken(told, names=[f"{keyspace}.{one.name}"])


def _lacking(one: SchemaObject, live: KeyspaceSchema | None) -> list[str]:
    """All statements of the object, its id with them; of one that is there those that it was not told yet."""
    there = [
        each for each in (live.objects if live is not None else ()) if (each.kind, each.name) == (one.kind, one.name)
    ]
    wanted = statements(one.statement)
    if not there:
        return wanted
    told = statements(there[0].statement)
    return [statement for statement in wanted[1:] if statement not in told]
