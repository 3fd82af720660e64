"""Manifests for tests: honest ones, whose parts a test then changes."""

from typing import Any

import msgspec

from agent.crypto.digest import digest, file_digest
from agent.model.manifest import FileEntry, Head, Piece, TablePart, TableReference
from agent.repository.form import PLAIN, Packed, Stored
from agent.repository.frame import Codec, ObjectType
from agent.repository.keys import manifest_key
from agent.repository.manifest import Manifest, ManifestWriter, read_manifest
from agent.repository.manifest_frame import FrameHeader, FrameWriter
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from agent.wire.node import NodeIdentity
from tests.fast.storage.memory import MemoryStorage

HOST = "11111111-2222-3333-4444-555555555555"
CLUSTER = "c1"
TAG = "t1"
MIB = 1024 * 1024
TABLE_ID = "0" * 32


def file(name: str = "nb-1-big-Data.db", size: int = 5, **changed: Any) -> FileEntry:
    """A file of one piece."""
    name_of_object = digest(name.encode()).hex()
    pieces = (Piece(name_of_object, 0, size),) if size else ()
    entry = FileEntry(name, size, 0, file_digest([b"x"], size).hex(), pieces, 8 * MIB)
    return msgspec.structs.replace(entry, **changed)


def part(*files: FileEntry, objects: dict[str, int] | None = None) -> TablePart:
    """A part whose objects are as large as the files need."""
    if objects is None:
        objects = {piece.object: PLAIN.size(piece.offset + piece.length) for one in files for piece in one.pieces}
    return TablePart(files, objects)


def frame(*parts: TablePart, keyspace: str = "ks", table: str = "t") -> bytes:
    """A table's frame."""
    writer = FrameWriter(FrameHeader(keyspace, table, TABLE_ID))
    for one in parts:
        writer.add(one)
    return writer.close()


def reference(packed: bytes, *parts: TablePart, **changed: Any) -> TableReference:
    """The reference of a frame that comes first in its manifest."""
    files = [one for found in parts for one in found.files]
    honest = TableReference("ks", "t", TABLE_ID, len(files), sum(one.size for one in files), 1, len(packed), offset=8)
    return msgspec.structs.replace(honest, **changed)


def head(*tables: TableReference, **changed: Any) -> Head:
    """The head of a manifest."""
    node = NodeIdentity(HOST, "127.0.40.1", "test", "dc1", "r1", ["1"], "5.0.9", "Murmur3", "v1")
    honest = Head(1, TAG, "adhoc", CLUSTER, 1.0, node, ("/data",), (), None, "0.1.0", "a1", "c", tables)
    return msgspec.structs.replace(honest, **changed)


def manifest(packed: bytes, about: Head) -> bytes:
    """A manifest with one frame."""
    writer = ManifestWriter()
    writer.inline(packed, "ks", "t")
    return b"".join(writer.close(about))


def table_object(packed: bytes) -> Stored:
    """A table's frame as an object of its own."""
    return PLAIN.encode(Packed(Codec.RAW, packed), len(packed), digest(packed), ObjectType.TABLE)


def opened(store: MemoryStorage) -> OpenedRepository:
    """The store as a command has it."""
    return OpenedRepository("d1", store, "r1", CLUSTER, OPEN, 4)


async def stored(content: bytes) -> Manifest:
    """The manifest as a reader sees it."""
    store = MemoryStorage()
    await store.put(manifest_key(CLUSTER, TAG, HOST), [content])
    return await read_manifest(opened(store), TAG, HOST)


async def read_whole(content: bytes) -> list[TablePart]:
    """Every part of every table."""
    found = await stored(content)
    return [one for table in found.head.tables async for one in found.parts(table)]
