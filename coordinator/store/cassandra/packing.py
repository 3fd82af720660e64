"""Bytes as rows hold them. In: JSON. Out: the same, packed where that pays; or, too large for a row, the name of its
pieces, and back."""

import asyncio
import uuid
import zlib
from collections.abc import Sequence
from typing import NamedTuple

PLAIN, PACKED, ELSEWHERE = b"p", b"z", b"e"
"""A row's first byte: what follows is JSON, JSON compressed, or the name and number of its pieces."""
PACKED_FROM = 2 * 1024
ROW_BYTES = 32 * 1024
"""A row of more goes into pieces: what is decided by Paxos is written twice and sent three times."""
SWAP_BYTES = 4 << 20
"""All rows of one swap together, so that a thousand of them stay far below the 16 MiB that Cassandra takes at once."""
LEAST_ROW_BYTES = 512
PIECE_BYTES = 256 * 1024
IN_A_THREAD_FROM = 64 * 1024
"""Bytes from which on packing would be felt in the event loop."""


class Elsewhere(NamedTuple):
    """Pieces: their name, how many, and their bytes together."""

    which: str
    pieces: int
    size: int


def packed(plain: bytes) -> bytes:
    """As a row holds it, if it isn't too large."""
    return PLAIN + plain if len(plain) < PACKED_FROM else PACKED + zlib.compress(plain, 1)


def unpacked(kept: bytes) -> bytes:
    """The JSON again. Raises ValueError for what isn't a row's."""
    try:
        return kept[1:] if kept[:1] == PLAIN else zlib.decompress(kept[1:])
    except zlib.error as error:
        raise ValueError(str(error)) from None


async def packed_aside(plain: bytes) -> bytes:
    """`packed`, in a thread when that takes long."""
    return packed(plain) if len(plain) < IN_A_THREAD_FROM else await asyncio.to_thread(packed, plain)


async def unpacked_aside(kept: bytes) -> bytes:
    """`unpacked`, in a thread when that takes long."""
    return unpacked(kept) if len(kept) < IN_A_THREAD_FROM else await asyncio.to_thread(unpacked, kept)


def row_limit(rows: int) -> int:
    """How many bytes each of so many rows, written together, may have."""
    return max(LEAST_ROW_BYTES, min(ROW_BYTES, SWAP_BYTES // max(rows, 1)))


def cut(kept: bytes) -> tuple[Elsewhere, list[bytes]]:
    """Pieces under a new name."""
    pieces = [kept[start : start + PIECE_BYTES] for start in range(0, len(kept), PIECE_BYTES)]
    return Elsewhere(uuid.uuid4().hex, len(pieces), len(kept)), pieces


def reference(where: Elsewhere) -> bytes:
    """What the row holds instead."""
    return ELSEWHERE + f"{where.which} {where.pieces} {where.size}".encode()


def elsewhere(kept: bytes) -> Elsewhere | None:
    """Where the row's bytes are, None: in the row itself."""
    if kept[:1] != ELSEWHERE:
        return None
    which, count, size = kept[1:].decode().split()
    return Elsewhere(which, int(count), int(size))


def joined(where: Elsewhere, pieces: Sequence[bytes]) -> bytes | None:
    """The bytes again; None if any are missing."""
    whole = b"".join(pieces)
    return whole if len(pieces) == where.pieces and len(whole) == where.size else None
