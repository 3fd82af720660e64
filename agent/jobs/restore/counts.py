"""Was Cassandra given what was fetched? In: the job's notes and what stands in held/. Out: counts, or the error.

Whatever differs, the job forgets that it fetched: the same restore posted again verifies every held file, fetches what
is missing, and imports what no finished batch had. A table with more than the backup has is imported again as a whole.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.cassandra.errors import SstableDamaged
from agent.cassandra.imports import HeldSstable, held_sstables
from agent.cassandra.staging import StagingRoot, is_made
from agent.jobs.restore.errors import CountsDiffer
from agent.jobs.restore.notes import BatchLine, RestoreNotes

SHOWN = 100

Counts = dict[str, dict[str, int]]
Held = Mapping[tuple[str, str], Sequence[HeldSstable] | None]
FetchedTables = Mapping[str, Mapping[str, Sequence[int]]]
"""keyspace → table → [files, bytes, SSTables]"""

Wrong = list[dict[str, Any]]


def imported_so_far(lines: Iterable[BatchLine], tables: Mapping[str, Mapping[str, object]]) -> Counts:
    """SSTables in batches that are done, each counted once; of `tables` also those without any."""
    counts: Counts = {keyspace: dict.fromkeys(found, 0) for keyspace, found in tables.items()}
    for (keyspace, table), found in _done(lines).items():
        counts.setdefault(keyspace, {})[table] = len(found)
    return counts


def not_done(held: Sequence[HeldSstable], lines: Iterable[BatchLine], keyspace: str, table: str) -> list[HeldSstable]:
    """What no finished batch had, by name alone: fetched anew, an SSTable may stand on another volume than the one it
    was imported from."""
    done = _done(lines).get((keyspace, table), set())
    return [one for one in held if one.sstable not in done]


def held_wrong(held: Held, lines: Sequence[BatchLine], fetched: FetchedTables) -> Wrong:
    """The tables for which held/ and the finished batches don't make up what was fetched: an SSTable or a component is
    gone, or came to it. `held`: None for a table whose files make no whole SSTables."""
    done = _done(lines)
    wrong: Wrong = []
    for (keyspace, table), sstables in held.items():
        files, _, count = fetched[keyspace][table]
        if sstables is None:
            wrong.append({"table": f"{keyspace}.{table}", "backup": count, "held": "an SSTable without Data.db"})
            continue
        names = done.get((keyspace, table), set()) | {one.sstable for one in sstables}
        there = sum(len(one.files) for one in sstables)
        if len(names) != count:
            wrong.append({"table": f"{keyspace}.{table}", "backup": count, "held": len(names)})
        elif len(sstables) == count and there != files:
            wrong.append({"table": f"{keyspace}.{table}", "backup_files": files, "held_files": there})
    return wrong


def imported_wrong(lines: Sequence[BatchLine], fetched: FetchedTables, tables: Mapping[str, Iterable[str]]) -> Wrong:
    """Those of `tables` whose finished batches aren't exactly what was fetched."""
    counts = imported_so_far(lines, fetched)
    return [
        {"table": f"{keyspace}.{table}", "backup": fetched[keyspace][table][2], "imported": counts[keyspace][table]}
        for keyspace, names in tables.items()
        for table in names
        if counts[keyspace][table] != fetched[keyspace][table][2]
    ]


def held_of(roots: Sequence[StagingRoot], tables: Mapping[str, Iterable[str]]) -> Held:
    """What stands in held/ of each table."""
    held: dict[tuple[str, str], list[HeldSstable] | None] = {}
    for keyspace, names in tables.items():
        for table in names:
            try:
                held[keyspace, table] = held_sstables(roots, keyspace, table)
            except SstableDamaged:
                held[keyspace, table] = None
    return held


async def all_held(notes: RestoreNotes, fetched: FetchedTables) -> bool:
    """Whether everything that was fetched still stands, or was imported. If not, the job has forgotten that it fetched:
    it can be fetched again at once. Lists directories, reads nothing."""
    try:
        await refuse_when_wiped(notes, fetched)
        held = await asyncio.to_thread(held_of, await notes.staging(), fetched)
        await refuse(notes, fetched, held_wrong(held, await notes.batches(), fetched))
    except CountsDiffer:
        return False
    return True


async def refuse_when_wiped(notes: RestoreNotes, fetched: FetchedTables) -> None:
    """Raises `CountsDiffer` when a directory that the job staged in is gone: with it may have gone what was imported,
    for a node that was rebuilt on empty disks can have the host id and the agent it had. All is imported again then.
    Raises `StagingRefused` when a directory can't be looked at: what was fetched stays noted."""
    roots = await notes.staging()
    gone = [root.data_directory for root in roots if not await asyncio.to_thread(is_made, root)]
    if gone:
        tables = {(keyspace, table) for keyspace, names in fetched.items() for table in names}
        await notes.forget_imported(tables)
        await notes.forget_fetched()
        raise CountsDiffer(f"what was staged for {', '.join(gone)} is gone: was the volume wiped?", volumes=gone)


async def refuse(notes: RestoreNotes, fetched: FetchedTables, wrong: Wrong, left: Sequence[str] = ()) -> None:
    """Forget what was fetched, and of tables with too much also what was imported, then raise `CountsDiffer`; nothing
    happens when nothing is wrong. `left`: Data files that were left in staging."""
    if not wrong and not left:
        return
    counts = imported_so_far(await notes.batches(), fetched)
    too_many = {
        (keyspace, table)
        for keyspace, tables in fetched.items()
        for table, (_, _, count) in tables.items()
        if counts[keyspace][table] > count
    }
    if too_many:
        await notes.forget_imported(too_many)
    await notes.forget_fetched()
    told = [f"{one['table']} ({', '.join(f'{key} {one[key]}' for key in one if key != 'table')})" for one in wrong[:5]]
    told += [f"{len(wrong) - 5} more tables"] if len(wrong) > 5 else []
    told += [f"{len(left)} Data files left in staging"] if left else []
    raise CountsDiffer(f"not what the backup has: {'; '.join(told)}", tables=wrong[:SHOWN], left=list(left[:SHOWN]))


def _done(lines: Iterable[BatchLine]) -> dict[tuple[str, str], set[str]]:
    names: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        if line.done:
            names.setdefault((line.keyspace, line.table), set()).update(name for _, name in line.sstables)
    return names
