"""What is told of an object that isn't what it should be: which error, with which fields; and where the limits are."""

import pytest
import zstandard

from agent.crypto.digest import digest, digest_of
from agent.crypto.errors import SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.repository.bounded import MOST_FRAME, MOST_PIECE
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.repository.form import PLAIN, Decoded, Form, Packed, form_of
from agent.repository.frame import Codec, ObjectType, framed, header_of, unframed
from agent.storage.protocol import Buffer

KEY = "helenus/v1/the/key"
SEALED = Form(Keyring(b"n" * 32, {1: b"1" * 32, 2: b"2" * 32}), "c1")
OLD = Form(Keyring(b"n" * 32, {1: b"1" * 32}), "c1")
PLAIN_BYTES = b"plain bytes"
ID = digest(PLAIN_BYTES)


def whole(header: bytes, payload: bytes) -> bytes:
    """A frame whose footer is right, whatever its header says."""
    return b"".join(framed(header, [payload], digest(payload)))


def raw(form: Form) -> bytes:
    """The object of PLAIN_BYTES."""
    return b"".join(form.encode(Packed(Codec.RAW, PLAIN_BYTES), len(PLAIN_BYTES), ID, ObjectType.DATA).buffers)


def changed(data: bytes, place: int, to: int) -> bytes:
    """One byte of a header set, and the footer made anew."""
    header = bytearray(data[:20])
    header[place] = to
    return whole(bytes(header), data[20:-32])


def decoded(form: Form, data: Buffer) -> Decoded:
    """Read as the object of PLAIN_BYTES."""
    return form.decode(data, KEY, ID, ObjectType.DATA)


@pytest.mark.parametrize(
    ("form", "data", "says"),
    [
        (PLAIN, raw(PLAIN)[:51], "an object is cut, 51 bytes are there: "),
        (PLAIN, b"HLNT" + raw(PLAIN)[4:], "an object does not begin as one of ours: "),
        (PLAIN, raw(PLAIN)[:-1] + b"\0", "an object is damaged, its footer does not match its bytes: "),
        (PLAIN, changed(raw(PLAIN), 6, 4), "an object is damaged, its header does not match its bytes: "),
        (PLAIN, changed(raw(PLAIN), 6, 1), "an object is of the type TABLE, not DATA: "),
        (PLAIN, changed(raw(PLAIN), 19, 12), "an object is damaged, its header does not match its bytes: "),
        (PLAIN, changed(raw(PLAIN), 11, 1), "an object is sealed in a plain repository: "),
        (PLAIN, changed(raw(PLAIN), 5, 1), "an object can't be unpacked ("),
        (PLAIN, whole(header_of(Codec.RAW, ObjectType.DATA, 0, 5), b"other"), "an object holds other bytes than"),
        (SEALED, raw(PLAIN), "an object is not sealed in an encrypted repository: "),
        (SEALED, changed(raw(SEALED), 19, 12), "an object is not what its name promises, or was sealed with another"),
    ],
)
def test_what_is_wrong_is_told_with_the_objects_key(form: Form, data: bytes, says: str) -> None:
    """Promise: each kind of damage has its own words, and the key as a field: a scrub and a restore name it."""
    with pytest.raises(ObjectDamaged) as told:
        decoded(form, data)
    assert told.value.message.startswith(says)
    assert KEY in told.value.message
    assert told.value.fields == {"key": KEY}


@pytest.mark.parametrize(("place", "to", "version"), [(4, 2, 2), (5, 2, 1), (5, 255, 1)])
def test_what_a_later_release_stored_is_told_with_its_format(place: int, to: int, version: int) -> None:
    """Promise: a later format, and a codec that this release doesn't know, ask for the later release, by fields too."""
    with pytest.raises(RepositoryFormatNewer, match=KEY) as told:
        unframed(changed(raw(PLAIN), place, to), KEY)
    assert told.value.fields == {"key": KEY, "format": version}


def test_a_key_that_is_lacking_is_told_with_its_epoch_and_the_object() -> None:
    """Promise: who reads the error knows which epoch's key is missing, and for which object."""
    with pytest.raises(SealingKeyUnknown, match=KEY) as told:
        decoded(OLD, raw(SEALED))
    assert told.value.fields == {"key": KEY, "epoch": 2, "newest": 1}


def test_a_header_is_laid_out_as_documented() -> None:
    """Promise: magic, format, codec, type, 0, key epoch, plain length, big-endian: other tools find them there."""
    assert header_of(Codec.ZSTD, ObjectType.HEAD, 0x01020304, 0x05060708090A0B0C) == (
        b"HLNS" + bytes([1, 1, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    )
    header, payload = raw(PLAIN)[:20], raw(PLAIN)[20:-32]
    assert (header, payload) == (header_of(Codec.RAW, ObjectType.DATA, 0, len(PLAIN_BYTES)), PLAIN_BYTES)
    assert raw(PLAIN)[-32:] == digest_of([header, digest(payload)])
    found = unframed(raw(SEALED), KEY)
    assert (found.codec, found.type, found.epoch, found.plain_length) == (Codec.RAW, ObjectType.DATA, 2, 11)
    assert (found.header, found.digest) == (raw(SEALED)[:20], digest(raw(SEALED)[20:-32]))


def test_a_repository_is_sealed_exactly_with_its_keys() -> None:
    """Promise: without a keyring objects are plain, with one they are sealed with it, for the cluster."""
    assert SEALED.keyring is not None
    assert form_of(None, "c1") is PLAIN
    assert form_of(SEALED.keyring, "c1") == SEALED
    assert form_of(SEALED.keyring, "c2") != SEALED


@pytest.mark.parametrize("form", [PLAIN, SEALED], ids=["plain", "sealed"])
def test_only_plain_objects_are_named_anew(form: Form) -> None:
    """Promise: the digest that was computed on the way is given back, of compressed bytes too; of a sealed object none
    was, for it is authenticated with its id."""
    packed = Packed(Codec.ZSTD, zstandard.ZstdCompressor().compress(PLAIN_BYTES))
    coded = b"".join(form.encode(packed, len(PLAIN_BYTES), ID, ObjectType.DATA).buffers)
    for data in (raw(form), coded):
        plain, found, _ = decoded(form, data)
        assert (bytes(plain), found) == (PLAIN_BYTES, b"" if form.is_sealed else ID)


@pytest.mark.parametrize(("kind", "most"), [(ObjectType.DATA, MOST_PIECE), (ObjectType.HEAD, MOST_FRAME)])
def test_an_object_may_hold_so_much_and_no_more(kind: ObjectType, most: int) -> None:
    """Promise: what says that it holds more than an object of its type can is refused before any of it is unpacked."""
    for length, says in ((most, "its header does not match"), (most + 1, f"it holds {most + 1} bytes: {KEY}")):
        with pytest.raises(ObjectDamaged, match=says) as told:
            PLAIN.decode(whole(header_of(Codec.RAW, kind, 0, length), b"x"), KEY, digest(b"x"), kind)
        assert told.value.fields == {"key": KEY}


def compressed(content: bytes) -> bytes:
    """A zstd frame as its format describes it: a window of 1 KiB, its content's size, and one block as it is."""
    head = bytes([0x28, 0xB5, 0x2F, 0xFD, 0x80, 0]) + len(content).to_bytes(4, "little")
    return head + (len(content) << 3 | 1).to_bytes(3, "little") + content


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (compressed(PLAIN_BYTES) + b"more", "can't be unpacked"),
        (compressed(PLAIN_BYTES)[:-1], "can't be unpacked"),
        (compressed(PLAIN_BYTES + b"!"), "its header does not match its bytes"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(PLAIN_BYTES), "its header does not match"),
    ],
)
def test_only_what_our_codec_makes_is_unpacked(payload: bytes, says: str) -> None:
    """Promise: bytes behind the frame, a cut one, another length or none in the frame: each is damage, told with the
    key."""
    header = header_of(Codec.ZSTD, ObjectType.DATA, 0, len(PLAIN_BYTES))
    assert decoded(PLAIN, whole(header, compressed(PLAIN_BYTES))).plain == PLAIN_BYTES
    with pytest.raises(ObjectDamaged, match=says) as told:
        decoded(PLAIN, whole(header, payload))
    assert told.value.fields == {"key": KEY}
    assert KEY in told.value.message
