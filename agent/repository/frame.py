"""The frame around every data object: in, a payload; out, what is stored, and back again with its footer compared.

    header   magic "HLNS" · format u8 · codec u8 · type u8 · 0 u8 · key epoch u32 · plain length u64, big-endian
    payload  the plain bytes as the codec makes them; of a sealed object (key epoch from 1 on) salt (32 bytes) and
             ciphertext of these
    footer   BLAKE3 of the header and of the payload's BLAKE3, 32 bytes

So a scrub needs neither manifest nor key. What a payload means to a repository is `form`'s to say.
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
"""Bytes that are stored beside the payload."""


class Codec(IntEnum):
    """How plain bytes are coded; the name in lower case is in the key's suffix."""

    RAW = 0
    ZSTD = 1


class ObjectType(IntEnum):
    """What an object holds. The last two stand in a sealed manifest, not under keys of their own."""

    DATA = 0
    """runs of SSTable files"""
    TABLE = 1
    """a table's frame of a manifest"""
    INLINE = 2
    """a small table's frame inside its manifest"""
    HEAD = 3
    """the head of a manifest"""


class Framed(NamedTuple):
    """What stands in a frame whose footer is right. `digest`: the payload's BLAKE3."""

    codec: Codec
    type: ObjectType
    epoch: int
    plain_length: int
    header: bytes
    payload: memoryview
    digest: bytes


def header_of(codec: Codec, kind: ObjectType, epoch: int, plain_length: int) -> bytes:
    """The header of an object of `plain_length` bytes. `epoch`: the sealing key's, 0 of what is not sealed."""
    return _HEADER.pack(MAGIC, FORMAT, codec, kind, 0, epoch, plain_length)


def framed(header: bytes, payload: list[Buffer], payload_digest: bytes) -> list[Buffer]:
    """The buffers to store, without a copy of the payload."""
    return [header, *payload, digest_of([header, payload_digest])]


def unframed(stored: Buffer, key: str) -> Framed:
    """What the stored object named `key` (for the error) holds. Raises ObjectDamaged (cut, flipped, not ours),
    RepositoryFormatNewer."""
    view = memoryview(stored)
    if view.nbytes < OVERHEAD:
        raise ObjectDamaged(f"an object is cut, {view.nbytes} bytes are there: {key}", key=key)
    header = bytes(view[:HEADER_SIZE])
    magic, version, codec, kind, _, epoch, plain_length = _HEADER.unpack(header)
    if magic != MAGIC:
        raise ObjectDamaged(f"an object does not begin as one of ours: {key}", key=key)
    if version > FORMAT or codec not in Codec.__members__.values():
        raise RepositoryFormatNewer(
            f"an object has format {version} and codec {codec} (known: up to {FORMAT} and {max(Codec)}): {key}",
            key=key,
            format=version,
        )
    payload = view[HEADER_SIZE:-DIGEST_SIZE]
    found = digest(payload)
    if digest_of([header, found]) != bytes(view[-DIGEST_SIZE:]):
        raise ObjectDamaged(f"an object is damaged, its footer does not match its bytes: {key}", key=key)
    if kind not in ObjectType.__members__.values():
        raise ObjectDamaged(f"an object is damaged, its header does not match its bytes: {key}", key=key)
    return Framed(Codec(codec), ObjectType(kind), epoch, plain_length, header, payload, found)
