"""Removes what an older restore fetched and left, once a newer one of the same tables is in. In: the newer job's notes.
Out: what was removed, and what had to stay.

A restore that stopped half-way keeps its files, so that it can be gone on with; nobody cleans them when another restore
is run instead. They are nothing but bytes that can be fetched again: the older job forgets durably that it fetched
before the first file goes, and its next FETCH brings back what is missing. So it is safe, at any moment and killed
anywhere, to remove the files of a job

- of which no command is queued, running or waiting on this agent (one that comes meanwhile waits for its turn at the
  job, and then finds the files gone and that it must fetch), and
- which noted nothing since the newer job was asked for: it isn't between two phases, and was not taken up again, and
- all of whose tables the newer job imported here, and
- every batch of which ended: of one that began and has no end, Cassandra may still be moving the files, and
- that is no restore to a point in time: beside what those fetched lies what the node had before, until PIT_CLEAN.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from agent.cassandra.staging import remove_root
from agent.jobs.in_use import InUse
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.unended_batches import unended
from agent.wire.names import InvalidName
from agent.wire.node import Tables
from kit.errors import HelenusError

_log = structlog.get_logger(__name__)


async def remove_replaced(state: Path, newer: RestoreNotes, in_use: InUse) -> tuple[list[str], list[str]]:
    """The paths that were removed, and a sentence for each older job whose files had to stay."""
    removed: list[str] = []
    stay: list[str] = []
    asked, since = await newer.asked(), await newer.asked_at()
    if asked is None or since is None or not newer.import_begun():
        return removed, stay
    for older in await asyncio.to_thread(other_jobs, state, newer.job):
        if in_use.has(older.job) or (state / "restores" / older.job).exists():
            continue  # before its turn is waited for: a fetch may take hours
        async with in_use.alone(older.job):
            await _remove_older(older, asked.tables, since, in_use, removed, stay)
    for sentence in stay:
        _log.warning("replaced_restore_stays", reason=sentence)
    return removed, stay


async def _remove_older(
    older: RestoreNotes, imported: Tables, since: int, in_use: InUse, removed: list[str], stay: list[str]
) -> None:
    left = [root for root in await older.all_staging() if await asyncio.to_thread(root.path.is_dir)]
    if not left or in_use.has(older.job) or await older.last_noted() >= since:
        return
    before = await older.asked()
    if before is not None and not _within(before.tables, imported):
        return
    unknown = sorted({f"{line.keyspace}.{line.table}" for line in unended(await older.batches())})
    if unknown:
        stay.append(
            f"the files of the older restore {older.job} stay: how its import of {', '.join(unknown)} ended is not "
            "known; post that restore again, or send CLEAN with its job, which waits until Cassandra is through with it"
        )
        return
    await older.forget_fetched()
    for root in left:
        try:
            if await asyncio.to_thread(remove_root, root):
                removed.append(str(root.path))
        except (HelenusError, OSError) as error:
            stay.append(f"the files of the older restore {older.job} stay in {root.path}: {error}")
    _log.info("replaced_restore_removed", job=older.job)


def _within(tables: Mapping[str, Sequence[str]], others: Tables) -> bool:
    return all(set(names) <= set(others.get(keyspace, ())) for keyspace, names in tables.items())


def other_jobs(state: Path, job: str) -> list[RestoreNotes]:
    """The notes of every other job, in the order of their names."""
    found = []
    directory = state / "jobs"
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        try:
            notes = RestoreNotes(state, path.name)
        except InvalidName:
            continue
        if notes.job != job:
            found.append(notes)
    return found
