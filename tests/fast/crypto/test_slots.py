"""Key slots: what opens one, and what no reader spends anything on."""

import msgspec
import pytest

from agent.crypto.errors import EncryptionKeyWrong, EncryptionNotPossible, KeySlotInvalid
from agent.crypto.slots import Cost, Slot, Unlocking, new_keyring, rotated, unwrapped, wrapped

CHEAP = Cost(8, 1, 1)
PASSPHRASE = Unlocking("passphrase", "träumerei".encode())
KEY_FILE = Unlocking("key_file", bytes(range(32)))
WRITTEN = (
    b'{"format":1,"number":0,"epoch":1,"key_set":"7592c491537401777c8609ebde660225c2d66e42e58aeca9bed4c7a4'
    b'a2d944aa","kind":"passphrase","salt":"wm5BUYpg1eXtvO9H56Km7uyMToBbBpi0e5KLQTQskh4=","nonce":"P3jTc/D'
    b'0Ul1zvri+","wrapped":"ToHxWFaL1yzBLWVJElzBmLCCkTAH0Yboz9pVg1RIlPkQEOnv49AwF9mNIo1JDVDbxarWFZ/unFzaA7'
    b'x+Hpcggejudzy/qg10dAGAvtAubAMKB5dS","argon2id":{"memory_kib":65536,"iterations":3,"lanes":4}}'
)
"""A slot of the repository r1 that this release wrote for `PASSPHRASE`, with the default cost."""
KEY_SET = "7592c491537401777c8609ebde660225c2d66e42e58aeca9bed4c7a4a2d944aa"


def test_a_slot_that_was_written_opens_for_ever() -> None:
    """Promise: the form and the costs of slots don't change unseen: a repository of today opens in years."""
    slot = msgspec.json.decode(WRITTEN, type=Slot)
    ring = unwrapped(slot, PASSPHRASE, "r1")
    assert (ring.epoch, slot.key_set) == (1, KEY_SET)
    assert ring.name_key.hex() == "8551c3175b075d586a94d037f356e1e1ecbd3c935b179b0b14b8357a6d1c9e11"


@pytest.mark.parametrize("unlocking", [PASSPHRASE, KEY_FILE], ids=["passphrase", "key_file"])
def test_a_slot_gives_back_the_whole_key_set(unlocking: Unlocking) -> None:
    """Promise: name key and the sealing keys of all epochs, after any number of rotations; none stands in the slot."""
    ring = rotated(rotated(new_keyring()))
    slot = wrapped(ring, unlocking, "r1", 7, CHEAP)
    found = unwrapped(msgspec.json.decode(msgspec.json.encode(slot), type=Slot), unlocking, "r1")
    assert (found.name_key, dict(found.sealing), found.epoch) == (ring.name_key, dict(ring.sealing), 3)
    for key in (ring.name_key, *ring.sealing.values(), unlocking.secret):
        assert key not in slot.wrapped
        assert key.hex() not in msgspec.json.encode(slot).decode()
    assert wrapped(ring, unlocking, "r1", 7, CHEAP).salt != slot.salt


def test_another_secret_opens_nothing() -> None:
    """Promise: neither a wrong passphrase nor a key file with a passphrase's bytes, and the error tells no secret."""
    slot = wrapped(new_keyring(), PASSPHRASE, "r1", 0, CHEAP)
    for wrong in (Unlocking("passphrase", b"guess of mine"), Unlocking("key_file", PASSPHRASE.secret * 4)):
        with pytest.raises(EncryptionKeyWrong) as caught:
            unwrapped(slot, wrong, "r1")
        assert "guess" not in str(caught.value.as_dict())
    assert "guess" not in repr(wrong)


def test_a_slot_opens_nowhere_else_and_only_as_it_was_written() -> None:
    """Promise: a slot of another repository, another number, or with anything changed in it, is not taken."""
    ring = rotated(new_keyring())
    slot = wrapped(ring, PASSPHRASE, "r1", 3, CHEAP)
    change = msgspec.structs.replace
    with pytest.raises(EncryptionKeyWrong):
        unwrapped(slot, PASSPHRASE, "r2")
    for other in (
        change(slot, number=4),
        change(slot, epoch=3),
        change(slot, key_set="00"),
        change(slot, salt=bytes(32)),
        change(slot, nonce=bytes(12)),
        change(slot, wrapped=bytes(len(slot.wrapped))),
        change(slot, argon2id=Cost(16, 1, 1)),
    ):
        with pytest.raises(EncryptionKeyWrong):
            unwrapped(other, PASSPHRASE, "r1")


@pytest.mark.parametrize(
    "cost",
    [
        Cost(1 << 31, 1, 1),
        Cost(128 * 1024 + 1, 1, 1),
        Cost(64, 1 << 30, 1),
        Cost(64, 0, 1),
        Cost(64, 1, 0),
        Cost(1 << 10, 1, 100),
        Cost(8, 1, 2),
        None,
    ],
)
def test_a_slot_that_would_exhaust_its_reader_is_refused(cost: Cost | None) -> None:
    """Promise: whoever can write to a destination fills no agent's memory by a slot, and keeps none busy."""
    slot = msgspec.structs.replace(wrapped(new_keyring(), PASSPHRASE, "r1", 0, CHEAP), argon2id=cost)
    with pytest.raises(KeySlotInvalid):
        unwrapped(slot, PASSPHRASE, "r1")


def test_a_slot_of_other_sizes_is_refused() -> None:
    """Promise: a cut slot, or one of a later format, is named as one that no agent of today wrote."""
    slot = wrapped(new_keyring(), KEY_FILE, "r1", 0)
    change = msgspec.structs.replace
    for other in (
        change(slot, wrapped=slot.wrapped[:-1]),
        change(slot, wrapped=slot.wrapped[: 32 + 16]),
        change(slot, salt=b""),
        change(slot, nonce=b"short"),
        change(slot, format=2),
        change(slot, argon2id=CHEAP),
    ):
        with pytest.raises(KeySlotInvalid):
            unwrapped(other, KEY_FILE, "r1")


@pytest.mark.parametrize(
    ("kind", "secret"), [("passphrase", b""), ("key_file", b"x" * 31), ("key_file", b"x" * 65537), ("key_file", b"")]
)
def test_a_secret_that_protects_nothing_is_refused(kind: str, secret: bytes) -> None:
    """Promise: an empty passphrase or a key file that could be guessed never locks a repository."""
    with pytest.raises(EncryptionNotPossible) as caught:
        Unlocking(kind, secret)  # type: ignore[arg-type]
    assert caught.value.fields["setting"] == kind
