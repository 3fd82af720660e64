"""What of a node's commit log is in a destination. In: an open repository and whose log. Out: records of segments,
losses, the schema's history; and the same put, and removed when they are superseded.

The order makes every step safe to repeat: a segment's objects first, then its record (put once, never replaced), so
what is listed can be fetched. A record that is there with other content is refused: two logs under one host id. A copy
of a segment that is being written has a record of its own (`tail-<bytes>`), and goes when a longer one is there: its
record first, then the objects that the longer one doesn't name. Whoever reads meanwhile finds the longer copy.

One record that is damaged is one segment that is missing: who reads all gets the others, and it is told as a loss.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import msgspec

from agent.model.commit_log import LossRecord, SchemaRecord, SegmentRecord
from agent.plan.segment_names import OLDEST_VERSION, SegmentName, segment_id
from agent.repository import checked_text
from agent.repository.bounded import MOST_RECORD
from agent.repository.commit_logs.errors import LogRecordInvalid, LogSegmentDiffers
from agent.repository.commit_logs.names import (
    RecordName,
    damaged_key,
    damaged_prefix,
    log_data_key,
    log_data_prefix,
    loss_key,
    losses_prefix,
    parse_damaged,
    parse_record,
    record_key,
    records_prefix,
    schema_key,
    schemas_prefix,
)
from agent.repository.errors import ManifestInvalid
from agent.repository.frame import Codec
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Entry, NotFound, ObjectLocked
from kit.together import together

Document = TypeVar("Document", SegmentRecord, LossRecord, SchemaRecord)

_segment = msgspec.json.Decoder(SegmentRecord)
_loss = msgspec.json.Decoder(LossRecord)
_schema = msgspec.json.Decoder(SchemaRecord)
_SIDE_BY_SIDE = 32


class Listed(NamedTuple):
    """A record as it is listed."""

    name: RecordName
    entry: Entry


class CommitLogs:
    """One node's commit log in one destination. Every method may raise a StorageError; those that read also
    LogRecordInvalid, RepositoryFormatNewer and SealingKeyUnknown. `unreadable`: segments whose records `records` and
    `outlined` came upon and left out, as losses by file name."""

    def __init__(self, opened: OpenedRepository, host_id: str) -> None:
        self.opened = opened
        self.host_id = host_id
        self._cluster_id = opened.cluster_id
        self._storage = opened.storage
        self._documents = opened.documents
        self.unreadable: dict[str, LossRecord] = {}

    async def listed(self, segment: int | None = None) -> list[Listed]:
        """The records that are there, of all segments or of the one with that id, in the order of the log."""
        prefix = records_prefix(self._cluster_id, self.host_id)
        wanted = records_prefix(self._cluster_id, self.host_id, segment)
        found = [
            Listed(name, entry)
            async for entry in self._storage.list(wanted)
            if (name := parse_record(prefix, entry.key)) is not None
        ]
        return sorted(found, key=lambda one: (one.name.segment, one.name.tail is None, one.name.tail or ()))

    async def records(self, since: int = 0) -> list[SegmentRecord]:
        """Every segment's newest copy (a whole one where there is one), from the segment with the id `since` on, in the
        order of the log; without those of which the record is damaged."""
        newest = {one.name.segment: one for one in await self.listed() if one.name.segment.id >= since}
        found = await self._side_by_side(newest.values())
        return [record for record in found if record is not None]

    async def outlined(self, since: int, before: int) -> list[SegmentRecord]:
        """As `records`, of ids from `since` to under `before`. Whole segments with a neighbour on both sides are told
        by their names: so much of the log can be looked through by a listing and a few reads."""
        newest = {one.name.segment.id: one for one in await self.listed() if since <= one.name.segment.id < before}
        between = {
            number: _by_name(one.name.segment.file_name)
            for number, one in newest.items()
            if one.name.tail is None and _is_whole(newest.get(number - 1)) and number + 1 in newest
        }
        read = await self._side_by_side(one for number, one in newest.items() if number not in between)
        found = [*between.values(), *(record for record in read if record is not None)]
        return sorted(found, key=lambda record: segment_id(record.name))

    async def record_of(self, name: str) -> SegmentRecord | None:
        """The newest copy of that segment; None: there is none."""
        listed = [one for one in await self.listed(segment_id(name)) if one.name.segment.file_name == name]
        return await self._read_segment(listed[-1]) if listed else None

    async def read(self, one: Listed) -> SegmentRecord | None:
        """A listed record; None when it went meanwhile."""
        found = await self._read(one.entry, _segment)
        if found is None:
            return None
        if found.name != one.name.segment.file_name or one.name.tail != tail_of(found):
            raise LogRecordInvalid(f"a record is of another segment: {one.entry.key}", key=one.entry.key)
        return found

    async def losses(self) -> list[LossRecord]:
        """What is known not to come any more, in the order of the log. A damaged note is one of a loss there."""
        prefix = losses_prefix(self._cluster_id, self.host_id)
        found = []
        async for entry in self._storage.list(prefix):
            try:
                loss = await self._read(entry, _loss)
            except LogRecordInvalid as error:
                loss = loss_at(prefix, entry.key, error.message)
            found += [] if loss is None else [loss]
        return found

    async def schemas(self) -> list[SchemaRecord]:
        """The schema's history, by first sight."""
        return [
            found
            async for entry in self._storage.list(schemas_prefix(self._cluster_id, self.host_id))
            if (found := await self._read(entry, _schema)) is not None
        ]

    async def put_record(self, record: SegmentRecord) -> None:
        """Have the record of a segment whose objects are there. Again is fine. Raises LogSegmentDiffers when one of
        other bytes is there."""
        key = record_key(self._cluster_id, self.host_id, record.name, tail_of(record))
        put = await self._documents.put(key, _text(record))
        if put.created:
            return
        there = await self._read(Entry(key, put.size, 0.0), _segment)
        if there is not None:
            refuse_other(record.name, record.size, record.digest, there, key)

    async def put_loss(self, record: LossRecord) -> None:
        """Have it known. Again is fine."""
        key = loss_key(self._cluster_id, self.host_id, record.after, record.before)
        await self._documents.put(key, _text(record))

    async def damaged(self) -> set[str]:
        """Segments whose bytes a scrub found damaged, by file name."""
        prefix = damaged_prefix(self._cluster_id, self.host_id)
        listed = [parse_damaged(prefix, entry.key) async for entry in self._storage.list(prefix)]
        return {one.file_name for one in listed if one is not None}

    async def put_damage(self, record: SegmentRecord, reason: str) -> None:
        """Have that known of a segment. Again is fine."""
        key = damaged_key(self._cluster_id, self.host_id, record.name)
        loss = LossRecord(record.previous, "", record.opened_at, record.closed_at, reason)
        await self._documents.put(key, _text(loss))

    async def clear_damage(self, names: Iterable[str]) -> None:
        """Let that go: the segment is right, or is gone."""
        keys = [damaged_key(self._cluster_id, self.host_id, name) for name in names]
        if keys:
            await self._delete(keys)

    async def put_schema(self, record: SchemaRecord) -> None:
        """Add to the schema's history. Again is fine."""
        key = schema_key(self._cluster_id, self.host_id, record.first_seen, record.version)
        await self._documents.put(key, _text(record))

    async def supersede(self, kept: SegmentRecord) -> None:
        """Remove shorter copies of the segment of which this record is listed: their records, then objects that it
        doesn't name."""
        number = segment_id(kept.name)
        listed = await self.listed(number)
        last = listed[-1].name if listed else None
        if last is None or last.segment.file_name != kept.name or last.tail != tail_of(kept):
            return  # a longer one is there by now
        shorter = [one.entry.key for one in listed[:-1]]
        if not shorter:
            return
        await self._delete(shorter)
        named = set(self.object_keys(kept))
        prefix = log_data_prefix(self._cluster_id, self.host_id, number)
        extra = [entry.key async for entry in self._storage.list(prefix) if entry.key not in named]
        if extra:
            await self._delete(extra)

    def object_keys(self, record: SegmentRecord) -> Iterable[str]:
        """The keys of the objects that a record names."""
        for name in record.objects:
            yield self.object_key(record, name)

    def object_key(self, record: SegmentRecord, name: str) -> str:
        """The key of the record's object with that id (hex)."""
        codec = Codec(record.codecs.get(name, Codec.RAW))
        return self.object_key_of(record.name, bytes.fromhex(name), codec, record.objects[name])

    def object_key_of(self, segment: str, object_id: bytes, codec: Codec, size: int) -> str:
        """The key of an object of the segment with that file name; `size`: stored bytes."""
        name = self.opened.form.name(object_id)
        return log_data_key(self._cluster_id, self.host_id, segment_id(segment), name, codec, size)

    async def _delete(self, keys: Sequence[str]) -> None:
        """Remove what is superseded; what object lock holds stays, and counts for nothing."""
        with suppress(ObjectLocked):
            await self._storage.delete(keys)

    async def _side_by_side(self, listed: Iterable[Listed]) -> list[SegmentRecord | None]:
        turns = asyncio.Semaphore(max(1, min(_SIDE_BY_SIDE, self.opened.streams)))

        async def read(one: Listed) -> SegmentRecord | None:
            async with turns:
                try:
                    return await self._read_segment(one)
                except LogRecordInvalid as error:
                    name = one.name.segment
                    self.unreadable[name.file_name] = loss_of(name, error.message)
                    return None

        return await together(*(read(one) for one in listed))

    async def _read_segment(self, one: Listed) -> SegmentRecord | None:
        """The record; the newest copy's where it was superseded since it was listed."""
        found = await self.read(one)
        if found is None:
            return await self.record_of(one.name.segment.file_name)
        return found

    async def _read(self, entry: Entry, decoder: "msgspec.json.Decoder[Document]") -> Document | None:
        """The document; None when it went meanwhile."""
        try:
            return checked_text.decode(decoder, await self._documents.read(entry.key, entry.size, MOST_RECORD))
        except NotFound:
            return None
        except ManifestInvalid as error:
            raise LogRecordInvalid(error.message, **error.fields) from error
        except msgspec.DecodeError as error:
            raise LogRecordInvalid(f"a record of the commit log can't be read: {entry.key}", key=entry.key) from error


def loss_of(segment: SegmentName, reason: str) -> LossRecord:
    """A segment that is listed and can't be had, as a loss. Of its times only its id tells."""
    at = segment.id / 1000
    return LossRecord(segment.neighbour(-1).file_name, segment.neighbour(1).file_name, at, at, reason)


def loss_at(prefix: str, key: str, reason: str) -> LossRecord | None:
    """What the key of a loss that can't be read says of it: where it begins. None for what is not ours."""
    number = key.removeprefix(prefix).partition(".")[0]
    if not number.isdecimal():
        return None
    after = SegmentName(int(number), OLDEST_VERSION)
    return LossRecord(after.file_name, "", after.id / 1000, after.id / 1000, reason)


def tail_of(record: SegmentRecord) -> tuple[int, int] | None:
    """What a record's key says of a copy taken while the segment was written."""
    return None if record.whole else (record.size, int(record.closed_at * 1_000_000))


def _is_whole(one: Listed | None) -> bool:
    return one is not None and one.name.tail is None


def _by_name(name: str) -> SegmentRecord:
    """A whole segment of which nothing else was read."""
    return SegmentRecord(name, 0, "", 0, (), {}, {}, True, 0.0, 0.0, "", False, 0.0)


def refuse_other(name: str, size: int, digest: str, there: SegmentRecord, key: str) -> None:
    """Raise LogSegmentDiffers unless the record that is there is of the same bytes."""
    if (there.size, there.digest) != (size, digest):
        raise LogSegmentDiffers(
            f"{name} has {size} bytes with the digest {digest[:16]}… here, and {there.size} with {there.digest[:16]}… "
            f"in the destination: {key}",
            segment=name,
            key=key,
        )


def _text(record: SegmentRecord | LossRecord | SchemaRecord) -> bytes:
    return checked_text.encode(record)
