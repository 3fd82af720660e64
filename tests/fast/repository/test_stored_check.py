"""Stored bytes verified by their own footer, whole and in pieces."""

import pytest

from agent.crypto.digest import digest, digest_of
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.repository.frame import HEADER_SIZE, Codec
from agent.repository.stored_check import StoredCheck

PLAIN = bytes(range(256)) * 40


def stored(plain: bytes = PLAIN, version: int = 1, codec: int = 0, epoch: int = 0) -> bytes:
    """An object as docs/repository.md has it."""
    header = b"HLNS" + bytes([version, codec, 0, 0]) + epoch.to_bytes(4, "big") + len(plain).to_bytes(8, "big")
    return header + plain + digest_of([header, digest(plain)])


def verify_stored(
    body: bytes | bytearray, name: bytes = digest(PLAIN), codec: Codec = Codec.RAW, *, is_sealed: bool = False
) -> None:
    """The check of an object that came whole."""
    check = StoredCheck("k", len(body), name, codec, is_sealed=is_sealed)
    check.feed(body)
    check.finish()


@pytest.mark.parametrize("step", [1, 7, HEADER_SIZE, 31, 33, 4096, 1 << 20])
@pytest.mark.parametrize("plain", [b"", b"x", PLAIN])
def test_an_object_is_verified_however_it_is_cut(plain: bytes, step: int) -> None:
    """Promise: header and footer may come in any pieces; a flip of any byte shows."""
    body = stored(plain)
    for place in (None, 0, 5, HEADER_SIZE - 1, len(body) - 33, len(body) - 32, len(body) - 1):
        wrong = bytearray(body)
        if place is not None:
            wrong[place] ^= 4
        check = StoredCheck("k", len(wrong), digest(plain), Codec.RAW, is_sealed=False)
        for start in range(0, len(wrong), step):
            check.feed(wrong[start : start + step])
        if place is None:
            check.finish()
            continue
        with pytest.raises(ObjectDamaged):
            check.finish()


@pytest.mark.parametrize("body", [b"", stored()[:-1], stored()[:40], stored() + b"x", b"X" + stored()[1:]])
def test_what_is_cut_or_not_ours_is_damaged(body: bytes) -> None:
    """Promise: no length passes but the right one."""
    with pytest.raises(ObjectDamaged):
        verify_stored(body)


def test_another_objects_bytes_are_told_where_the_name_tells() -> None:
    """Promise: plain bytes must be those of the name; a sealed or packed object is verified by its footer alone."""
    with pytest.raises(ObjectDamaged, match="other bytes"):
        verify_stored(stored(), digest(b"others"))
    verify_stored(stored(epoch=3), digest(b"others"), is_sealed=True)
    verify_stored(stored(codec=1), digest(b"others"), Codec.ZSTD)


def test_an_object_of_another_form_is_damaged() -> None:
    """Promise: a right footer doesn't hide a codec that isn't the key's, nor plain bytes in an encrypted repository or
    sealed ones in a plain one: nobody could restore from them."""
    with pytest.raises(ObjectDamaged, match="another codec"):
        verify_stored(stored(), codec=Codec.ZSTD)
    with pytest.raises(ObjectDamaged, match="another codec"):
        verify_stored(stored(codec=1, epoch=3), is_sealed=True)
    with pytest.raises(ObjectDamaged, match="not sealed in an encrypted"):
        verify_stored(stored(), is_sealed=True)
    with pytest.raises(ObjectDamaged, match="sealed in a plain"):
        verify_stored(stored(epoch=3))


def test_a_newer_format_is_not_called_damage() -> None:
    """Promise: a whole object of a later version is told by that; a flipped version is damage."""
    with pytest.raises(RepositoryFormatNewer):
        verify_stored(stored(version=2))
    body = bytearray(stored())
    body[4] = 2
    with pytest.raises(ObjectDamaged):
        verify_stored(body)


@pytest.mark.parametrize(
    ("body", "codec", "is_sealed", "says"),
    [
        (b"", Codec.RAW, False, "an object is cut, 0 bytes are there: "),
        (b"HLNS" + bytes(47), Codec.RAW, False, "an object is cut, 51 bytes are there: "),
        (b"X" + stored()[1:], Codec.RAW, False, "an object does not begin as one of ours: "),
        (stored()[:-1] + b"\0", Codec.RAW, False, "an object is damaged, its footer does not match its bytes: "),
        (stored(), Codec.ZSTD, False, "an object has another codec, 0, than its key says: "),
        (stored(), Codec.RAW, True, "an object is not sealed in an encrypted repository: "),
        (stored(epoch=1 << 24), Codec.RAW, False, "an object is sealed in a plain repository: "),
        (stored(b"other"), Codec.RAW, False, "an object holds other bytes than its name promises: "),
    ],
)
def test_what_is_wrong_is_told_with_the_objects_key(body: bytes, codec: Codec, is_sealed: bool, says: str) -> None:
    """Promise: each kind of damage has its own words, and the key as a field, by which a scrub names the object."""
    with pytest.raises(ObjectDamaged) as told:
        verify_stored(body, codec=codec, is_sealed=is_sealed)
    assert told.value.message == f"{says}k"
    assert told.value.fields == {"key": "k"}


def test_fewer_bytes_than_the_listing_said_are_a_cut() -> None:
    """Promise: an object that became shorter is told as cut, whatever its bytes are."""
    check = StoredCheck("k", len(stored()) + 1, digest(PLAIN), Codec.RAW, is_sealed=False)
    check.feed(stored())
    with pytest.raises(ObjectDamaged, match=f"an object is cut, {len(stored())} bytes are there"):
        check.finish()


def test_a_newer_format_is_told_with_its_number() -> None:
    """Promise: who reads the error knows which format, and of which object."""
    with pytest.raises(RepositoryFormatNewer, match="an object has format 2, up to 1 is known: k") as told:
        verify_stored(stored(version=2))
    assert told.value.fields == {"key": "k", "format": 2}
