"""One destination's way through the segments on the node: in, the ledger and the directories; out, each segment in the
destination, oldest first, and the ledger told.

A destination goes at its own pace: one that is away or slow keeps nothing from the others, only the files on the node.
Each step can be cut and done again: objects, then the record, then a listing of the record, and only then the ledger
says that the destination has it, which is what lets the file go (agent.jobs.archiving.removal). After a crash in
between, the record that is listed is compared with the file by size and digest. A segment that is there with other
content is told and left, and those after it are shipped.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from agent.jobs.archiving.ledger import KnownSegment, Ledger, PlaceNote
from agent.jobs.archiving.looking import Look, SeenFile
from agent.jobs.archiving.order import place_of
from agent.model.commit_log import SegmentRecord
from agent.pipeline.errors import SnapshotVanished
from agent.pipeline.segments import SegmentBytes, SegmentSource
from agent.plan.segment_names import segment_id
from agent.repository.commit_logs.errors import LogRecordInvalid, LogSegmentDiffers
from agent.repository.commit_logs.index import CommitLogs, refuse_other
from agent.repository.opened import Repositories
from agent.wire.archiving import LogPlace, LogTarget
from kit.errors import HelenusError

SOON_SECONDS = 2.0
LATE_SECONDS = 30.0
LOCKED = "copies of the segment that is being written would pile up under the destination's object lock"
_log = structlog.get_logger(__name__)


class Shipper:
    """`segments`: reads and puts. `look`: the newest look at the directories. `tails`: copies of segments that are
    being written, newest of each, to be shipped here as well."""

    def __init__(
        self,
        target: LogTarget,
        repositories: Repositories,
        segments: SegmentBytes,
        ledger: Ledger,
        look: Callable[[], Look],
    ) -> None:
        self.target = target
        self.place = place_of(target)
        self._error: dict[str, Any] | None = None
        self._waiting: dict[str, Any] | None = None
        self.tail_refused = ""
        self.tails: dict[str, SegmentSource] = {}
        self._told_tails: dict[str, SegmentRecord] = {}
        self._repositories = repositories
        self._segments = segments
        self._ledger = ledger
        self._look = look
        self._refused: dict[str, SeenFile] = {}
        self._vanished: dict[str, Look] = {}
        self._wake = asyncio.Event()
        if self.place not in ledger.known.places:
            self._note(PlaceNote())

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    @property
    def error(self) -> dict[str, Any] | None:
        """What is wrong with it now."""
        return self._waiting or self._error

    @property
    def note(self) -> PlaceNote:
        """How far it is."""
        return self._ledger.known.places[self.place]

    def pending(self) -> list[tuple[KnownSegment, SeenFile]]:
        """Closed segments that it doesn't have, oldest first, without those that are refused."""
        return sorted(self._pending(), key=_place)

    def _pending(self) -> Iterator[tuple[KnownSegment, SeenFile]]:
        look = self._look()
        for name, file in look.archived.items():
            one = self._ledger.get(name)
            if one is None or one.previous is None or not one.host_id or self._refused.get(name) == file:
                continue
            if self._vanished.get(name) is look:
                continue
            if self.place not in one.places or one.stamp != file.stamp:
                yield one, file

    def view(self) -> LogPlace:
        """How far it is, for a person."""
        note, waiting = self.note, [file for _, file in self.pending()]
        waiting += [file for name, file in self._refused.items() if self._look().archived.get(name) == file]
        until, newest = note.until, note.newest
        for name, tail in self._told_tails.items():
            if until is not None and tail.follows and tail.previous == note.newest:
                until, newest = max(until, tail.closed_at), name
        return LogPlace(note.since, until, newest, len(waiting), sum(file.size for file in waiting), self.error)

    async def run(self) -> None:
        """Ship for ever."""
        pause = SOON_SECONDS
        while True:
            try:
                while self.has_work():
                    await self._ship_all()
                    pause = SOON_SECONDS
                seconds = None
            except HelenusError as error:
                self._fail(error)
                seconds = pause
                pause = min(pause * 2, LATE_SECONDS)
            except Exception:  # noqa: BLE001 - none of this may end the daemon
                _log.exception("commit_log_not_shipped", destination=self.target.target.destination)
                seconds = LATE_SECONDS
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    if seconds is None:
                        await self._wake.wait()
                    else:
                        await asyncio.sleep(seconds)

    def has_work(self) -> bool:
        """Whether anything is to be shipped."""
        losses = self._ledger.known.told.get(self.place, 0) < len(self._ledger.known.losses)
        return losses or bool(self.tails) or any(True for _ in self._pending())

    async def _ship_all(self) -> None:
        async with self._repositories.opened(self.target.target, self._show) as opened:
            while self.has_work():
                oldest = min(self._pending(), key=_place, default=None)
                if oldest is not None:
                    one, file = oldest
                    await self._ship(CommitLogs(opened, one.host_id), one, file)
                logs = CommitLogs(opened, self._ledger.known.host_id)
                await self._tell_losses(logs)
                for name in sorted(self.tails, key=segment_id):
                    await self._ship_tail(logs, self.tails.pop(name))
                archived = self._look().archived
                self._refused = {name: file for name, file in self._refused.items() if archived.get(name) == file}
                self._vanished = {name: look for name, look in self._vanished.items() if look is self._look()}
                self._error = self._error if self._refused or self._vanished else None

    async def _ship(self, logs: CommitLogs, one: KnownSegment, file: SeenFile) -> None:
        source = SegmentSource(
            path=file.path,
            name=one.name,
            size=file.size,
            whole=True,
            opened_at=one.opened_at,
            closed_at=file.changed_at,
            previous=one.previous or "",
            follows=one.follows,
        )
        look = self._look()
        try:
            record = await self._whole(logs, source)
        except (LogSegmentDiffers, LogRecordInvalid) as error:
            self._refused[one.name] = file
            self._fail(error)
            return
        except SnapshotVanished as error:
            self._vanished[one.name] = look  # until it is seen anew; losses are told by who looks
            self._fail(error)
            return
        self._vanished.pop(one.name, None)
        self._has(one.name, file, record)
        await self._ledger.save()

    async def _whole(self, logs: CommitLogs, source: SegmentSource) -> SegmentRecord:
        """Have the closed segment there and listed, and nothing of shorter copies."""
        there = await logs.record_of(source.name)
        if there is not None and there.whole:
            refuse_other(source.name, source.size, await self._segments.digest_of(source), there, source.name)
            await logs.supersede(there)
            return there
        record = await self._segments.put(logs, source, compressed=self.target.compressed)
        await logs.put_record(record)
        listed = await logs.record_of(source.name)
        if listed is None or not listed.whole:
            raise NotListed(f"the record of {source.name} was put, and is not listed yet", segment=source.name)
        await logs.supersede(listed)
        return listed

    def _has(self, name: str, file: SeenFile, record: SegmentRecord) -> None:
        """The destination has it: note that, and how far its log goes without a gap."""
        one, begun = self._ledger.get(name), record.closed_at
        if one is not None:
            begun = begun if one.begun_by is None else one.begun_by
            places = one.places if one.stamp in (None, file.stamp) else ()
            self._ledger.put(
                msgspec.structs.replace(
                    one,
                    stamp=file.stamp,
                    digest=record.digest,
                    places=tuple(sorted({*places, self.place})),
                )
            )
        note, number = self.note, segment_id(name)
        last = segment_id(note.newest) if note.newest else -1
        if number <= last:
            return
        goes_on = last >= 0 and (number == last + 1 or (record.follows and record.previous == note.newest))
        self._note(
            msgspec.structs.replace(
                note,
                newest=name,
                # Not `opened_at`: what came before may be of the same life, and have been received later than that.
                since=note.since if goes_on else begun,
                # The last segment of a life was allocated ahead, and has its times from before the writes in front.
                until=max(record.closed_at, (note.until or 0.0) if goes_on else 0.0),
            )
        )
        for tail in [tail for tail in self._told_tails if segment_id(tail) <= number]:
            del self._told_tails[tail]

    async def _ship_tail(self, logs: CommitLogs, source: SegmentSource) -> None:
        """Have a copy of a segment that is being written there; the next one is taken anyway, if this one fails."""
        self.tail_refused = "" if logs.opened.lock is None else LOCKED
        if self.tail_refused or source.name in self._look().archived or not self._ledger.known.host_id:
            return
        try:
            record = await self._segments.put(logs, source, compressed=self.target.compressed)
        except SnapshotVanished:
            return
        await logs.put_record(record)
        await logs.supersede(record)
        self._told_tails[source.name] = record

    async def _tell_losses(self, logs: CommitLogs) -> None:
        new = self._ledger.known.losses[self._ledger.known.told.get(self.place, 0) :]
        if not new:
            return
        for loss in new:
            await logs.put_loss(loss)
        told = self._ledger.known.told  # of now: meanwhile old losses may have been let go, and counted off
        self._ledger.change(told={**told, self.place: told.get(self.place, 0) + len(new)})
        await self._ledger.save()

    def _note(self, note: PlaceNote) -> None:
        self._ledger.change(places={**self._ledger.known.places, self.place: note})

    def _show(self, waiting: dict[str, Any] | None) -> None:
        """What the destination is waited for, as long as it is."""
        self._waiting = waiting

    def _fail(self, error: HelenusError) -> None:
        told = error.as_dict()
        if self._error is None or self._error.get("code") != told["code"]:
            _log.warning(
                "commit_log_not_shipped",
                destination=self.target.target.destination,
                code=error.code,
                reason=error.message,
            )
        self._error = told


def _place(pair: tuple[KnownSegment, SeenFile]) -> int:
    return segment_id(pair[0].name)


class NotListed(HelenusError):
    """A store that doesn't list yet what it was given."""

    code = "log_segment_not_listed"
    retry = "now"
    status = 503
    todo = "Nothing: it is looked for again. Look at the store if it stays."
