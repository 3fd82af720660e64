"""Bring held SSTables into a table, batch by batch. In: staging roots and a control. Out: what was imported.

`nodetool import` moves files and rewrites Statistics.db, so each batch is made of fresh hard links and `held/` keeps
the verified bytes: a batch of unknown outcome is simply made and imported again. What of it came in the first time is
then there twice, which Cassandra's reads merge to the same rows, counters included (their shards carry clocks).
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.cassandra.errors import ImportFailed, SstableDamaged
from agent.cassandra.protocol import NodeControl
from agent.cassandra.staging import StagingRoot, link_or_copy, make_directory, remove_below, staging_error
from agent.plan.sstables import DATA, group, parse

_SHOWN = 20


class HeldSstable(msgspec.Struct, frozen=True):
    """An SSTable in `held/`: the staging root it is on (by number), its own name, its files."""

    root: int
    sstable: str
    files: tuple[str, ...]


class Batch(msgspec.Struct, frozen=True):
    """SSTables of one table that one import call takes. `number` is unique in the job."""

    number: int
    keyspace: str
    table: str
    sstables: tuple[HeldSstable, ...]


def held_sstables(roots: Sequence[StagingRoot], keyspace: str, table: str) -> list[HeldSstable]:
    """The table's SSTables in `held/`, in a fixed order. Raises `SstableDamaged` for one without Data.db,
    `StagingRefused` when it can't be listed."""
    found: list[HeldSstable] = []
    for number, root in enumerate(roots):
        try:
            names = os.listdir(held := root.held(keyspace, table))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise staging_error(error, f"{held} can't be listed", held) from None
        for sstable, files in group((name, None) for name in names).items():
            if f"{sstable}-{DATA}" not in (name for name, _ in files):
                raise SstableDamaged(
                    f"{sstable} of {keyspace}.{table} has no Data.db", keyspace=keyspace, table=table, sstable=sstable
                )
            found.append(HeldSstable(number, sstable, tuple(name for name, _ in files)))
    return found


def held_size(
    roots: Sequence[StagingRoot], keyspace: str, table: str, sstables: Sequence[HeldSstable]
) -> tuple[int, int]:
    """How many files the SSTables have, and their bytes; a file that is gone counts for none."""
    files = size = 0
    for one in sstables:
        held = roots[one.root].held(keyspace, table)
        for name in one.files:
            files += 1
            with contextlib.suppress(OSError):
                size += (held / name).lstat().st_size
    return files, size


def batches_of(sstables: Sequence[HeldSstable], keyspace: str, table: str, size: int, first: int) -> list[Batch]:
    """Cut into batches of at most `size` SSTables, numbered from `first`."""
    return [
        Batch(first + place, keyspace, table, tuple(sstables[start : start + size]))
        for place, start in enumerate(range(0, len(sstables), size))
    ]


async def import_batch(control: NodeControl, roots: Sequence[StagingRoot], batch: Batch) -> str:
    """Link the batch afresh and import it; its directories are removed afterwards. Returns what nodetool said.

    Raises `ImportFailed` when a Data.db is left behind, whatever the exit code was, and what the control raises.
    """
    directories = await asyncio.to_thread(_linked, roots, batch)
    said = await control.import_sstables(batch.keyspace, batch.table, directories)
    left = await asyncio.to_thread(left_behind, directories)
    if left:
        raise ImportFailed(
            f"{len(left)} SSTables of {batch.keyspace}.{batch.table} were not imported",
            keyspace=batch.keyspace,
            table=batch.table,
            left=left[:_SHOWN],
            output=said[-1000:],
        )
    await asyncio.to_thread(remove_batch, roots, batch.number)
    return said


def left_behind(directories: Sequence[Path]) -> list[str]:
    """The Data files still in the directories."""
    found: list[str] = []
    for directory in directories:
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        found += [name for name in sorted(names) if (component := parse(name)) is not None and component.is_data]
    return found


def left_in_staging(roots: Sequence[StagingRoot]) -> list[str]:
    """The Data files in any batch of the job that was never finished."""
    directories = [Path(place) for root in roots for place, _, _ in os.walk(root.path / "import", followlinks=False)]
    return left_behind(directories)


def _linked(roots: Sequence[StagingRoot], batch: Batch) -> list[Path]:
    remove_batch(roots, batch.number)
    directories = []
    for number, root in enumerate(roots):
        mine = [one for one in batch.sstables if one.root == number]
        if not mine:
            continue
        held = root.held(batch.keyspace, batch.table)
        target = make_directory(root, ("import", str(batch.number), batch.keyspace, batch.table))
        for sstable in mine:
            for name in sstable.files:
                link_or_copy(root, held / name, target / name)
        directories.append(target)
    return directories


def remove_batch(roots: Sequence[StagingRoot], number: int) -> None:
    """Remove what is left of a batch's links; held/ is not touched."""
    for root in roots:
        remove_below(root, "import", str(number))


def remove_batches(roots: Sequence[StagingRoot]) -> None:
    """Remove what is left of any batch's links; held/ is not touched."""
    for root in roots:
        remove_below(root, "import")
