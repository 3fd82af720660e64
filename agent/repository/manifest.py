"""A node's manifest, read and written: in, tables' frames and a head; out, the file that is stored, and back.

    magic "HELENUSM" · inline frames of tables · tail: zstd-compressed JSON of `Head` · trailer
    trailer   magic "HELENUST" · format u32 · tail offset u64 · tail length u64 · BLAKE3 of the tail (32)
              · BLAKE3 of everything before (32), big-endian

A reader takes the tail with one range read, and then only the frames it needs. Frames of 64 KiB or more are data
objects of the node, named by content. In an encrypted repository tail and inline frames are sealed objects whose ids
are their places (the manifest's key and the table), so that none of them passes for another.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import zstandard

from agent.crypto.digest import digest, digest_of
from agent.model.manifest import Head, TablePart, TableReference
from agent.repository.bounded import MOST_FRAME
from agent.repository.errors import (
    BackupNotFound,
    ManifestInvalid,
    ObjectDamaged,
    RepositoryFormatNewer,
    of_backup,
    of_table,
)
from agent.repository.form import PLAIN, Form, Packed
from agent.repository.frame import Codec, ObjectType
from agent.repository.keys import data_key, manifest_key
from agent.repository.manifest_check import check_head
from agent.repository.manifest_frame import INLINE_LIMIT, read_parts
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Buffer, Gate, NotFound, Truncated
from kit.errors import HelenusError

MAGIC = b"HELENUSM"
FORMAT = 2
"""2: objects may be coded, manifests sealed."""
_TRAILER = struct.Struct(">8sIQQ32s32s")
_TRAILER_MAGIC = b"HELENUST"
_TAIL_READ = 4 * 1024 * 1024
"""Bytes from the end that are read at once: nearly every manifest, whole."""
_TURN = 32
"""Parts (each about 50 µs to decode and check) after which the event loop gets its turn."""
_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(Head)


class Named(NamedTuple):
    """An object that a manifest names: its name and codec in the repository, and its stored size in bytes."""

    name: bytes
    codec: Codec
    size: int


class ManifestWriter:
    """Collects the frames of a node's tables. `inline` gives a frame its place; larger ones are put as objects by the
    caller, who then names them in the references. `form`, `key`: the repository's, and the manifest's own in it; an
    on-server backup's is plain."""

    def __init__(self, form: Form = PLAIN, key: str = "") -> None:
        self._form = form
        self._key = key
        self._parts: list[Buffer] = [MAGIC]
        self._offset = len(MAGIC)

    @staticmethod
    def is_inline(frame: bytes) -> bool:
        """Whether a frame of that length goes into the manifest itself."""
        return len(frame) < INLINE_LIMIT

    def inline(self, frame: bytes, keyspace: str, table: str) -> tuple[int, int]:
        """Append the table's frame; its offset and how many bytes it takes there."""
        offset = self._offset
        stored, length = self._sealed(frame, ObjectType.INLINE, _place(self._key, keyspace, table))
        self._parts += stored
        self._offset += length
        return offset, length

    def close(self, head: Head) -> list[Buffer]:
        """The whole manifest as buffers."""
        packed = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(_encoder.encode(head))
        tail, length = self._sealed(packed, ObjectType.HEAD, _place(self._key))
        opening = _TRAILER.pack(_TRAILER_MAGIC, FORMAT, self._offset, length, digest_of(tail), b"")[:-32]
        before = [*self._parts, *tail, opening]
        return [*before, digest_of(before)]

    def _sealed(self, content: bytes, kind: ObjectType, place: bytes) -> tuple[list[Buffer], int]:
        """What stands in the manifest for `content`, and its length."""
        if not self._form.is_sealed:
            return [content], len(content)
        stored = self._form.encode(Packed(Codec.RAW, content), len(content), place, kind)
        return stored.buffers, stored.size


class Source(Protocol):
    """Where a manifest and its data objects are read from. `key`: the manifest's own, or its path. `form`: the
    repository's, plain for a file."""

    key: str
    form: Form

    def key_of(self, object_id: bytes) -> str: ...

    async def manifest(self, start: int, length: int) -> bytes: ...

    async def object(self, object_id: bytes, length: int) -> bytes: ...


class Manifest:
    """A manifest whose head is verified; its tables are read when asked for."""

    def __init__(self, head: Head, source: Source, end: bytes, end_offset: int, *, on_server: bool) -> None:
        self.head = head
        self._source = source
        self._end = end
        self._end_offset = end_offset
        self._on_server = on_server

    async def parts(self, reference: TableReference) -> AsyncGenerator[TablePart]:
        """A table SSTable by SSTable, in little memory, without the snapshot's own files. Raises ManifestInvalid,
        ObjectDamaged, a StorageError."""
        with self._errors_named():
            frame = await self._frame(reference)
            for number, part in enumerate(self._checked(frame, reference), 1):
                yield part
                if number % _TURN == 0:
                    await asyncio.sleep(0)

    def head_objects(self) -> Iterator[Named]:
        """The objects that the head itself names (own files, large frames)."""
        yield from _named(self._source.form, self.head.own_objects, self.head.own_coded)
        for one in self.head.tables:
            if one.object is not None:
                yield Named(self._source.form.name(bytes.fromhex(one.object)), Codec.RAW, one.length)

    async def objects(self, reference: TableReference, seen: set[bytes]) -> AsyncIterator[Named]:
        """The objects that a table's frame names. Frames that `seen` has are passed over: of
        many backups most frames are the same. They are added at once, so that manifests can be read side by side, and
        forgotten when they can't be read: whoever goes on meets the error in each manifest. Raises as `parts`."""
        with self._errors_named():
            frame: bytes | memoryview | None = None
            if reference.object is not None:
                name = bytes.fromhex(reference.object)
            else:
                frame = await self._frame(reference)
                name = digest(frame)
            if name in seen:
                return
            seen.add(name)
            try:
                if frame is None:
                    frame = await self._frame(reference)
                for number, part in enumerate(self._checked(frame, reference), 1):
                    for found in _named(self._source.form, part.objects, part.coded):
                        yield found
                    if number % _TURN == 0:
                        await asyncio.sleep(0)
            except HelenusError:
                seen.discard(name)
                raise

    def _errors_named(self) -> AbstractContextManager[None]:
        return _naming(self.head.tag, self.head.node.host_id, self._source.key)

    def _checked(self, frame: bytes | memoryview, reference: TableReference) -> Iterator[TablePart]:
        return read_parts(frame, reference, len(self.head.data_directories), on_server=self._on_server)

    async def _frame(self, reference: TableReference) -> bytes | memoryview:
        if reference.object is not None:
            if reference.length > MOST_FRAME:
                raise ManifestInvalid(f"the frame of {reference.keyspace}.{reference.table} is impossibly large")
            object_id = bytes.fromhex(reference.object)
            try:
                stored = await self._source.object(object_id, reference.length)
                return await self._plain(stored, self._source.key_of(object_id), object_id, ObjectType.TABLE)
            except (ManifestInvalid, ObjectDamaged) as error:
                raise of_table(error, reference.keyspace, reference.table) from error
        assert reference.offset is not None, "the head was checked"  # noqa: S101 - an invariant of ours
        start = reference.offset - self._end_offset
        if start >= 0:
            stored = self._end[start : start + reference.length]
        else:
            stored = await self._source.manifest(reference.offset, reference.length)
        if not self._source.form.is_sealed:
            return stored
        place = _place(self._source.key, reference.keyspace, reference.table)
        try:
            return await self._plain(stored, self._source.key, place, ObjectType.INLINE)
        except ObjectDamaged as error:
            raise of_table(ManifestInvalid(error.message), reference.keyspace, reference.table) from error

    async def _plain(self, stored: bytes, key: str, object_id: bytes, kind: ObjectType) -> memoryview:
        """In a thread: as many bytes are digested."""
        return (await asyncio.to_thread(self._source.form.decode, stored, key, object_id, kind)).plain


async def read_manifest(opened: OpenedRepository, tag: str, host_id: str, *, gate: Gate = OPEN) -> Manifest:
    """The manifest of a node's part in a backup, head verified.

    Raises BackupNotFound, ManifestInvalid, RepositoryFormatNewer, a StorageError.
    """
    key = manifest_key(opened.cluster_id, tag, host_id)
    entry = await opened.storage.head(key)
    if entry is None:
        raise BackupNotFound(f"the backup {tag} has no manifest of the node {host_id}", tag=tag, host_id=host_id)
    source = _Stored(opened, host_id, key, gate)
    with _naming(tag, host_id, key):
        return await _read(source, entry.size, opened.cluster_id, tag, host_id, on_server=False)


async def read_manifest_file(path: Path, tag: str, host_id: str) -> Manifest:
    """The manifest of an on-server backup: its files have neither digest nor pieces. Raises as `read_manifest`."""
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        raise BackupNotFound(f"there is no on-server backup {tag}", tag=tag, host_id=host_id) from None
    source = _File(str(path), content)
    with _naming(tag, host_id, source.key):
        return await _read(source, len(content), "", tag, host_id, on_server=True)


def _named(form: Form, objects: dict[str, int], coded: dict[str, int]) -> Iterator[Named]:
    for object_id, size in objects.items():
        yield Named(form.name(bytes.fromhex(object_id)), Codec(coded.get(object_id, Codec.RAW)), size)


def _place(key: str, keyspace: str = "", table: str = "") -> bytes:
    """What authenticates a sealed part of the manifest with that key: the head's place, or a table's."""
    return digest(f"{key}\0{keyspace}\0{table}".encode())


@contextmanager
def _naming(tag: str, host_id: str, key: str) -> Iterator[None]:
    """What is wrong with a manifest, told with the backup, the node and the place."""
    try:
        yield
    except (ManifestInvalid, RepositoryFormatNewer) as error:
        raise of_backup(error, tag, host_id, key) from error


async def _read(source: Source, size: int, cluster_id: str, tag: str, host_id: str, *, on_server: bool) -> Manifest:
    if size < len(MAGIC) + _TRAILER.size:
        raise ManifestInvalid(f"the manifest is cut, {size} bytes are there")
    end_offset = max(0, size - _TAIL_READ)
    end = await source.manifest(end_offset, size - end_offset)
    magic, version, tail_offset, tail_length, tail_digest, whole = _TRAILER.unpack(end[-_TRAILER.size :])
    if magic != _TRAILER_MAGIC:
        raise ManifestInvalid("the manifest does not end as one of ours")
    if version > FORMAT:
        raise RepositoryFormatNewer(f"the manifest has format {version}, up to {FORMAT} is known")
    if not len(MAGIC) <= tail_offset or tail_offset + tail_length + _TRAILER.size != size or tail_length > MOST_FRAME:
        raise ManifestInvalid("the manifest is cut or damaged: its parts do not fit")
    if end_offset == 0 and (digest(memoryview(end)[:-32]) != whole or not end.startswith(MAGIC)):
        raise ManifestInvalid("the manifest is damaged")
    if tail_offset < end_offset:
        end_offset, end = tail_offset, await source.manifest(tail_offset, size - tail_offset)
    tail = end[tail_offset - end_offset : tail_offset - end_offset + tail_length]
    head = await asyncio.to_thread(_unpacked, tail, tail_digest, source)
    check_head(head, cluster_id, tag, host_id, tail_offset, on_server=on_server)
    return Manifest(head, source, end, end_offset, on_server=on_server)


def _unpacked(stored: bytes, stored_digest: bytes, source: Source) -> Head:
    if digest(stored) != stored_digest:
        raise ManifestInvalid("the head of the manifest is damaged")
    tail: Buffer = stored
    if source.form.is_sealed:
        try:
            tail = source.form.decode(stored, source.key, _place(source.key), ObjectType.HEAD).plain
        except ObjectDamaged as error:
            raise ManifestInvalid(f"the head of the manifest can't be trusted: {error.message}") from error
    try:
        # A frame that tells its size is unpacked to that and no further.
        if not 0 <= zstandard.frame_content_size(tail) <= MOST_FRAME:
            raise ManifestInvalid("the head of the manifest has an impossible size")
        return _head.decode(zstandard.ZstdDecompressor().decompress(tail, allow_extra_data=False))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ManifestInvalid(f"the head of the manifest can't be read: {error}") from error


class _Stored:
    """A manifest in a destination."""

    def __init__(self, opened: OpenedRepository, host_id: str, key: str, gate: Gate) -> None:
        self._storage = opened.storage
        self._cluster_id = opened.cluster_id
        self._host_id = host_id
        self.key = key
        self.form = opened.form
        self._gate = gate

    def key_of(self, object_id: bytes) -> str:
        return data_key(self._cluster_id, self._host_id, self.form.name(object_id))

    async def manifest(self, start: int, length: int) -> bytes:
        return await self._storage.get(self.key, start, length, gate=self._gate)

    async def object(self, object_id: bytes, length: int) -> bytes:
        key = self.key_of(object_id)
        try:
            return await self._storage.get(key, 0, length, gate=self._gate)
        except (NotFound, Truncated) as error:
            what = "is not there" if isinstance(error, NotFound) else "is cut"
            raise ManifestInvalid(f"its frame {what}: {key}", object=object_id.hex()) from error


class _File:
    """A manifest in a file of the agent's own state."""

    def __init__(self, key: str, content: bytes) -> None:
        self.key = key
        self.form = PLAIN
        self._content = content

    def key_of(self, object_id: bytes) -> str:
        return object_id.hex()

    async def manifest(self, start: int, length: int) -> bytes:
        return self._content[start : start + length]

    async def object(self, object_id: bytes, length: int) -> bytes:
        raise ManifestInvalid("an on-server manifest has no objects", object=object_id.hex())
