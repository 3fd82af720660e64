"""The schema's history: which schema and ring were in force at a time, and what changed in a window. Pure.

In: the records of one node (agent.model.commit_log.SchemaRecord), in any order: one for each look that showed another
schema version or ring than the look before. Out: records and changes. What happened between two looks happened at an
unknown moment of that time: `doubt` names it for a point that lies there.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from agent.model.commit_log import SchemaRecord
from agent.model.snapshot import KeyspaceSchema, SchemaObject
from agent.wire.point_in_time import SchemaChange

Ring = dict[str, tuple[str, ...]]
"""Host id → tokens."""


def in_order(records: Iterable[SchemaRecord]) -> list[SchemaRecord]:
    """By the time of the look; of two looks at one time the one whose earlier look was earlier goes first."""
    return sorted(records, key=lambda one: (one.first_seen, one.unseen_since or -math.inf))


def in_force(records: Iterable[SchemaRecord], when: float) -> SchemaRecord | None:
    """What the last look at or before `when` showed; `doubt` says whether something else may have been in force by
    then. None: the history begins later."""
    seen = [record for record in in_order(records) if record.first_seen <= when]
    return seen[-1] if seen else None


def merged(*histories: Iterable[SchemaRecord]) -> list[SchemaRecord]:
    """One history out of several of the same node, such as its own and what a destination was told of it. A record that
    two have is there once, with the later `unseen_since`: both are true."""
    found: dict[tuple[float, str], SchemaRecord] = {}
    for record in (one for records in histories for one in records):
        key = record.first_seen, record.version
        known = found.get(key)
        if known is None or (record.unseen_since or -math.inf) > (known.unseen_since or -math.inf):
            found[key] = record
    return in_order(found.values())


def with_snapshot(
    records: Sequence[SchemaRecord], version: str, schemas: Iterable[KeyspaceSchema], taken_at: float
) -> list[SchemaRecord]:
    """The history with a snapshot's own schema as a look at its time: what was made after the last look and before the
    snapshot was there from then on. Of keyspaces that the snapshot has not, the look before it counts; where there was
    none, the history begins as it did."""
    before = in_force(records, taken_at)
    if before is None or before.version == version:
        return in_order(records)
    keyspaces = _by_name(before.keyspaces) | _by_name(tuple(schemas))
    return in_order([*records, SchemaRecord(version, None, taken_at, tuple(keyspaces.values()), before.ring)])


def ring_at(records: Iterable[SchemaRecord], when: float) -> Ring | None:
    """The ring in force at `when`; None: the history begins later."""
    record = in_force(records, when)
    return None if record is None else dict(record.ring)


def changes(records: Iterable[SchemaRecord], since: float, until: float) -> list[SchemaChange]:
    """Every change that may have happened after `since` and before `until`, oldest first."""
    return [
        change
        for before, after in _steps(records)
        if after.first_seen > since and _not_before(before, after) < until
        for change in _differences(before, after)
    ]


def doubt(records: Iterable[SchemaRecord], when: float) -> list[SchemaChange]:
    """The changes that may have been before or after `when`: it lies between two looks that differ."""
    return [
        change
        for before, after in _steps(records)
        if _not_before(before, after) < when < after.first_seen
        for change in _differences(before, after)
    ]


def ring_changes(records: Iterable[SchemaRecord], since: float, until: float) -> list[str]:
    """What changed in the ring after `since` and before `until`, as clauses, oldest first."""
    return [
        told
        for before, after in _steps(records)
        if after.first_seen > since and _not_before(before, after) < until
        for told in ring_differences(before.ring, after.ring)
    ]


def ring_differences(before: Ring, after: Ring) -> list[str]:
    """What makes of the ring `before` the ring `after`, as clauses; nothing where both are the same."""
    told = [f"{host} left the ring" for host in sorted(before.keys() - after.keys())]
    told += [f"{host} joined the ring" for host in sorted(after.keys() - before.keys())]
    return told + [
        f"{host} has other tokens"
        for host in sorted(before.keys() & after.keys())
        if sorted(before[host]) != sorted(after[host])
    ]


def grown(schemas: Iterable[KeyspaceSchema], later: Iterable[SchemaRecord]) -> tuple[KeyspaceSchema, ...]:
    """The schemas, with the fields that their types got by a later look: the commit log may hold values with them,
    which Cassandra can't read by a type that lacks them (tried on 5.0.9: it does not start), and a value without them
    is read by a type that has them."""
    looks = [_by_name(record.keyspaces) for record in in_order(later)]
    return tuple(
        _with_later_fields(schema, [look[schema.name] for look in looks if schema.name in look]) for schema in schemas
    )


def _with_later_fields(schema: KeyspaceSchema, later: Sequence[KeyspaceSchema]) -> KeyspaceSchema:
    found: dict[str, KeyspaceSchema] = {}
    for look in later:
        for name, fields in schema.types.items():
            longest = found[name].types[name] if name in found else fields
            has = look.types.get(name, ())
            if len(has) > len(longest) and has[: len(fields)] == fields:
                found[name] = look
    if not found:
        return schema

    def as_found(one: SchemaObject) -> SchemaObject:
        if one.kind != "type" or one.name not in found:
            return one
        return next(each for each in found[one.name].objects if (each.kind, each.name) == ("type", one.name))

    return msgspec.structs.replace(
        schema,
        types={name: found[name].types[name] if name in found else fields for name, fields in schema.types.items()},
        objects=tuple(as_found(one) for one in schema.objects),
    )


def later_columns(records: Iterable[SchemaRecord], when: float, table_id: str, had: Collection[str]) -> dict[str, str]:
    """Columns that the table of that id (in whatever keyspace) got after the schema in force at `when`: name → type as
    it was last seen. The commit log may hold cells of them, which Cassandra reads only if it knows the columns. `had`:
    the columns at that time, which the history doesn't tell of a time before it begins: what the table had never counts
    as later, for what is later is dropped."""
    ordered = in_order(records)
    then = in_force(ordered, when)
    found: dict[str, str] = {}
    for record in ordered:
        if then is None or record.first_seen > then.first_seen:
            found |= _columns_of(record, table_id)
    return {name: type_ for name, type_ in found.items() if name not in had}


def _columns_of(record: SchemaRecord, table_id: str) -> dict[str, str]:
    for schema in record.keyspaces:
        for table, own_id in schema.table_ids.items():
            if own_id == table_id:
                return {column.name: column.type for column in schema.columns.get(table, ())}
    return {}


def _steps(records: Iterable[SchemaRecord]) -> Iterator[tuple[SchemaRecord, SchemaRecord]]:
    yield from pairwise(in_order(records))


def _not_before(before: SchemaRecord, after: SchemaRecord) -> float:
    """When the change to `after` can have been at the earliest: the last look that showed something else."""
    return before.first_seen if after.unseen_since is None else max(before.first_seen, after.unseen_since)


def _differences(before: SchemaRecord, after: SchemaRecord) -> Iterator[SchemaChange]:
    since, until = _not_before(before, after), after.first_seen
    then, now = _by_name(before.keyspaces), _by_name(after.keyspaces)
    for name in sorted(then.keys() | now.keys()):
        if name not in now:
            yield SchemaChange(name, "", "dropped", since, until)
            for table in sorted(then[name].table_ids):
                yield SchemaChange(name, table, "dropped", since, until)
        elif name not in then:
            yield SchemaChange(name, "", "made", since, until)
            for table in sorted(now[name].table_ids):
                yield SchemaChange(name, table, "made", since, until)
        else:
            yield from _keyspace_differences(then[name], now[name], since, until)


def _keyspace_differences(
    then: KeyspaceSchema, now: KeyspaceSchema, since: float, until: float
) -> Iterator[SchemaChange]:
    if (then.replication, then.durable_writes) != (now.replication, now.durable_writes):
        yield SchemaChange(then.name, "", "altered", since, until, "its replication or durable writes")
    if then.types != now.types:
        changed = {name for name in then.types.keys() | now.types.keys() if then.types.get(name) != now.types.get(name)}
        yield SchemaChange(then.name, "", "altered", since, until, f"its types {', '.join(sorted(changed))}")
    for table in sorted(then.table_ids.keys() | now.table_ids.keys()):
        if table not in now.table_ids:
            yield SchemaChange(then.name, table, "dropped", since, until)
        elif table not in then.table_ids:
            yield SchemaChange(then.name, table, "made", since, until)
        elif then.table_ids[table] != now.table_ids[table]:
            yield SchemaChange(then.name, table, "recreated", since, until)
        elif told := _table_told(then, now, table):
            yield SchemaChange(then.name, table, "altered", since, until, told)


def _table_told(then: KeyspaceSchema, now: KeyspaceSchema, table: str) -> str:
    """What of a table of one id differs, as a clause; "" for nothing."""
    had = {column.name for column in then.columns.get(table, ())}
    has = {column.name for column in now.columns.get(table, ())}
    clauses = []
    if added := sorted(has - had):
        clauses.append(f"column {', '.join(added)} added")
    if dropped := sorted(had - has):
        clauses.append(f"column {', '.join(dropped)} dropped")
    if not clauses and then.columns.get(table) != now.columns.get(table):
        clauses.append("its columns")
    for kind, word in (("index", "index"), ("view", "view")):
        before, after = _names(then, kind, table), _names(now, kind, table)
        clauses += [f"{word} {name} made" for name in after if name not in before]
        clauses += [f"{word} {name} dropped" for name in before if name not in after]
    if not clauses and _statement(then, table) != _statement(now, table):
        clauses.append("its options")
    return "; ".join(clauses)


def _names(schema: KeyspaceSchema, kind: str, base: str) -> list[str]:
    return sorted(one.name for one in schema.objects if one.kind == kind and one.base == base)


def _statement(schema: KeyspaceSchema, table: str) -> str:
    return next((one.statement for one in schema.objects if (one.kind, one.name) == ("table", table)), "")


def _by_name(keyspaces: Sequence[KeyspaceSchema]) -> dict[str, KeyspaceSchema]:
    return {schema.name: schema for schema in keyspaces}
