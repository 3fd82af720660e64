"""Which user types must be dropped so that tables can be made as in the backup, and what stands against it. Pure.

Cassandra refuses DROP TYPE while any table, type, function or aggregate uses the type, so a type is only dropped when
all of these are dropped too. Whatever else uses it is told before the first DROP: afterwards the tables would be gone
and could not be made again.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from agent.cassandra.schema_capture import named_types, types_of
from agent.cassandra.schema_compare import table_differs, type_described
from agent.jobs.restore.errors import TypeInUse
from agent.model.snapshot import KeyspaceSchema, SchemaObject

_SHOWN = 20
_RETURNS = re.compile(r"\bRETURNS\s+(.+?)\s+LANGUAGE\b", re.IGNORECASE | re.DOTALL)
_STATE = re.compile(r"\bSTYPE\s+(.+?)(?:\s+FINALFUNC\b|\s+INITCOND\b|;|$)", re.IGNORECASE | re.DOTALL)


def tables_going(tables: Sequence[str], backup: KeyspaceSchema, live: KeyspaceSchema) -> list[str]:
    """Those of the tables to be replaced that differ still."""
    return [table for table in tables if table in live.columns and table_differs(backup, live, table)]


def types_going(tables: Sequence[str], backup: KeyspaceSchema, live: KeyspaceSchema) -> list[str]:
    """The live types that must go for these tables, each before those that it names: what differs, and what of the
    tables' types is made of that."""
    used = {name for table in tables if table in backup.columns for name in types_of(backup, table)}
    going = {name for name in used & live.types.keys() if live.types[name] != backup.types[name]}
    while more := {name for name in (used & live.types.keys()) - going if _fields_name(live, name) & going}:
        going |= more
    ordered = [one.name for one in live.objects if one.kind == "type" and one.name in going]
    return ordered[::-1]


def types_in_use(
    replaced: Mapping[str, Sequence[str]], backup: Mapping[str, KeyspaceSchema], live: Mapping[str, KeyspaceSchema]
) -> list[TypeInUse]:
    """For each type that must go, and that something which stays uses, an error that names both and shows the type's
    two definitions."""
    found = []
    for keyspace, tables in sorted(replaced.items()):
        if keyspace not in backup or keyspace not in live:
            continue
        now = live[keyspace]
        going = types_going(tables, backup[keyspace], now)
        for name in going:
            users = _users(now, name, frozenset(going), tables_going(tables, backup[keyspace], now))
            if users:
                found.append(
                    TypeInUse(
                        f"the type {keyspace}.{name} differs and is used by {', '.join(users[:_SHOWN])}",
                        keyspace=keyspace,
                        type=name,
                        used_by=users[:_SHOWN],
                        backup=type_described(backup[keyspace], name),
                        live=type_described(now, name),
                    )
                )
    return found


def _users(now: KeyspaceSchema, name: str, types: Collection[str], tables: Collection[str]) -> list[str]:
    """What stays and uses the type, as `kind name`."""
    users = [
        f"table {table}"
        for table, columns in sorted(now.columns.items())
        if table not in tables and any(name in named_types(column.type) for column in columns)
    ]
    users += [f"type {other}" for other in sorted(now.types) if other not in types and name in _fields_name(now, other)]
    return users + [
        f"{one.kind} {one.name}"
        for one in now.objects
        if one.kind in ("function", "aggregate") and name in _signature(one)
    ]


def _fields_name(schema: KeyspaceSchema, name: str) -> frozenset[str]:
    return frozenset(used for _, text in schema.types[name] for used in named_types(text))


def _signature(one: SchemaObject) -> frozenset[str]:
    """The names in the types of a function's or aggregate's arguments and result."""
    arguments, _, rest = one.statement.partition("(")[2].partition(")")
    if one.kind == "aggregate":  # its arguments are types alone
        found = _STATE.search(rest)
        return named_types(arguments) | named_types(found[1] if found else "")
    found = _RETURNS.search(rest)
    texts = [argument.strip().partition(" ")[2] for argument in _split(arguments)]
    return named_types(" ".join([*texts, found[1] if found else ""]))


def _split(arguments: str) -> list[str]:
    """At the commas that stand outside of `<…>`."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter == "<") - (letter == ">")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
