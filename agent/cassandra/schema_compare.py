"""What a restore would have to make or change: a backup's schema against the live one. Pure.

Two tables are alike when their columns are (names, types, kinds, positions, clustering order) and the user types these
name have the same fields; ids and options don't matter, imported SSTables fit all the same.
"""

import re
from collections.abc import Mapping, Sequence

from agent.cassandra.cql_text import statements, unquote, without_id
from agent.cassandra.schema_capture import types_of
from agent.model.snapshot import KeyspaceSchema, SchemaObject
from agent.wire.node import Tables
from agent.wire.replication import replication_differences
from agent.wire.results import TableDifference, ViewCql

_DROP = re.compile(r'\bDROP\s+("(?:[^"]|"")+"|[A-Za-z0-9_]+)\s+USING\s+TIMESTAMP\b')

Schemas = Mapping[str, KeyspaceSchema]


def by_name(schemas: Sequence[KeyspaceSchema]) -> dict[str, KeyspaceSchema]:
    """Keyspace → schema."""
    return {schema.name: schema for schema in schemas}


def missing_tables(asked: Tables, live: Schemas) -> Tables:
    """The asked tables that live keyspaces lack (missing keyspaces apart)."""
    found = {
        keyspace: [table for table in tables if table not in live[keyspace].columns]
        for keyspace, tables in asked.items()
        if keyspace in live
    }
    return {keyspace: tables for keyspace, tables in found.items() if tables}


def differences(asked: Tables, backup: Schemas, live: Schemas) -> list[TableDifference]:
    """The asked tables that are there with other columns, or with user types of other fields; also those that are not
    there, but user types of theirs with other fields are: made now, such a table would be of the live type."""
    found = []
    for keyspace, tables in asked.items():
        if keyspace not in backup or keyspace not in live:
            continue
        then, now = backup[keyspace], live[keyspace]
        for table in tables:
            if table not in then.columns:
                continue
            if table in now.columns:
                if table_differs(then, now, table):
                    found.append(TableDifference(keyspace, table, described(then, table), described(now, table)))
            elif other_types(then, now, table):
                held = _texts(now, [("type", name) for name in types_of(then, table)])
                absent = f"-- the table {table} is not there"
                found.append(TableDifference(keyspace, table, described(then, table), f"{held}\n{absent}"))
    return found


def other_types(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> list[str]:
    """The user types that the backup's table needs and that live with other fields."""
    return [name for name in types_of(then, table) if name in now.types and now.types[name] != then.types[name]]


def table_differs(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> bool:
    """Whether a table that both have differs. A column that the backup's table had dropped must be known to the live
    one as well: SSTables may still have it, and Cassandra refuses those with a column it never heard of."""
    if set(then.columns[table]) != set(now.columns[table]):
        return True
    if not dropped_columns(then, table) <= dropped_columns(now, table) | {column.name for column in now.columns[table]}:
        return True
    return any(now.types.get(name) != then.types[name] for name in types_of(then, table))


def dropped_columns(schema: KeyspaceSchema, table: str) -> frozenset[str]:
    """The columns that DESCRIBE … WITH INTERNALS lists as dropped."""
    return frozenset(_drop_texts(schema, table))


def hidden_columns(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> frozenset[str]:
    """Columns that both have, but that were dropped since `then` and added again: Cassandra hides their cells of before
    the drop."""
    before, since = _drop_texts(then, table), _drop_texts(now, table)
    both = {column.name for column in then.columns[table]} & {column.name for column in now.columns[table]}
    return frozenset(name for name in both & since.keys() if before.get(name) != since[name])


def _drop_texts(schema: KeyspaceSchema, table: str) -> dict[str, str]:
    """Dropped column → when: `DROP … USING TIMESTAMP …`."""
    texts = [
        text for one in schema.objects if (one.kind, one.name) == ("table", table) for text in statements(one.statement)
    ]
    return {unquote(found[1]): text[found.start() :] for text in texts[1:] if (found := _DROP.search(text)) is not None}


def described(schema: KeyspaceSchema, table: str) -> str:
    """The table as CQL, with the types it names, for people."""
    return _texts(schema, [("type", name) for name in types_of(schema, table)] + [("table", table)])


def type_described(schema: KeyspaceSchema, name: str) -> str:
    """The type as CQL, for people."""
    return _texts(schema, [("type", name)])


def _texts(schema: KeyspaceSchema, wanted: Sequence[tuple[str, str]]) -> str:
    texts = [one.statement for kind, name in wanted for one in schema.objects if (one.kind, one.name) == (kind, name)]
    return "\n".join(without_id(text) for text in texts)


def views_on(asked: Tables, schemas: Schemas) -> list[ViewCql]:
    """The views based on the asked tables, with statements that make them anew."""
    return [
        ViewCql(keyspace, one.name, one.base, plain_statement(one))
        for keyspace, tables in sorted(asked.items())
        if keyspace in schemas
        for one in schemas[keyspace].objects
        if one.kind == "view" and one.base in tables
    ]


def names_taken(views: Sequence[ViewCql], live: Schemas) -> list[ViewCql]:
    """Those of the views whose name belongs to something else by now: a table, or a view of another one."""
    taken = {
        (keyspace, one.name, one.base if one.kind == "view" else "")
        for keyspace, schema in live.items()
        for one in schema.objects
        if one.kind in ("table", "view")
    }
    names = {(keyspace, name) for keyspace, name, _ in taken}
    return [
        view
        for view in views
        if (view.keyspace, view.name) in names and (view.keyspace, view.name, view.base) not in taken
    ]


def plain_statement(one: SchemaObject) -> str:
    """The object's CREATE statement without an id; what follows it (dropped columns) is left out."""
    return without_id(statements(one.statement)[0])


def all_statements(one: SchemaObject) -> list[str]:
    """Everything that makes the object as it was, dropped columns included, without an id."""
    first, *more = statements(one.statement)
    return [without_id(first), *more]


def replication_differs(asked: Tables, backup: Schemas, live: Schemas) -> dict[str, list[dict[str, str]]]:
    """Keyspace → [in the backup, live] where both exist and replicate differently."""
    return replication_differences(
        {keyspace: schema.replication for keyspace, schema in backup.items()},
        {keyspace: schema.replication for keyspace, schema in live.items()},
        sorted(asked),
    )
