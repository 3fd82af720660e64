"""The schema of keyspaces as Cassandra itself prints it. In: keyspace names. Out: `KeyspaceSchema`s whose statements
stand in the order in which they can be executed."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from agent.cassandra.cql import Cql, Row
from agent.cassandra.cql_text import quote, unquote
from agent.cassandra.errors import KeyspaceNotFound
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from kit.together import together

_Kind = Literal["keyspace", "type", "function", "aggregate", "table", "index", "view"]
_KINDS: dict[str, _Kind] = {
    "keyspace": "keyspace",
    "type": "type",
    "function": "function",
    "aggregate": "aggregate",
    "table": "table",
    "index": "index",
    "materialized_view": "view",
}
_ORDER = list(_KINDS.values())
_WORD = re.compile(r'"(?:[^"]|"")+"|[A-Za-z0-9_]+')


async def capture_schema(cql: Cql, keyspaces: Iterable[str]) -> tuple[KeyspaceSchema, ...]:
    """The named keyspaces' schema. Raises `KeyspaceNotFound` and what the connection raises."""
    names = sorted(set(keyspaces))
    tables, columns, types, views, indexes, spaces = await together(
        cql.rows("SELECT keyspace_name, table_name, id, gc_grace_seconds FROM system_schema.tables"),
        cql.rows(
            "SELECT keyspace_name, table_name, column_name, type, kind, position, clustering_order "
            "FROM system_schema.columns"
        ),
        cql.rows("SELECT keyspace_name, type_name, field_names, field_types FROM system_schema.types"),
        cql.rows("SELECT keyspace_name, view_name, base_table_name FROM system_schema.views"),
        cql.rows("SELECT keyspace_name, table_name, index_name FROM system_schema.indexes"),
        cql.rows("SELECT keyspace_name, replication, durable_writes FROM system_schema.keyspaces"),
    )
    known = {row["keyspace_name"]: row for row in spaces}
    tables_of, columns_of, types_of_keyspace = _grouped(tables), _grouped(columns), _grouped(types)
    views_of, indexes_of = _grouped(views), _grouped(indexes)
    captured = []
    for name in names:
        if name not in known:
            raise KeyspaceNotFound(f"there is no keyspace {name}", keyspace=name)
        described = await cql.rows(f"DESCRIBE KEYSPACE {quote(name)} WITH INTERNALS")
        bases = {row["view_name"]: row["base_table_name"] for row in views_of.get(name, ())}
        bases |= {row["index_name"]: row["table_name"] for row in indexes_of.get(name, ())}
        own_types = {
            row["type_name"]: tuple(zip(row["field_names"], row["field_types"], strict=True))
            for row in types_of_keyspace.get(name, ())
        }
        own_tables = tables_of.get(name, [])
        captured.append(
            KeyspaceSchema(
                name=name,
                replication=dict(known[name]["replication"]),
                durable_writes=known[name]["durable_writes"],
                objects=_objects(described, name, bases, own_types),
                columns=_columns(columns_of.get(name, []), frozenset(row["table_name"] for row in own_tables)),
                types=own_types,
                gc_grace_seconds={row["table_name"]: row["gc_grace_seconds"] for row in own_tables},
                table_ids={row["table_name"]: str(row["id"]) for row in own_tables},
            )
        )
    return tuple(captured)


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Keyspace → its rows: each answer is gone through once, however many keyspaces are asked for."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["keyspace_name"], []).append(row)
    return found


def _objects(
    described: Sequence[Row], keyspace: str, bases: dict[str, str], types: dict[str, tuple[tuple[str, str], ...]]
) -> tuple[SchemaObject, ...]:
    objects = []
    for row in described:
        kind = _KINDS.get(row["type"])
        if kind is None:
            continue
        name = unquote(row["name"])
        objects.append(
            SchemaObject(
                kind=kind, keyspace=keyspace, name=name, statement=row["create_statement"], base=bases.get(name, "")
            )
        )
    rank = {name: place for place, name in enumerate(types_in_order(types))}
    return tuple(sorted(objects, key=lambda one: (_ORDER.index(one.kind), rank.get(one.name, 0), one.name)))


def _columns(rows: Sequence[Row], tables: frozenset[str]) -> dict[str, tuple[Column, ...]]:
    """Columns of tables (system_schema.columns has those of views as well)."""
    found: dict[str, list[Column]] = {table: [] for table in sorted(tables)}
    for row in rows:
        if row["table_name"] in tables:
            found[row["table_name"]].append(
                Column(row["column_name"], row["type"], row["kind"], row["position"], row["clustering_order"])
            )
    return {
        table: tuple(sorted(columns, key=lambda one: (one.kind, one.position, one.name)))
        for table, columns in found.items()
    }


def named_types(text: str) -> frozenset[str]:
    """Every name in a type's text (`frozen<list<"Person">>`), built-in ones included."""
    return frozenset(unquote(word) for word in _WORD.findall(text))


def types_in_order(types: dict[str, tuple[tuple[str, str], ...]]) -> list[str]:
    """The user types so that each comes after those that its fields name."""
    ordered: list[str] = []
    waiting = dict(sorted(types.items()))
    while waiting:
        free = [
            name
            for name, fields in waiting.items()
            if not any(used in waiting and used != name for _, text in fields for used in named_types(text))
        ]
        for name in free or list(waiting):  # Cassandra allows no circle; should there be one, take them as they come
            ordered.append(name)
            del waiting[name]
    return ordered


def types_of(schema: KeyspaceSchema, table: str) -> list[str]:
    """The user types that a table needs, also through other types, in the order in which they can be created."""
    needed: set[str] = set()
    reached = {name for column in schema.columns.get(table, ()) for name in named_types(column.type)}
    while reached:
        fresh = (reached & schema.types.keys()) - needed
        needed |= fresh
        reached = {name for one in fresh for _, text in schema.types[one] for name in named_types(text)} - needed
    return [name for name in types_in_order(schema.types) if name in needed]
