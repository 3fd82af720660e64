"""The object frame, and the form in which a repository stores objects."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from agent.crypto.digest import digest
from agent.crypto.errors import SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.repository.form import PLAIN, Form, Packed
from agent.repository.frame import OVERHEAD, Codec, ObjectType, framed, header_of, unframed

KEYRING = Keyring(b"n" * 32, {1: b"1" * 32, 2: b"2" * 32})
SEALED = Form(KEYRING, "c1")
FORMS = st.sampled_from([PLAIN, SEALED])
KINDS = st.sampled_from(ObjectType)


def packed(plain: bytes, codec: Codec) -> Packed:
    """The bytes as the codec makes them."""
    return Packed(codec, plain if codec is Codec.RAW else zstandard.ZstdCompressor().compress(plain))


def stored(form: Form, plain: bytes, kind: ObjectType = ObjectType.DATA, codec: Codec = Codec.RAW) -> bytes:
    """What a destination holds."""
    return b"".join(form.encode(packed(plain, codec), len(plain), digest(plain), kind).buffers)


@given(st.binary(max_size=300), FORMS, KINDS, st.sampled_from(Codec))
def test_objects_come_back(plain: bytes, form: Form, kind: ObjectType, codec: Codec) -> None:
    """Promise: what was stored is read back, verified, and as long as foretold."""
    made = form.encode(packed(plain, codec), len(plain), digest(plain), kind)
    whole = b"".join(made.buffers)
    assert (made.codec, made.size) == (codec, len(whole))
    if codec is Codec.RAW:
        assert len(whole) == form.size(len(plain))
    assert bytes(form.decode(whole, "key", digest(plain), kind).plain) == plain
    unframed(whole, "key")


@given(st.binary(min_size=1, max_size=60), FORMS, st.sampled_from(Codec), st.data())
def test_any_flipped_bit_is_found(plain: bytes, form: Form, codec: Codec, data: st.DataObject) -> None:
    """Promise: an object describes itself: no damage passes, in header, payload or footer, with the key or without."""
    bad = bytearray(stored(form, plain, codec=codec))
    place = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[place // 8] ^= 1 << (place % 8)
    with pytest.raises((ObjectDamaged, RepositoryFormatNewer)):
        form.decode(bad, "key", digest(plain), ObjectType.DATA)
    with pytest.raises((ObjectDamaged, RepositoryFormatNewer)):
        unframed(bad, "key")


@given(st.binary(max_size=60), FORMS, st.data())
def test_any_cut_is_found(plain: bytes, form: Form, data: st.DataObject) -> None:
    """Promise: a shorter object is never taken for a whole one."""
    whole = stored(form, plain)
    with pytest.raises(ObjectDamaged):
        form.decode(whole[: data.draw(st.integers(0, len(whole) - 1))], "key", digest(plain), ObjectType.DATA)


@pytest.mark.parametrize("form", [PLAIN, SEALED], ids=["plain", "sealed"])
@pytest.mark.parametrize("codec", Codec)
def test_another_objects_bytes_are_found(form: Form, codec: Codec) -> None:
    """Promise: two swapped objects are two damaged objects, and one of another type is none of ours."""
    with pytest.raises(ObjectDamaged, match=r"than its name promises|what its name promises"):
        form.decode(stored(form, b"one", codec=codec), "key", digest(b"two"), ObjectType.DATA)
    with pytest.raises(ObjectDamaged, match="of the type TABLE"):
        form.decode(stored(form, b"one", ObjectType.TABLE, codec), "key", digest(b"one"), ObjectType.DATA)


def test_a_payload_is_not_copied() -> None:
    """Promise: memory in flight of a plain repository is one buffer a piece."""
    payload = bytearray(b"x" * 100)
    made = PLAIN.encode(Packed(Codec.RAW, memoryview(payload)), 100, digest(payload), ObjectType.DATA)
    assert made.buffers[1].obj is payload  # type: ignore[union-attr]


def test_a_sealed_object_shows_nothing_and_belongs_to_its_cluster() -> None:
    """Promise: neither name nor bytes of a sealed object tell what it holds, and nobody can move it to another cluster
    or pass a plain one for it."""
    plain = b"known content " * 20
    made = stored(SEALED, plain)
    assert SEALED.name(digest(plain)) != digest(plain)
    assert plain[:14] not in made
    assert digest(plain) not in made
    assert made == stored(SEALED, plain), "a lost race stores the same bytes"
    with pytest.raises(ObjectDamaged):
        Form(KEYRING, "c2").decode(made, "key", digest(plain), ObjectType.DATA)
    with pytest.raises(ObjectDamaged, match="not sealed in an encrypted"):
        SEALED.decode(stored(PLAIN, plain), "key", digest(plain), ObjectType.DATA)
    with pytest.raises(ObjectDamaged, match="sealed in a plain"):
        PLAIN.decode(made, "key", digest(plain), ObjectType.DATA)


def test_old_epochs_are_read_and_unknown_ones_named() -> None:
    """Promise: a rotated key seals what is new, what is old stays readable; a key that is lacking is told by name."""
    old = stored(Form(Keyring(b"n" * 32, {1: b"1" * 32}), "c1"), b"old")
    new = stored(SEALED, b"old")
    assert old != new
    assert bytes(SEALED.decode(old, "key", digest(b"old"), ObjectType.DATA).plain) == b"old"
    with pytest.raises(SealingKeyUnknown, match="epoch 2"):
        Form(Keyring(b"n" * 32, {1: b"1" * 32}), "c1").decode(new, "key", digest(b"old"), ObjectType.DATA)


@pytest.mark.parametrize("says", [100, 1 << 40])
def test_a_bomb_is_not_unpacked(says: int) -> None:
    """Promise: no more is unpacked than the header says, and no more than an object of ours can hold."""
    bomb = zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024))
    header = header_of(Codec.ZSTD, ObjectType.DATA, 0, says)
    whole = b"".join(framed(header, [bomb], digest(bomb)))
    assert len(whole) == len(bomb) + OVERHEAD
    with pytest.raises(ObjectDamaged):
        PLAIN.decode(whole, "key", digest(bytes(64 * 1024 * 1024)), ObjectType.DATA)


def test_a_newer_format_is_refused_by_name() -> None:
    """Promise: what a later release stores is no damage, but asks for that release."""
    whole = bytearray(stored(PLAIN, b"x"))
    whole[4] = 9
    with pytest.raises(RepositoryFormatNewer, match="format 9"):
        PLAIN.decode(whole, "key", digest(b"x"), ObjectType.DATA)
