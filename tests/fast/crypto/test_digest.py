"""Digests and CRCs put together from pieces."""

import zlib

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from agent.crypto.digest import crc32_combined, digest, digest_of, file_digest


@given(st.binary(), st.binary())
def test_combined_crcs_are_the_crc_of_the_whole(first: bytes, second: bytes) -> None:
    """Promise: Cassandra's Digest.crc32 can be compared although no thread ever saw the whole file."""
    assert crc32_combined(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_many_pieces_combine_in_order(pieces: list[bytes]) -> None:
    """Promise: the same from any number of pieces."""
    crc = 0
    for piece in pieces:
        crc = crc32_combined(crc, zlib.crc32(piece), len(piece))
    assert crc == zlib.crc32(b"".join(pieces))


def test_a_crc_is_combined_over_terabytes() -> None:
    """Promise: the length is no limit: a shift by 2^42 bytes is that by 2^41, twice."""
    crc = zlib.crc32(b"data")
    once = crc32_combined(crc, 0, 1 << 41)
    assert crc32_combined(crc, 0, 1 << 42) == crc32_combined(once, 0, 1 << 41)


def test_a_file_digest_is_over_its_runs_and_its_size() -> None:
    """Promise: the digest of a file is what the manifest's format says, and an object's id is plain BLAKE3."""
    runs = [digest(b"one"), digest(b"two")]
    assert file_digest(runs, 6) == blake3(b"".join(runs) + (6).to_bytes(8, "big")).digest()
    assert file_digest(runs, 6) != file_digest(runs, 7)
    assert digest_of([b"one", b"two"]) == digest(b"onetwo") == blake3(b"onetwo").digest()
