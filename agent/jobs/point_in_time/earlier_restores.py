"""Which restores came between a snapshot and a point. In: the notes of other jobs on this node. Out: their ids, tables.

The commit log knows nothing of a restore. After one to a point in time it still has the writes that were undone; what
an import brings is not in it at all. So a point later than such a restore is only reached from a snapshot that was
taken after it. Of a job the times of its notes count, by the clock of the file system; when in doubt it counts.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.point_errors import RestoredSince
from agent.jobs.restore.replaced_jobs import other_jobs
from agent.model.manifest import Head
from agent.wire.names import is_name
from agent.wire.node import Tables


class EarlierRestore(msgspec.Struct, frozen=True):
    """A restore that changed some of the asked tables (`keyspace.table`) between snapshot and point. `at`: when it may
    have begun to change them, unix seconds."""

    job: str
    tables: tuple[str, ...]
    at: float


async def earlier_restores(
    state: Path, job: str | None, asked: Tables, taken_at: float, pit: float
) -> list[EarlierRestore]:
    """In the order of their ids. Raises OSError."""
    found: dict[str, set[str]] = {}
    at: dict[str, float] = {}
    for notes in await asyncio.to_thread(other_jobs, state, job or ""):
        imported = await notes.asked() if notes.import_begun() else None
        begun, ended = await notes.asked_at(), await notes.last_noted()
        if imported is not None and begun is not None and begun / 1e9 <= pit and ended / 1e9 > taken_at:
            found.setdefault(notes.job, set()).update(_both(asked, imported.tables))
            at[notes.job] = begun / 1e9
    for other in await asyncio.to_thread(_jobs, state / "restores"):
        if other == job:
            continue
        placing = PlaceNotes(state, other)
        point = await FetchNotes(state, other).point()
        if point is None or not (await placing.started() or await placing.opened()):
            continue
        placed = await asyncio.to_thread(_placed_at, state / "restores" / other)
        if placed is None or taken_at < placed <= pit:
            found.setdefault(other, set()).update(_both(asked, point.tables))
            at[other] = min(at.get(other, math.inf), taken_at if placed is None else placed)
    return [EarlierRestore(one, tuple(sorted(tables)), at[one]) for one, tables in sorted(found.items()) if tables]


async def none_until(state: Path, job: str | None, asked: Tables, taken_at: float, now: float) -> float:
    """The first point (unix seconds) that lies behind such a restore, seen from a snapshot; infinite where there is
    none. Raises OSError."""
    return min((one.at for one in await earlier_restores(state, job, asked, taken_at, now)), default=math.inf)


async def told_restored(state: Path, job: str | None, asked: Tables, pit: float, now: float) -> list[str]:
    """Warnings of restores that came after the point (unix seconds): Cassandra may have taken back what it knew of a
    TRUNCATE [X: CommitLogReplayer.construct]."""
    return [
        f"after the point a restore ({one.job}) changed {', '.join(one.tables[:20])}: Cassandra may have forgotten "
        "an earlier TRUNCATE, and unless its auto-snapshot is there, rows that it had removed come back"
        for one in await earlier_restores(state, job, asked, pit, now)
    ]


async def refuse_restored(state: Path, job: str | None, asked: Tables, head: Head, pit: float) -> None:
    """Raises `RestoredSince` when any came between the snapshot and the point (unix seconds)."""
    found = await earlier_restores(state, job, asked, head.taken_at, pit)
    if found:
        tables = sorted({table for one in found for table in one.tables})
        raise RestoredSince(
            f"restored between snapshot and point ({', '.join(one.job for one in found)}): {', '.join(tables[:20])}",
            jobs=[one.job for one in found],
            tables=tables[:100],
        )


def _both(asked: Tables, others: Mapping[str, Sequence[str]]) -> set[str]:
    return {
        f"{keyspace}.{table}"
        for keyspace, tables in asked.items()
        for table in tables
        if table in others.get(keyspace, ())
    }


def _jobs(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if is_name("job", path.name)) if directory.is_dir() else []


def _placed_at(directory: Path) -> float | None:
    try:
        return (directory / "placed.json").stat().st_mtime
    except FileNotFoundError:
        return None
