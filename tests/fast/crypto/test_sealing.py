"""Sealed objects: they open only as what they are, and equal input gives equal bytes."""

import hashlib
import hmac

import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from agent.crypto.digest import digest
from agent.crypto.errors import SealBroken, SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.crypto.sealing import SALT_SIZE, TAG_SIZE, seal, unseal

NAME_KEY, FIRST, SECOND = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
RING = Keyring(NAME_KEY, {1: FIRST, 2: SECOND})
ID = digest(b"plain")
CLUSTER = b"c1"
VECTORS = [
    (
        1,
        0,
        b"",
        "abdad14e52e0422ad069b173118b30fc7354e964fd332a893b41ff1426693d55",
        "a8017acfdf6683bd4670e4b5ab9cb0fc",
    ),
    (
        2,
        1,
        b"rows",
        "e243cec00a012083fb4a7425d8b01d3b756f8c0b71e5c0b24377423308e9fdf8",
        "5fa8c0a89a92f4ca351b482b7b9a15196e3e99bf",
    ),
]
"""Epoch, kind, payload; salt and ciphertext in hex."""


@pytest.mark.parametrize(("epoch", "kind", "payload", "salt", "ciphertext"), VECTORS)
def test_what_was_sealed_by_this_release_opens_for_ever(
    epoch: int, kind: int, payload: bytes, salt: str, ciphertext: str
) -> None:
    """Promise: the stored form doesn't change unseen: the same input gives the bytes that were written down."""
    sealed = seal(RING, ID, kind, CLUSTER, payload, epoch)
    assert (sealed.salt.hex(), sealed.ciphertext.hex()) == (salt, ciphertext)
    assert unseal(RING, epoch, ID, kind, CLUSTER, bytes.fromhex(salt), bytes.fromhex(ciphertext)) == payload


def test_the_stored_form_is_what_the_documents_say() -> None:
    """Promise: who has the keys can open an object by the description alone, without this code."""
    sealed = seal(RING, ID, 1, CLUSTER, b"rows", 1)
    what = b"\x01" + (1).to_bytes(4, "big") + b"\x20" + b"\x00\x02" + ID + CLUSTER
    salt = blake3(what + b"rows", key=FIRST).digest()
    secret = hmac.digest(salt, FIRST, "sha256")
    one = hmac.digest(secret, b"helenus object 1\x01", hashlib.sha256)
    two = hmac.digest(secret, one + b"helenus object 1\x02", hashlib.sha256)
    encryptor = Cipher(algorithms.AES(one), modes.GCM(two[:12])).encryptor()
    encryptor.authenticate_additional_data(what)
    text = encryptor.update(b"rows") + encryptor.finalize()
    assert sealed == (salt, text + encryptor.tag)
    assert RING.name_of(ID) == blake3(ID, key=NAME_KEY).digest()


@given(st.binary(max_size=2000), st.integers(0, 255), st.binary(max_size=40))
def test_equal_input_gives_equal_bytes(payload: bytes, kind: int, associated: bytes) -> None:
    """Promise: two puts of one object are the same bytes, so that a lost race does no harm; sealed in the current
    epoch when none is named; and every kind of buffer is the same payload."""
    sealed = seal(RING, ID, kind, associated, payload)
    assert sealed == seal(RING, ID, kind, associated, memoryview(bytearray(payload)), 2)
    assert (len(sealed.salt), len(sealed.ciphertext)) == (SALT_SIZE, len(payload) + TAG_SIZE)
    assert unseal(RING, 2, ID, kind, associated, sealed.salt, memoryview(sealed.ciphertext)) == payload


def test_one_object_at_two_levels_has_two_salts() -> None:
    """Promise: unequal input never shares key and nonce: not one object compressed at two levels, not one content in
    two clusters, of two kinds or epochs, not two objects of one payload."""
    plain = b"".join(b"%d," % (n * n) for n in range(20_000))
    low, high = (zstandard.ZstdCompressor(level=level).compress(plain) for level in (1, 19))
    assert low != high
    other = digest(b"other")
    salts = [
        seal(RING, ID, 0, CLUSTER, low, 1).salt,
        seal(RING, ID, 0, CLUSTER, high, 1).salt,
        seal(RING, ID, 0, b"c2", low, 1).salt,
        seal(RING, ID, 1, CLUSTER, low, 1).salt,
        seal(RING, ID, 0, CLUSTER, low, 2).salt,
        seal(RING, other, 0, CLUSTER, low, 1).salt,
        seal(RING, ID + b"c", 0, b"1", low, 1).salt,
    ]
    assert len(set(salts)) == len(salts)


def test_nothing_opens_as_what_it_is_not() -> None:
    """Promise: a flipped bit anywhere, another object's place, kind, cluster or epoch, another key, a cut: refused."""
    salt, text = seal(RING, ID, 0, CLUSTER, b"rows of a table", 1)
    attempts = [
        (RING, 2, ID, 0, CLUSTER, salt, text),
        (RING, 1, digest(b"other"), 0, CLUSTER, salt, text),
        (RING, 1, ID, 1, CLUSTER, salt, text),
        (RING, 1, ID, 0, b"c2", salt, text),
        (RING, 1, ID, 0, CLUSTER, salt, text[:-1]),
        (RING, 1, ID, 0, CLUSTER, salt, b""),
        (Keyring(NAME_KEY, {1: SECOND}), 1, ID, 0, CLUSTER, salt, text),
        *((RING, 1, ID, 0, CLUSTER, salt, _flipped(text, n)) for n in range(len(text))),
        *((RING, 1, ID, 0, CLUSTER, _flipped(salt, n), text) for n in range(len(salt))),
    ]
    for attempt in attempts:
        with pytest.raises(SealBroken):
            unseal(*attempt)
    assert unseal(RING, 1, ID, 0, CLUSTER, salt, text) == b"rows of a table"


def test_an_epoch_without_a_key_is_named() -> None:
    """Promise: what was sealed after a rotation unknown to this agent is no damage; the epoch is named."""
    ring = Keyring(NAME_KEY, {1: FIRST})
    sealed = seal(RING, ID, 0, CLUSTER, b"new")
    with pytest.raises(SealingKeyUnknown) as caught:
        unseal(ring, 2, ID, 0, CLUSTER, *sealed)
    assert caught.value.fields == {"epoch": 2, "newest": 1}


def test_keys_are_not_shown() -> None:
    """Promise: a keyring in a log line or a traceback tells the epoch and no key."""
    shown = repr(RING) + str(RING)
    assert "epoch=2" in shown
    for key in (NAME_KEY, FIRST, SECOND):
        assert repr(key) not in shown
        assert key.hex() not in shown


@pytest.mark.parametrize(
    ("name_key", "sealing"),
    [
        (b"short", {1: FIRST}),
        (NAME_KEY, {1: b"short"}),
        (NAME_KEY, {}),
        (NAME_KEY, {0: FIRST}),
        (NAME_KEY, {1 << 32: FIRST}),
    ],
)
def test_a_keyring_that_can_not_be_is_refused(name_key: bytes, sealing: dict[int, bytes]) -> None:
    """Promise: keys that were cut, or an epoch that no header can hold, seal nothing."""
    with pytest.raises(ValueError, match=r"bytes|epochs"):
        Keyring(name_key, sealing)


def _flipped(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
