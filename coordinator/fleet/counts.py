"""Counts of a command, told and known: what an agent tells now and what it told before in, what is shown out. Pure."""

from collections.abc import Mapping

from agent.wire.commands import Counts, Progress
from coordinator.fleet.errors import AgentMisbehaved
from coordinator.model.table_counts import Layouts, TableCounts

MOST_TABLES = 200_000
"""Tables of which a command may tell, over all its destinations: more than any Cassandra can have."""

Packed = Mapping[str, TableCounts]
"""destination id → its tables"""


def refuse_too_many(known: Packed, told: Progress) -> None:
    """Raise `AgentMisbehaved` when an agent tells of ever more tables or destinations, be it a few at a
    time."""
    count = sum(len(tables.layout.names) for tables in known.values()) + len(known.keys() | told.keys())
    count += sum(
        len(tables)
        for destination, keyspaces in told.items()
        for keyspace, tables in keyspaces.items()
        if not _known(known, destination, keyspace, tables)
    )
    if count > MOST_TABLES:
        raise AgentMisbehaved(f"An agent tells of more than {MOST_TABLES} tables of one command")


def _known(known: Packed, destination: str, keyspace: str, tables: Mapping[str, Counts]) -> bool:
    """Whether these are tables that were told before."""
    layout = known[destination].layout if destination in known else None
    if layout is None or keyspace not in layout.tables:
        return False
    return (*tables,) == layout.tables[keyspace][1] or all((keyspace, table) in layout.index for table in tables)


def kept(known: Packed, told: Progress, layouts: Layouts, *, done: bool) -> Packed:
    """What is told now, and what is known of tables that it leaves out: an agent that was started again begins to count
    at nothing. When all is `done`, tables of which less is told than was known, of as much in all, keep what was. The
    very same object when nothing is new."""
    result = dict(known)
    for destination, keyspaces in told.items():
        before = known.get(destination)
        if before is None:
            result[destination] = layouts.pack(keyspaces)
            continue
        after = before.told(keyspaces)
        if done and not after.all_done:
            after = before.told(_most(before, keyspaces))
        if after != before:
            result[destination] = after
    return known if result.keys() == known.keys() and all(result[key] is known[key] for key in known) else result


def _most(before: TableCounts, told: Mapping[str, Mapping[str, Counts]]) -> dict[str, dict[str, Counts]]:
    found: dict[str, dict[str, Counts]] = {}
    for keyspace, tables in told.items():
        known = before.get(keyspace, {})
        found[keyspace] = {table: _more(known.get(table), now) for table, now in tables.items()}
    return found


def _more(known: Counts | None, told: Counts) -> Counts:
    if known is None or (known.total_files, known.total_bytes) != (told.total_files, told.total_bytes):
        return told
    return known if (known.done_files, known.done_bytes) > (told.done_files, told.done_bytes) else told
