"""What a copy counts of each table, as it is noted: in, an inventory or a manifest; out, totals and what is done.

A resumed command begins to count at nothing. What an earlier run has published is not looked at again, so its counts
come from the note.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec

from agent.model.job import Tally
from agent.pipeline.putting import Size
from agent.repository.manifest import Manifest
from agent.wire.results import TargetResult

TableCounts = dict[str, dict[str, list[int]]]
"""keyspace → table → files done, files in all, bytes done, bytes in all"""


class _Noted(msgspec.Struct, frozen=True):
    """What is noted of a destination beside its result."""

    counts: TableCounts


def expect(tally: Tally, destinations: Sequence[str], tables: Sequence[Size]) -> TableCounts:
    """Tell the totals of a backup's tables; the same as counts of which nothing is done."""
    counts: TableCounts = {}
    for table in tables:
        counts.setdefault(table.keyspace, {})[table.table] = [0, table.files, 0, table.bytes]
        for destination in destinations:
            tally.expect(destination, table.keyspace, table.table, table.files, table.bytes)
    return counts


def done_of(totals: TableCounts, done: Set[tuple[str, str]]) -> TableCounts:
    """The counts once these tables, as (keyspace, table), are done as a whole and the others not at all."""
    return {
        keyspace: {
            table: [files, files, size, size] if (keyspace, table) in done else [0, files, 0, size]
            for table, (_, files, _, size) in tables.items()
        }
        for keyspace, tables in totals.items()
    }


def all_of(there: Manifest) -> TableCounts:
    """The counts of what an earlier copy put: all of it is there."""
    counts: TableCounts = {}
    for table in there.head.tables:
        counts.setdefault(table.keyspace, {})[table.table] = [table.files, table.files, table.bytes, table.bytes]
    return counts


def count(tally: Tally, destination: str, counts: TableCounts) -> None:
    """Tell counts of a destination of which nothing was told yet."""
    for keyspace, tables in counts.items():
        for table, (done_files, files, done_bytes, size) in tables.items():
            tally.expect(destination, keyspace, table, files, size)
            tally.done(destination, keyspace, table, done_files, done_bytes)


def noted(results: Mapping[str, TargetResult], counts: Mapping[str, TableCounts]) -> dict[str, dict[str, Any]]:
    """Each destination's result and counts as a stage keeps them."""
    return {
        name: {**msgspec.to_builtins(result), **msgspec.to_builtins(_Noted(counts.get(name, {})))}
        for name, result in results.items()
    }


def counts_in(note: Any) -> dict[str, TableCounts]:
    """Each destination's counts in a note."""
    return {name: one.counts for name, one in msgspec.convert(note or {}, dict[str, _Noted]).items()}
