"""In what a live table differs from the backup's, for people: two schemas in, short clauses out. Pure.

Each names a column, a user type or a field and says both sides, so that nobody has to compare two texts by eye. Names
stand in backticks: a field may well be called `more`.
"""

from collections.abc import Iterator, Mapping

from agent.cassandra.schema_compare import dropped_columns, other_types
from agent.model.snapshot import Column, KeyspaceSchema


def what_differs(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> list[str]:
    """`then`: of the backup, `now`: live. Nothing when the tables are alike."""
    return [*_columns(then, now, table), *_types(then, now, table)]


def _columns(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> Iterator[str]:
    if table not in now.columns:
        return
    before = {column.name: column for column in then.columns[table]}
    live = {column.name: column for column in now.columns[table]}
    for name, column in before.items():
        if name not in live:
            yield f"the column `{name}` ({column.type}) is missing"
        elif live[name] != column:
            yield f"the column `{name}` {_sides(column, live[name])}"
    for name, column in live.items():
        if name not in before:
            yield f"the column `{name}` ({column.type}) is not in the backup"
    for name in sorted(dropped_columns(then, table) - dropped_columns(now, table) - live.keys()):
        yield f"the column `{name}`, dropped before the backup, was never there"


def _sides(then: Column, now: Column) -> str:
    told = []
    if then.type != now.type:
        told.append(f"is {now.type}, in the backup {then.type}")
    if then.kind != now.kind:
        told.append(f"is a {_part(now)} column, in the backup a {_part(then)} column")
    elif then.position != now.position:
        told.append(f"is number {now.position + 1} of the {_part(now)}, in the backup number {then.position + 1}")
    if then.clustering_order != now.clustering_order:
        told.append(f"is ordered {now.clustering_order}, in the backup {then.clustering_order}")
    return " and ".join(told)


def _part(column: Column) -> str:
    return column.kind.replace("_", " ")


def _types(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> Iterator[str]:
    for name in other_types(then, now, table):
        before, live = _fields(then, name), _fields(now, name)
        told = [f"lacks the field `{field}` ({kind})" for field, kind in before.items() if field not in live]
        told += [
            f"has a field `{field}` ({kind}) that the backup lacks"
            for field, kind in live.items()
            if field not in before
        ]
        told += [
            f"has the field `{field}` as {live[field]}, in the backup {kind}"
            for field, kind in before.items()
            if live.get(field, kind) != kind
        ]
        yield f"the type `{name}` {' and '.join(told) or 'has its fields in another order'}"


def _fields(schema: KeyspaceSchema, name: str) -> Mapping[str, str]:
    return dict(schema.types[name])
