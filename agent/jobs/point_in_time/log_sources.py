"""Where the archived commit log of this node is read from: a destination, or what is kept on the node."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.model.commit_log import SegmentRecord
from agent.pipeline.log_source import LogSource, StoredLogs
from agent.pipeline.segments import SegmentBytes
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import Repositories, Waiting, silent
from agent.storage.protocol import OPEN
from agent.storage.throttle import TokenBucket
from agent.wire.point_in_time import PitArguments


class LogSources(Protocol):
    """The logs that a restore on this node can take from."""

    def opened(
        self, arguments: PitArguments, host_id: str, waiting: Waiting = silent
    ) -> AbstractAsyncContextManager[LogSource]:
        """That node's log in the destination `logs`, or the one kept on this node when there is none."""


class NearestSegments:
    """Fetches a segment from the node itself where it is there, whole, else from the archive. `near`: names of whole
    ones on the node; `archived`: records by name."""

    def __init__(
        self, own: LogSource, near: Collection[str], logs: LogSource, archived: Mapping[str, SegmentRecord]
    ) -> None:
        self._own = own
        self._near = near
        self._logs = logs
        self._archived = archived

    async def fetch(self, record: SegmentRecord, directory: Path) -> SegmentRecord:
        """See `LogSource.fetch`. A segment that was shipped meanwhile, and removed, comes from the archive."""
        if record.name in self._near or record.name not in self._archived:
            try:
                return await self._own.fetch(record, directory)
            except SegmentUnreadable:
                if record.name not in self._archived:
                    raise
        return await self._logs.fetch(self._archived[record.name], directory)


class PointLogs:
    """See `LogSources`. `kept`: the segments on this node."""

    def __init__(self, repositories: Repositories, kept: LogSource, segments: SegmentBytes) -> None:
        self._repositories = repositories
        self._kept = kept
        self._segments = segments

    @asynccontextmanager
    async def opened(
        self, arguments: PitArguments, host_id: str, waiting: Waiting = silent
    ) -> AsyncIterator[LogSource]:
        """Raises what opening a destination raises."""
        if arguments.logs is None:
            yield self._kept
            return
        async with self._repositories.opened(arguments.logs, waiting) as opened:
            throttle = arguments.throttle_bytes_per_second
            limited = opened.limited(TokenBucket(throttle) if throttle else OPEN)
            yield StoredLogs(CommitLogs(limited, host_id), self._segments)
