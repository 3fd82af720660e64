"""Commit-log segments as Cassandra 4.1 and 5.0 write them, for tests that need no Cassandra.

In: an id and mutations by section. Out: the bytes of a plain segment, or of one whose header says that it is compressed
or encrypted.
"""

import json
import struct
import zlib
from collections.abc import Sequence

MUTATION = b"a mutation of some bytes"


def header(number: int, version: int = 7, parameters: dict[str, object] | None = None) -> bytes:
    """A segment's header."""
    told = json.dumps(parameters or {}).encode()
    crc = zlib.crc32(struct.pack(">iIIi", version, number & 0xFFFFFFFF, number >> 32, len(told)) + told)
    return struct.pack(">iqH", version, number, len(told)) + told + struct.pack(">I", crc)


def entry(mutation: bytes = MUTATION) -> bytes:
    """A mutation with its size and CRCs."""
    size = struct.pack(">I", len(mutation))
    return size + struct.pack(">I", zlib.crc32(size)) + mutation + struct.pack(">I", zlib.crc32(size + mutation))


def marker(number: int, at: int, end: int) -> bytes:
    """The marker of a section from `at` to `end`."""
    return struct.pack(">II", end, zlib.crc32(struct.pack(">III", number & 0xFFFFFFFF, number >> 32, at)))


def segment(
    number: int, sections: Sequence[Sequence[bytes]] = ((MUTATION,),), *, size: int = 4096, unsynced: bytes = b""
) -> bytes:
    """A plain segment of so many bytes; `unsynced` lies behind the last section, as what no marker closes yet."""
    content = bytearray(header(number))
    for mutations in sections:
        body = b"".join(map(entry, mutations))
        content += marker(number, len(content), len(content) + 8 + len(body)) + body
    if unsynced:
        content += bytes(8) + unsynced
    return bytes(content.ljust(size, b"\0"))


def name_of(number: int) -> str:
    """The segment's file name."""
    return f"CommitLog-7-{number}.log"
