"""The object frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.crypto.digest import digest
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.repository.frame import OVERHEAD, ObjectType, decode, encode, stored_size


@given(st.binary(max_size=300), st.sampled_from(ObjectType))
def test_frames_come_back(plain: bytes, kind: ObjectType) -> None:
    """Promise: what was framed is unframed, verified, and as long as foretold."""
    stored = b"".join(encode(plain, digest(plain), kind))
    assert len(stored) == stored_size(len(plain)) == len(plain) + OVERHEAD
    found = decode(stored, "key", digest(plain))
    assert (bytes(found.plain), found.type, found.id) == (plain, kind, digest(plain))


@given(st.binary(min_size=1, max_size=60), st.data())
def test_any_flipped_bit_is_found(plain: bytes, data: st.DataObject) -> None:
    """Promise: an object describes itself: no damage passes, in header, payload or footer."""
    stored = bytearray(b"".join(encode(plain, digest(plain))))
    place = data.draw(st.integers(0, len(stored) * 8 - 1))
    stored[place // 8] ^= 1 << (place % 8)
    with pytest.raises((ObjectDamaged, RepositoryFormatNewer)):
        decode(stored, "key", digest(plain))


@given(st.binary(max_size=60), st.data())
def test_any_cut_is_found(plain: bytes, data: st.DataObject) -> None:
    """Promise: a shorter object is never taken for a whole one."""
    stored = b"".join(encode(plain, digest(plain)))
    with pytest.raises(ObjectDamaged):
        decode(stored[: data.draw(st.integers(0, len(stored) - 1))], "key")


def test_another_objects_bytes_are_found() -> None:
    """Promise: two swapped objects are two damaged objects."""
    with pytest.raises(ObjectDamaged, match="other bytes than its name"):
        decode(b"".join(encode(b"one", digest(b"one"))), "key", digest(b"two"))


def test_a_payload_is_not_copied() -> None:
    """Promise: memory in flight is one buffer a piece."""
    payload = bytearray(b"x" * 100)
    assert encode(memoryview(payload), digest(payload))[1].obj is payload  # type: ignore[union-attr]
