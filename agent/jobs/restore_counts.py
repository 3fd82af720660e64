"""Was Cassandra given what was fetched? In: the job's notes and what stands in held/. Out: counts, or the error.

Whatever differs, the job forgets that it fetched: the same restore posted again verifies every held file, fetches what
is missing, and imports what no finished batch had. A table with more than the backup has is imported again as a whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.cassandra.imports import HeldSstable
from agent.jobs.restore_errors import CountsDiffer
from agent.jobs.restore_notes import BatchLine, RestoreNotes

SHOWN = 100

Counts = dict[str, dict[str, int]]
Held = Mapping[tuple[str, str], Sequence[HeldSstable] | None]
Fetched = Mapping[str, Mapping[str, Sequence[int]]]
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


def held_wrong(held: Held, lines: Sequence[BatchLine], fetched: Fetched) -> Wrong:
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


def imported_wrong(lines: Sequence[BatchLine], fetched: Fetched, tables: Mapping[str, Iterable[str]]) -> Wrong:
    """Those of `tables` whose finished batches aren't exactly what was fetched."""
    counts = imported_so_far(lines, fetched)
    return [
        {"table": f"{keyspace}.{table}", "backup": fetched[keyspace][table][2], "imported": counts[keyspace][table]}
        for keyspace, names in tables.items()
        for table in names
        if counts[keyspace][table] != fetched[keyspace][table][2]
    ]


async def refuse(notes: RestoreNotes, fetched: Fetched, wrong: Wrong, left: Sequence[str] = ()) -> None:
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
