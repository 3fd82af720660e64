"""Where a restore reads a node's commit log from. In: a destination (or the node itself). Out: records, losses, the
schema's history, and segments as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from agent.model.commit_log import LossRecord, SchemaRecord, SegmentRecord
from agent.pipeline.segments import SegmentBytes
from agent.repository.commit_logs.incomplete import incomplete
from agent.repository.commit_logs.index import CommitLogs


class LogSource(Protocol):
    """A node's archived commit log, wherever it is kept."""

    async def records(self, since: int = 0) -> Sequence[SegmentRecord]:
        """The newest copy of every segment from the one with the id `since` on, in the order of the log."""

    async def outlined(self, since: int, before: int) -> Sequence[SegmentRecord]:
        """As `records`, of those with ids from `since` to under `before`, to see what is missing among them: one
        between two neighbours may be told by its name alone (no size, no times, no objects)."""

    async def losses(self) -> Sequence[LossRecord]:
        """What is known not to come any more, with segments whose records `records` or `outlined` could not read."""

    async def schemas(self) -> Sequence[SchemaRecord]:
        """The schema's history, by first sight."""

    async def incomplete(self, records: Sequence[SegmentRecord]) -> Mapping[str, str]:
        """Which of these could not be fetched, as far as a look tells: segment's name → the reason, as a clause."""

    async def fetch(self, record: SegmentRecord, directory: Path) -> SegmentRecord:
        """Have the segment as a file of its own name in the directory, which is there: whole, verified and durable, or
        not at all. There already, it is only compared. The record that was fetched: a longer copy's where the given one
        was superseded. Raises what reading and writing raises."""


class StoredLogs:
    """A `LogSource` over a destination. See agent.repository.commit_logs.index and SegmentBytes.fetch for errors."""

    def __init__(self, logs: CommitLogs, segments: SegmentBytes) -> None:
        self._logs = logs
        self._segments = segments

    async def records(self, since: int = 0) -> Sequence[SegmentRecord]:
        """See `LogSource.records`."""
        return await self._logs.records(since)

    async def outlined(self, since: int, before: int) -> Sequence[SegmentRecord]:
        """See `LogSource.outlined`."""
        return await self._logs.outlined(since, before)

    async def losses(self) -> Sequence[LossRecord]:
        """See `LogSource.losses`."""
        return [*await self._logs.losses(), *self._logs.unreadable.values()]

    async def schemas(self) -> Sequence[SchemaRecord]:
        """See `LogSource.schemas`."""
        return await self._logs.schemas()

    async def incomplete(self, records: Sequence[SegmentRecord]) -> Mapping[str, str]:
        """See `LogSource.incomplete`."""
        return await incomplete(self._logs, records)

    async def fetch(self, record: SegmentRecord, directory: Path) -> SegmentRecord:
        """See `LogSource.fetch`."""
        return await self._segments.fetch(self._logs, record, directory)
