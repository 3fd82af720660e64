"""Digests of objects and files, and CRC-32s put together from pieces. In: bytes. Out: digests and numbers; no I/O.

Object id = BLAKE3 of its plain bytes. File digest = BLAKE3 over the digests of its runs of `piece_size` bytes and its
size (agent.model.manifest). Cassandra's Digest.crc32 is the CRC-32 of zlib over the whole Data.db.
"""

import functools
from collections.abc import Iterable, Sequence

from blake3 import blake3

Buffer = bytes | bytearray | memoryview

DIGEST_SIZE = 32
_POLYNOMIAL = 0xEDB88320
"""CRC-32 of zlib (RFC 1952), bits reflected."""


def digest(data: Buffer) -> bytes:
    """BLAKE3 of one buffer, 32 bytes; the GIL is released for all but tiny ones."""
    return bytes(blake3(data).digest())


def digest_of(buffers: Sequence[Buffer]) -> bytes:
    """BLAKE3 of buffers one after the other, 32 bytes."""
    hasher = blake3()
    for buffer in buffers:
        hasher.update(buffer)
    return bytes(hasher.digest())


class RunningDigest:
    """BLAKE3 of bytes that come one after the other."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def update(self, data: Buffer) -> None:
        """Take the next bytes; the GIL is released for all but a few."""
        self._hasher.update(data)

    def digest(self) -> bytes:
        """Of all that came, 32 bytes."""
        return bytes(self._hasher.digest())


def file_digest(runs: Iterable[bytes], size: int) -> bytes:
    """A file's digest from the digests of its runs (32 bytes each) and its size in bytes."""
    hasher = blake3()
    for run in runs:
        hasher.update(run)
    hasher.update(size.to_bytes(8, "big"))
    return bytes(hasher.digest())


def crc32_combined(first: int, second: int, second_length: int) -> int:
    """The CRC-32 of two runs of bytes one after the other, from their own CRC-32s and the second's length in bytes."""
    return _times(_shift(second_length), first) ^ second


@functools.lru_cache(maxsize=256)
def _shift(length: int) -> int:
    """x to the power of 8 × length, modulo the polynomial: what `length` more bytes do to a CRC."""
    power = 1 << 31  # x^0, bits reflected
    square = _power_of_two(3)
    while length:
        if length & 1:
            power = _times(square, power)
        square = _times(square, square)
        length >>= 1
    return power


def _power_of_two(exponent: int) -> int:
    """x to the power of 2^exponent."""
    power = 1 << 30  # x^1
    for _ in range(exponent):
        power = _times(power, power)
    return power


def _times(left: int, right: int) -> int:
    """The product of two polynomials over GF(2), modulo the CRC's."""
    product = 0
    bit = 1 << 31
    while bit:
        if left & bit:
            product ^= right
        right = (right >> 1) ^ _POLYNOMIAL if right & 1 else right >> 1
        bit >>= 1
    return product
