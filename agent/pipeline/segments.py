"""Commit-log segments on their way to a destination and back: in, a file on the node (or a record); out, a record of
objects that are there (or a verified file).

Little is in flight, whatever a segment's size: two pieces of 4 MiB, of up to 2.5 times that in memory, for each
destination that is being written to. Pieces end where they end in a copy that was taken earlier, while the segment was
written: what that one brought is not put again.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from agent.crypto.digest import digest, file_digest
from agent.model.commit_log import SegmentRecord
from agent.model.manifest import FileEntry, Piece
from agent.pipeline.compression import Compression
from agent.pipeline.errors import FileUnreadable, SnapshotVanished
from agent.pipeline.stored_object import READ_TRIES
from agent.pipeline.writing import NewFile, sync_directory
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.errors import ObjectDamaged
from agent.repository.form import Form, Packed, Stored
from agent.repository.frame import Codec, ObjectType
from agent.storage.direct import DirectWriter
from agent.storage.protocol import NotFound, Truncated
from agent.storage.threads import Workers
from agent.storage.throttle import Stream
from kit.together import together

PIECE_SIZE = 4 * 1024 * 1024
_SIDE_BY_SIDE = 2
Thing = TypeVar("Thing")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class SegmentSource(msgspec.Struct, frozen=True):
    """The first `size` bytes of a file, and what its record will say of it beside its bytes (see SegmentRecord)."""

    path: Path
    name: str
    size: int
    whole: bool
    opened_at: float
    closed_at: float
    previous: str
    follows: bool


class _Object(NamedTuple):
    """A piece as it was read, and as it is stored."""

    id: bytes
    length: int
    stored: Stored


class SegmentBytes:
    """Puts and fetches segments. `workers`: threads that read, write and compress. `clock`: unix seconds."""

    def __init__(self, workers: Workers, clock: Callable[[], float]) -> None:
        self._workers = workers
        self._clock = clock
        self._compression = Compression()
        self._direct = DirectWriter()

    async def digest_of(self, source: SegmentSource) -> str:
        """The digest that its record would have. Raises SnapshotVanished, FileUnreadable."""
        return await self._workers.run(lambda stop: digest_of_file(source.path, source.size, stop.check))

    async def put(self, logs: CommitLogs, source: SegmentSource, *, compressed: bool) -> SegmentRecord:
        """Have the objects of the segment in the destination; the record that names them, which is not put yet. Raises
        SnapshotVanished (the file is gone or became shorter), FileUnreadable, ObjectDamaged, a StorageError."""
        pieces: list[Piece] = []
        objects: dict[str, int] = {}
        codecs: dict[str, int] = {}
        for runs in _batches(_runs(source.size)):
            for one in await together(*(self._put(logs, source, start, length, compressed) for start, length in runs)):
                text = one.id.hex()
                pieces.append(Piece(text, 0, one.length))
                objects[text] = one.stored.size
                if one.stored.codec is not Codec.RAW:
                    codecs[text] = one.stored.codec
        found = file_digest((bytes.fromhex(piece.object) for piece in pieces), source.size).hex()
        return SegmentRecord(
            name=source.name,
            size=source.size,
            digest=found,
            piece_size=PIECE_SIZE,
            pieces=tuple(pieces),
            objects=objects,
            codecs=codecs,
            whole=source.whole,
            opened_at=source.opened_at,
            closed_at=source.closed_at,
            previous=source.previous,
            follows=source.follows,
            copied_at=self._clock(),
        )

    async def fetch(self, logs: CommitLogs, record: SegmentRecord, directory: Path) -> SegmentRecord:
        """Have the segment as a file of its name in a directory that is there, whole and durable or not at all, its
        bytes compared with the record's digest; the record that was fetched: a longer copy's, where the given one was
        superseded meanwhile. Raises NotFound, ObjectDamaged, FileDiffers, TargetFull, TargetUnwritable, a
        StorageError."""
        try:
            await self._fetch(logs, record, directory)
        except NotFound:
            newer = await logs.record_of(record.name)
            if newer is None or (newer.whole, newer.size) == (record.whole, record.size):
                raise
            await self._fetch(logs, newer, directory)
            return newer
        return record

    async def _put(self, logs: CommitLogs, source: SegmentSource, start: int, length: int, compressed: bool) -> _Object:
        form = logs.opened.form
        one = await self._workers.run(lambda _: self._load(source, start, length, form, compressed))
        key = logs.object_key_of(source.name, one.id, one.stored.codec, one.stored.size)
        storage, gate = logs.opened.storage, Stream(logs.opened.gate)
        put = await storage.put(key, one.stored.buffers, gate=gate)
        if not put.created and put.size != one.stored.size:  # cut: as it is nobody can read it
            put = await storage.put(key, one.stored.buffers, replace=True, gate=gate)
        if put.size != one.stored.size:
            raise ObjectDamaged(f"an object has {put.size} bytes instead of {one.stored.size}: {key}", key=key)
        return one

    def _load(self, source: SegmentSource, start: int, length: int, form: Form, compressed: bool) -> _Object:
        plain = memoryview(_read(source.path, start, length))
        object_id = digest(plain)
        payload = self._compression.compressed(plain) if compressed else None
        packed = Packed(Codec.RAW, plain) if payload is None else Packed(Codec.ZSTD, payload)
        return _Object(object_id, length, form.encode(packed, length, object_id, ObjectType.DATA))

    async def _fetch(self, logs: CommitLogs, record: SegmentRecord, directory: Path) -> None:
        entry = FileEntry(record.name, record.size, 0, record.digest, record.pieces, record.piece_size)
        file = NewFile(directory, entry, self._direct)
        try:
            if await self._workers.run(file.is_there):
                return
            starts = itertools.accumulate((piece.length for piece in record.pieces), initial=0)
            runs = list(zip(itertools.count(), starts, record.pieces, strict=False))
            for batch in _batches(runs):
                await together(*(self._bring(logs, record, file, *run) for run in batch))
            await self._workers.run(lambda _: sync_directory(directory))
        finally:
            await asyncio.shield(self._workers.run(lambda _: file.close()))

    async def _bring(
        self, logs: CommitLogs, record: SegmentRecord, file: NewFile, place: int, start: int, piece: Piece
    ) -> None:
        for left in reversed(range(READ_TRIES)):
            try:
                plain = await self._plain(logs, record, piece)
                break
            except ObjectDamaged:
                if not left:
                    raise
        run = plain[: piece.length]
        await self._workers.run(lambda stop: file.write(place, start, run, digest(run), stop))

    async def _plain(self, logs: CommitLogs, record: SegmentRecord, piece: Piece) -> memoryview:
        key = logs.object_key(record, piece.object)
        opened = logs.opened
        try:
            stored = await opened.storage.get(key, 0, record.objects[piece.object], gate=Stream(opened.gate))
        except Truncated as error:
            if "size" not in error.fields:
                raise  # the answer was cut, not the object
            raise ObjectDamaged(f"an object is cut: {key}", key=key) from error
        object_id = bytes.fromhex(piece.object)
        return (await self._workers.run(lambda _: opened.form.decode(stored, key, object_id, ObjectType.DATA))).plain


def digest_of_file(path: Path, size: int, check: Callable[[], None] = lambda: None) -> str:
    """The digest of a file's first `size` bytes, as a record has it. `check`: called before each piece, raises to stop.
    Blocks. Raises SnapshotVanished, FileUnreadable."""
    runs = []
    for start, length in _runs(size):
        check()
        runs.append(digest(_read(path, start, length)))
    return file_digest(runs, size).hex()


def _batches(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    """As many at a time as go side by side."""
    return (things[start : start + _SIDE_BY_SIDE] for start in range(0, len(things), _SIDE_BY_SIDE))


def _runs(size: int) -> Sequence[tuple[int, int]]:
    return [(start, min(PIECE_SIZE, size - start)) for start in range(0, size, PIECE_SIZE)]


def _read(path: Path, start: int, length: int) -> bytearray:
    """So many bytes of a file from there on. In a thread."""
    into = bytearray(length)
    view = memoryview(into)
    try:
        descriptor = os.open(path, _OPEN)
        try:
            filled = 0
            while filled < length:
                count = os.preadv(descriptor, [view[filled:]], start + filled)
                if not count:
                    raise SnapshotVanished(f"the file {path} became shorter while it was read", path=str(path))
                filled += count
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise SnapshotVanished(f"the segment {path} is gone", path=str(path)) from error
    except OSError as error:
        raise FileUnreadable(f"can't read {path}: {error.strerror}", path=str(path), errno=error.errno) from error
    return into
