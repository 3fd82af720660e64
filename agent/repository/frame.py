"""The frame around every data object: in, plain bytes; out, what is stored, and back again with everything verified.

    header   magic "HLNS" · format u8 · codec u8 · type u8 · 0 u8 · key epoch u32 · plain length u64, big-endian
    payload  the plain bytes as the codec makes them
    footer   BLAKE3 of the header and of the payload's BLAKE3, 32 bytes

So a scrub needs neither manifest nor key, and bytes that are stored as they are (codec `raw`, the only one so far) are
digested once: the payload's digest is the object's name.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from agent.crypto.digest import DIGEST_SIZE, digest, digest_of
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.storage.protocol import Buffer

MAGIC = b"HLNS"
FORMAT = 1
_HEADER = struct.Struct(">4sBBBBIQ")
HEADER_SIZE = _HEADER.size
OVERHEAD = HEADER_SIZE + DIGEST_SIZE


class Codec(IntEnum):
    """How the payload is coded; the name in lower case is the key's suffix."""

    RAW = 0


class ObjectType(IntEnum):
    """What an object holds."""

    DATA = 0
    """runs of SSTable files"""
    TABLE = 1
    """a table's frame of a manifest"""


class Decoded(NamedTuple):
    """A verified object: its plain bytes and what kind it is."""

    plain: memoryview
    type: ObjectType
    id: bytes
    """the digest of the plain bytes"""


def encode(payload: Buffer, object_id: bytes, kind: ObjectType = ObjectType.DATA) -> list[Buffer]:
    """The buffers to store, without a copy of the payload. `object_id`: the payload's digest."""
    size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
    header = _HEADER.pack(MAGIC, FORMAT, Codec.RAW, kind, 0, 0, size)
    return [header, payload, digest_of([header, object_id])]


def stored_size(plain: int) -> int:
    """What an object of `plain` bytes takes with the codec raw, in bytes."""
    return plain + OVERHEAD


def decode(stored: Buffer, key: str, expected: bytes | None = None) -> Decoded:
    """The plain bytes of a stored object named `key` (for the error). `expected`: the digest its name promises.

    Raises ObjectDamaged (cut, flipped, other content), RepositoryFormatNewer.
    """
    view = memoryview(stored)
    if view.nbytes < OVERHEAD:
        raise ObjectDamaged(f"an object is cut, {view.nbytes} bytes are there: {key}", key=key)
    magic, version, codec, kind, _, epoch, plain_length = _HEADER.unpack(view[:HEADER_SIZE])
    if magic != MAGIC:
        raise ObjectDamaged(f"an object does not begin as one of ours: {key}", key=key)
    if version > FORMAT or codec not in Codec.__members__.values() or epoch != 0:
        raise RepositoryFormatNewer(
            f"an object has format {version}, codec {codec}, key epoch {epoch} (known: {FORMAT}, 0, 0): {key}",
            key=key,
            format=version,
        )
    payload = view[HEADER_SIZE:-DIGEST_SIZE]
    found = digest(payload)
    if digest_of([view[:HEADER_SIZE], found]) != bytes(view[-DIGEST_SIZE:]):
        raise ObjectDamaged(f"an object is damaged, its footer does not match its bytes: {key}", key=key)
    if payload.nbytes != plain_length or kind not in ObjectType.__members__.values():
        raise ObjectDamaged(f"an object is damaged, its header does not match its bytes: {key}", key=key)
    if expected is not None and found != expected:
        raise ObjectDamaged(f"an object holds other bytes than its name promises: {key}", key=key)
    return Decoded(payload, ObjectType(kind), found)
