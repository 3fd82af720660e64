"""Brings a backup's SSTables into held/. In: an open source, tables of its manifest, the node's volumes. Out: every
file verified in `held/<keyspace>/<table>/` of a staging root, and the counts.

What an earlier run brought stays where it is; what belongs to no SSTable of the backup is removed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from agent.cassandra.directories import Volume
from agent.cassandra.staging import StagingRoot, make_directory, make_root, settle_file, staging_root
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.source import BackupSource, WantedSstable
from agent.jobs.restore.volumes import StagingPlan, begun_sstables, remove_strays, staged_sstables
from agent.model.job import Tally
from agent.model.manifest import FileEntry, TableReference
from agent.pipeline.writing import sync_directory

Counts = dict[str, dict[str, list[int]]]
"""keyspace → table → [files, bytes, SSTables]"""


async def noted_roots(notes: RestoreNotes, directories: Iterable[str], run_as: str) -> list[StagingRoot]:
    """The staging roots of these directories, made; those that an earlier run noted stay. They are noted before any is
    made, so that CLEAN finds them. Raises `StagingRefused`, `NotEnoughSpace`."""
    noted = {root.data_directory: root for root in await notes.all_staging()}
    roots: list[StagingRoot] = []
    for path in directories:
        root = noted.get(path)
        if root is None:
            root = await asyncio.to_thread(staging_root, path, notes.job, run_as)
        roots.append(root)
    await notes.put_staging(roots)
    for root in roots:
        await asyncio.to_thread(make_root, root)
    return roots


async def bring(
    tally: Tally,
    destination: str,
    source: BackupSource,
    chosen: Sequence[TableReference],
    found: Sequence[Volume],
    roots: Sequence[StagingRoot],
    *,
    indexes: bool = False,
) -> Counts:
    """Fetch the files of the `chosen` tables, onto the volumes `found` with their `roots`. `destination`: the name
    under which progress is counted. `indexes`: those in directories of their own too (an import rebuilds them). Raises
    what the source raises, `StagingRefused`, `NotEnoughSpace`."""
    plan = StagingPlan(source.head.data_directories, found)
    counts: Counts = {}
    placed_on: dict[tuple[str, str], dict[str, int]] = {}
    for reference in chosen:
        counts.setdefault(reference.keyspace, {})[reference.table] = [0, 0, 0]
        # What Cassandra writes anew with each snapshot is of no use to a restore, and isn't fetched.
        files = reference.files - len(reference.own)
        size = reference.bytes - sum(entry.size for entry in reference.own)
        tally.expect(destination, reference.keyspace, reference.table, files, size)

    async def wanted() -> AsyncIterator[WantedSstable]:
        for reference in chosen:
            made: set[tuple[int, str]] = set()
            begun = await asyncio.to_thread(begun_sstables, roots, reference.keyspace, reference.table)
            on = placed_on.setdefault((reference.keyspace, reference.table), {})
            count = counts[reference.keyspace][reference.table]
            async for sstable, entries, part in staged_sstables(source, reference, indexes=indexes):
                number = on[sstable] = plan.place(entries, begun.get(sstable))
                root, index = roots[number], sstable.rpartition("/")[0]
                if (number, index) not in made:
                    below = ("held", reference.keyspace, reference.table, *filter(None, (index,)))
                    await asyncio.to_thread(make_directory, root, below)
                    made.add((number, index))
                count[0] += len(entries)
                count[1] += sum(entry.size for entry in entries)
                count[2] += 1
                held = root.held(reference.keyspace, reference.table)
                yield WantedSstable(
                    reference.keyspace, reference.table, sstable, entries, root, held, part.objects, part.coded
                )
            tally.expect(destination, reference.keyspace, reference.table, count[0], count[1])

    async def placed(one: WantedSstable) -> None:
        await asyncio.to_thread(_settle, one.root, one.directory, one.files)
        tally.done(destination, one.keyspace, one.table, len(one.files), 0)

    def moved(one: WantedSstable, size: int) -> None:
        tally.done(destination, one.keyspace, one.table, 0, size)

    await source.fetch(wanted(), placed, moved)
    for (keyspace, table), on in placed_on.items():
        await asyncio.to_thread(remove_strays, roots, keyspace, table, on)
    return counts


def _settle(root: StagingRoot, directory: Path, files: Sequence[FileEntry]) -> None:
    """Rights for files of ours; a hard link to the snapshot has Cassandra's own already. Names in an index's directory
    become durable here: the source sees to those of the table's."""
    below = set()
    for entry in files:
        path = directory / entry.name
        if path.stat().st_nlink == 1:
            settle_file(root, path)
        if path.parent != directory:
            below.add(path.parent)
    for index in sorted(below):
        sync_directory(index)
