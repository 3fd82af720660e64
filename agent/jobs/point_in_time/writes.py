"""The newest write in SSTables, by the clients' time. In: Statistics.db files. Out: time and table.

A write that is later than the point would stay after the restore, for the replay only adds. Clients may give times in
other units than microseconds; what such a time means can't be told from it, only that it is odd.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.cassandra.protocol import Snapshots
from agent.cassandra.sstable_statistics import statistics_of
from agent.cassandra.sstables import checked
from agent.cassandra.staging import StagingRoot
from agent.jobs.restore.source import BackupSource, WantedSstable
from agent.model.manifest import TableReference
from agent.model.snapshot import SnapshotTable
from agent.plan.sstables import parse
from kit.atomic_files import make_directory

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


async def newest_in_snapshot(
    source: BackupSource, snapshots: Snapshots | None, chosen: Sequence[TableReference], scratch: Path
) -> NewestWrite | None:
    """Of the chosen tables of a snapshot: of one that is on this node (`snapshots`) the files are read where they are,
    else each Statistics.db is fetched into the directory `scratch` and goes again. Raises what reading raises."""
    if snapshots is not None:
        asked: dict[str, list[str]] = {}
        for one in chosen:
            asked.setdefault(one.keyspace, []).append(one.table)
        return await asyncio.to_thread(_newest_of_files, await snapshots.inventory(source.head.tag, asked))
    newest: NewestWrite | None = None
    root = StagingRoot(str(scratch), str(scratch), ())

    async def wanted() -> AsyncIterator[WantedSstable]:
        for place, reference in enumerate(chosen):
            directory = await asyncio.to_thread(make_directory, scratch / str(place))
            async for part in source.parts(reference):
                files = tuple(entry for entry in part.files if _is_statistics(entry.name))
                if files:
                    yield WantedSstable(
                        reference.keyspace, reference.table, "", files, root, directory, part.objects, part.coded
                    )

    async def placed(one: WantedSstable) -> None:
        nonlocal newest
        for entry in one.files:
            path = one.directory / entry.name
            content = await asyncio.to_thread(path.read_bytes)
            newest = later(newest, newest_of(f"{one.keyspace}.{one.table}", entry.name, content))
            await asyncio.to_thread(path.unlink)

    await source.fetch(wanted(), placed, lambda one, size: None)
    return newest


def _newest_of_files(tables: Sequence[SnapshotTable]) -> NewestWrite | None:
    newest: NewestWrite | None = None
    for table in tables:
        for file in table.files:
            if _is_statistics(file.name):
                content = Path(file.path).read_bytes()
                newest = later(newest, newest_of(f"{table.keyspace}.{table.table}", file.name, content))
    return newest


def _is_statistics(name: str) -> bool:
    found = checked(name)
    return found is not None and found.component == STATISTICS and not found.index
