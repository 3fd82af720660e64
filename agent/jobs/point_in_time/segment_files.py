"""Segments on their way into the directory from which Cassandra replays them. In: a source, records. Out: files under
their own names, each looked through as Cassandra would read it.

Anything else in that directory stops Cassandra's start: what is no part of the set is removed at the end.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from agent.cassandra.commit_log.errors import SegmentGone, SegmentUnreadable
from agent.cassandra.commit_log.sections import segment_state
from agent.cassandra.staging import StagingRoot, settle_file
from agent.jobs.point_in_time.point_errors import SegmentDamaged
from agent.model.commit_log import SegmentRecord
from agent.pipeline.errors import FileDiffers
from agent.pipeline.writing import sync_directory
from agent.repository.errors import ObjectDamaged
from agent.storage.protocol import NotFound
from kit.errors import HelenusError

_SIDE_BY_SIDE = 2
"""A segment has two pieces of 4 MiB in flight."""


class SegmentFetcher(Protocol):
    """The part of a `LogSource` that brings files."""

    async def fetch(self, record: SegmentRecord, directory: Path) -> SegmentRecord:
        """See `LogSource.fetch`."""


class Brought(msgspec.Struct, frozen=True):
    """`records`: of the files that stand. `left_out`: a sentence for each segment that could not be had, or that
    Cassandra will not read to its end (only with `force`)."""

    records: tuple[SegmentRecord, ...]
    left_out: tuple[str, ...]


async def bring_segments(
    source: SegmentFetcher,
    records: Sequence[SegmentRecord],
    root: StagingRoot,
    directory: Path,
    done: Callable[[SegmentRecord], object],
    *,
    force: bool,
) -> Brought:
    """Have every one in the directory, in the order of the records. `done` is told each one that stands. Raises
    `SegmentDamaged`, also for one of which the source has no whole copy, and what else the source raises; with `force`
    damage is told instead, but not a segment that was shipped and removed just now: whoever looks again finds it."""
    turns = asyncio.Semaphore(_SIDE_BY_SIDE)
    left_out: dict[str, str] = {}

    async def one(record: SegmentRecord) -> SegmentRecord | None:
        async with turns:
            try:
                fetched = await source.fetch(record, directory)
                await asyncio.to_thread(_settle, root, directory / record.name)
                damage = await asyncio.to_thread(damage_of, directory / record.name)
                if damage:
                    raise damaged(record, damage)
            except (NotFound, ObjectDamaged, FileDiffers, SegmentUnreadable) as error:
                if isinstance(error, SegmentGone):
                    raise
                if not force:
                    raise _not_whole(record, error) from error
                # A file without a right header would stop Cassandra's start, whatever it is told to ignore.
                await asyncio.to_thread((directory / record.name).unlink, missing_ok=True)
                left_out[record.name] = f"{record.name} is left out: {error.message}"
                return None
            except SegmentDamaged as error:
                if not force:
                    raise
                left_out[record.name] = error.message
            done(fetched)
            return fetched

    tasks = [asyncio.create_task(one(record)) for record in records]
    try:
        found = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Brought(tuple(record for record in found if record is not None), tuple(left_out.values()))


def damage_of(path: Path) -> str:
    """What Cassandra would stop at, "" for nothing. Reads the file. Raises `SegmentUnreadable` for a header that is
    wrong."""
    return segment_state(path).damage


def damaged(record: SegmentRecord, reason: str) -> HelenusError:
    """The error for a segment that Cassandra would not read to its end."""
    return _damaged(record, f"{_named(record)} can't be replayed to its end: {reason}", reason)


def _not_whole(record: SegmentRecord, error: HelenusError) -> SegmentDamaged:
    """The error for a segment of which no whole copy could be had: an error of its bytes names neither it nor when
    it was written."""
    return _damaged(record, f"{_named(record)} can't be had whole: {error.message}", error.message)


def _named(record: SegmentRecord) -> str:
    since, until = (
        datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (record.opened_at, record.closed_at)
    )
    return f"{record.name} (written from {since} to {until} UTC)"


def _damaged(record: SegmentRecord, message: str, reason: str) -> SegmentDamaged:
    return SegmentDamaged(
        message,
        segment=record.name,
        since=record.opened_at,
        until=record.closed_at,
        reason=reason,
    )


def keep_only(directory: Path, names: Collection[str]) -> None:
    """Remove all else, durably. Blocks."""
    removed = False
    for name in os.listdir(directory):
        if name not in names:
            with contextlib.suppress(FileNotFoundError):
                (directory / name).unlink()
            removed = True
    if removed:
        sync_directory(directory)


def _settle(root: StagingRoot, path: Path) -> None:
    if path.stat().st_nlink == 1:  # a link to Cassandra's own file has its rights already
        settle_file(root, path)
