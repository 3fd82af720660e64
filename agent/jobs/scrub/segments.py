"""Reads again the archived commit log of a node, and finds segments that can't be had. In: an open repository, slices.
Out: which ones are damaged, and notes of them in the destination.

Every record is read each time, and what it names must be listed with its size; of the bytes the slices that are due are
read, by the objects' names, and all of a segment that is noted. A segment with damage is noted beside the records: who
looks how far the log reaches counts it as a gap, as it does what is not listed (…repository.commit_logs.incomplete).
Nothing puts it anew, for the node has it no more; a note goes when the segment is right again, or with it. Interrupted,
it is begun anew.
"""

from collections.abc import Collection

import msgspec
import structlog

from agent.crypto.errors import SealingKeyUnknown
from agent.jobs.scrub.reading import ObjectReader, Verdict
from agent.model.commit_log import SegmentRecord
from agent.repository.commit_logs.errors import LogRecordInvalid
from agent.repository.commit_logs.incomplete import cut
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.damage_notes import DamagedObject
from agent.repository.errors import RepositoryFormatNewer
from agent.repository.frame import Codec
from agent.repository.opened import OpenedRepository
from agent.wire.results import DamagedSegment

_log = structlog.get_logger(__name__)


class SegmentsRead(msgspec.Struct, frozen=True):
    """`segments`: whose records are there. `damaged`: those that can't be had, in the order of the log."""

    segments: int = 0
    damaged: tuple[DamagedSegment, ...] = ()


class SegmentScrub:
    """The log of one node in one destination."""

    def __init__(self, opened: OpenedRepository, host_id: str, reader: ObjectReader) -> None:
        self._logs = CommitLogs(opened, host_id)
        self._reader = reader

    async def read(self, slices: Collection[int]) -> SegmentsRead:
        """Look at all, read what is due. Raises a StorageError."""
        logs = self._logs
        try:
            records = [record for record in await logs.records() if record.whole]
        except (RepositoryFormatNewer, SealingKeyUnknown) as error:
            _log.warning("commit_log_not_scrubbed", code=error.code, reason=error.message)
            return SegmentsRead()
        unlisted, noted = await cut(logs, records), await logs.damaged()
        found = [
            DamagedSegment(name, loss.reason, loss.since, loss.until) for name, loss in sorted(logs.unreadable.items())
        ]
        right = noted - {record.name for record in records}
        for record in records:
            reason = unlisted.get(record.name, "")
            if not reason:
                reason = await self._reason(record, set(slices), whole=record.name in noted)
                if reason and await self._is_there(record):
                    await logs.put_damage(record, reason)
                elif record.name in noted:
                    right.add(record.name)
            if reason and await self._is_there(record):
                found.append(DamagedSegment(record.name, reason, record.opened_at, record.closed_at))
        await logs.clear_damage(right)
        return SegmentsRead(len(records) + len(logs.unreadable), tuple(found))

    async def _reason(self, record: SegmentRecord, slices: Collection[int], *, whole: bool) -> str:
        """What is wrong with its bytes, as a clause; "" when nothing that is read."""
        for name, size in record.objects.items():
            key, codec = self._logs.object_key(record, name), Codec(record.codecs.get(name, Codec.RAW))
            one = DamagedObject(bytes.fromhex(name), codec, key)
            if whole or one.name[0] in slices:
                verdict = await self._reader.read(one, size)
                if verdict.is_damage or verdict is Verdict.GONE:
                    return f"an object of {record.name} is {verdict.value} in the destination"
        return ""

    async def _is_there(self, record: SegmentRecord) -> bool:
        """Whether the segment is still listed: a trim may have been here."""
        try:
            return await self._logs.record_of(record.name) is not None
        except LogRecordInvalid:
            return True
