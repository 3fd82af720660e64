"""The newest write in SSTables, by the clients' time. In: Statistics.db files. Out: time and table.

A write that is later than the point would stay after the restore, for the replay only adds. Clients may give times in
other units than microseconds; what such a time means can't be told from it, only that it is odd.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.cassandra.sstable_statistics import statistics_of
from agent.cassandra.staging import StagingRoot
from agent.plan.sstables import parse

STATISTICS = "Statistics.db"
_YEAR_2000 = 946_684_800_000_000


class NewestWrite(msgspec.Struct, frozen=True, order=True):
    """Microseconds since 1970 (when the client used these), and `keyspace.table`."""

    micros: int
    table: str


def newest_held(roots: Sequence[StagingRoot], tables: Mapping[str, Iterable[str]]) -> NewestWrite | None:
    """Of all that stands in held/, None when there is no write. Blocks. Raises `SstableDamaged`, OSError."""
    found: NewestWrite | None = None
    for keyspace, names in tables.items():
        for table in names:
            for root in roots:
                for path in _statistics_in(root.held(keyspace, table)):
                    one = newest_of(f"{keyspace}.{table}", path.name, path.read_bytes())
                    found = later(found, one)
    return found


def newest_of(table: str, name: str, content: bytes) -> NewestWrite | None:
    """The newest write that a Statistics.db tells of. Raises `SstableDamaged`."""
    newest = statistics_of(name, content).newest_write
    return None if newest is None else NewestWrite(newest, table)


def later(one: NewestWrite | None, other: NewestWrite | None) -> NewestWrite | None:
    """The later of two."""
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)


def is_odd(newest: NewestWrite) -> bool:
    """Whether the time is hardly one in microseconds: before the year 2000, for it may be in milliseconds."""
    return newest.micros < _YEAR_2000


def _statistics_in(directory: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    found = [(name, parse(name)) for name in names]
    return [directory / name for name, parsed in found if parsed is not None and parsed.component == STATISTICS]
