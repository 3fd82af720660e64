"""What the schema's history says about a snapshot and a point. In: records, the snapshot's head, schemas. Out: changes,
doubts, the ring. Pure."""

from collections.abc import Sequence

import msgspec

from agent.cassandra.schema_compare import Schemas, table_differs
from agent.model.commit_log import SchemaRecord
from agent.model.manifest import Head
from agent.plan.schema_history import changes, doubt, in_force, ring_at, ring_changes
from agent.wire.node import Tables
from agent.wire.point_in_time import SchemaChange

_NO_HISTORY = "the schema of that time is not known: its history begins later"


class History(msgspec.Struct, frozen=True):
    """`changes`: of the asked tables since the snapshot. `doubt`: those that may be before or after the point. `ring`:
    host id → tokens at the snapshot, {} where nobody looked."""

    changes: list[SchemaChange]
    doubt: list[SchemaChange]
    ring_changes: list[str]
    ring: dict[str, list[str]]
    warnings: list[str]


def told_history(
    head: Head, records: Sequence[SchemaRecord], live: Schemas, then: Schemas, asked: Tables, pit: float, now: float
) -> History:
    """`then`: the schema that the restore goes by, `live`: now."""
    doubts = [one for one in doubt(records, pit) if _is_asked(one, asked)]
    warnings: list[str] = []
    if in_force(records, pit) is None:
        unsure = _differing(head, asked, then, live, now)
        doubts += unsure
        if not unsure:
            warnings.append(f"{_NO_HISTORY}; the asked tables are now as they were at the snapshot")
    return History(
        changes=[one for one in changes(records, head.taken_at, now) if _is_asked(one, asked)],
        doubt=doubts,
        ring_changes=ring_changes(records, head.taken_at, now),
        ring={host: list(tokens) for host, tokens in (ring_at(records, head.taken_at) or {}).items()},
        warnings=warnings,
    )


def _is_asked(change: SchemaChange, asked: Tables) -> bool:
    return change.keyspace in asked and (not change.table or change.table in asked[change.keyspace])


def _differing(head: Head, asked: Tables, then: Schemas, live: Schemas, now: float) -> list[SchemaChange]:
    """Without a history: what is another one now than in the snapshot may have changed before or after the point."""
    found = []
    for keyspace, tables in asked.items():
        for table in tables:
            had = keyspace in then and table in then[keyspace].columns
            has = keyspace in live and table in live[keyspace].columns
            if had and not has:
                found.append(SchemaChange(keyspace, table, "dropped", head.taken_at, now, _NO_HISTORY))
            elif has and not had:
                found.append(SchemaChange(keyspace, table, "made", head.taken_at, now, _NO_HISTORY))
            elif had and then[keyspace].table_ids.get(table) != live[keyspace].table_ids.get(table):
                found.append(SchemaChange(keyspace, table, "recreated", head.taken_at, now, _NO_HISTORY))
            elif had and table_differs(then[keyspace], live[keyspace], table):
                found.append(SchemaChange(keyspace, table, "altered", head.taken_at, now, _NO_HISTORY))
    return found
