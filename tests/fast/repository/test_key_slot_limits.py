"""Key slots at the bounds of their number and size, and what errors say of them."""

import secrets
from collections.abc import Awaitable

import msgspec
import pytest

from agent.crypto.errors import EncryptionKeyWrong, EncryptionNotPossible, KeySlotInvalid
from agent.crypto.keyring import KEY_SIZE, Keyring
from agent.crypto.slots import MOST_EPOCHS, Unlocking, new_keyring, rotated, wrapped
from agent.repository.errors import EncryptionKeySuperseded, KeySlotsGone
from agent.repository.key_slots import MOST_SLOTS, Slots, add_slot, listed, make_first, read_slots, rotate, unlock
from agent.repository.keys import KEY_SLOTS, cluster_key, slot_key
from agent.repository.sole_creation import at_once
from agent.storage.protocol import Storage
from kit.errors import HelenusError
from tests.fast.repository.test_key_slots import CHEAP, FILE, ONE, THREE, TWO
from tests.fast.storage.memory import MemoryStorage


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


async def _put(store: MemoryStorage, number: int, keyring: Keyring, unlocking: Unlocking) -> None:
    slot = wrapped(keyring, unlocking, "r1", number, CHEAP)
    await store.put(slot_key(number), [msgspec.json.encode(slot)])


async def _unlocked(store: Storage, unlocking: Unlocking) -> Keyring:
    return await unlock(await read_slots(store), "r1", unlocking)


async def _refused(what: Awaitable[object], error: type[HelenusError]) -> dict[str, object]:
    with pytest.raises(error) as told:
        await what
    return told.value.fields


async def test_the_lowest_number_counts_not_the_first_in_the_listing(store: MemoryStorage) -> None:
    """Promise: the tenth slot stands before the second in every listing of keys; of two key sets of one epoch the
    second slot's is the one that counts, and the next free number is the eleventh."""
    ring = new_keyring()
    winner = rotated(ring)
    await _put(store, 0, ring, ONE)
    await _put(store, 2, winner, ONE)
    await _put(store, 10, rotated(ring), TWO)
    assert [entry.key for entry in await listed(store)] == [slot_key(0), slot_key(2), slot_key(10)]
    assert dict((await _unlocked(store, ONE)).sealing) == dict(winner.sealing)
    assert await _refused(_unlocked(store, TWO), EncryptionKeyWrong) == {"setting": "encryption"}
    assert await add_slot(store, "r1", ONE, THREE, CHEAP) == 11


async def test_older_slots_come_newest_first(store: MemoryStorage) -> None:
    """Promise: they are told apart from those that count, which stand in the order of their numbers; without any the
    first number is free."""
    assert await read_slots(store) == Slots([], [], 0)
    ring = new_keyring()
    for number in range(3):
        await _put(store, number, ring, ONE)
        ring = rotated(ring)
    for number in (4, 3):
        await _put(store, number, ring, ONE)
    found = await read_slots(store)
    assert [(slot.number, slot.epoch) for slot in found.current] == [(3, 4), (4, 4)]
    assert [(slot.number, slot.epoch) for slot in found.older] == [(2, 3), (1, 2), (0, 1)]
    assert found.next == 5


async def test_there_are_as_many_slots_as_are_read_and_no_more(store: MemoryStorage) -> None:
    """Promise: the last one that a reader takes is made, the next one is refused before anything is put; where somebody
    put more all the same, that is told before any of them is read."""
    await make_first(store, "r1", ONE, CHEAP)
    for number in range(1, MOST_SLOTS - 1):
        await store.put(slot_key(number), [b"{}"])
    assert await add_slot(store, "r1", ONE, TWO, CHEAP) == MOST_SLOTS - 1
    assert (await _unlocked(store, TWO)).epoch == 1
    full = dict(store._objects)
    assert await _refused(add_slot(store, "r1", ONE, FILE, CHEAP), EncryptionNotPossible) == {"slot": MOST_SLOTS}
    assert store._objects == full
    await store.put(slot_key(MOST_SLOTS), [b"{}"])
    assert await _refused(_unlocked(store, ONE), KeySlotInvalid) == {"most": MOST_SLOTS}


async def test_a_slot_of_as_many_epochs_as_there_may_be_is_read(store: MemoryStorage) -> None:
    """Promise: a repository that was rotated each day for eleven years opens, and another secret can be added to it."""
    keys = {epoch: secrets.token_bytes(KEY_SIZE) for epoch in range(1, MOST_EPOCHS + 1)}
    await _put(store, 0, Keyring(secrets.token_bytes(KEY_SIZE), keys), ONE)
    await add_slot(store, "r1", ONE, TWO, CHEAP)
    assert dict((await _unlocked(store, TWO)).sealing) == keys
    with pytest.raises(EncryptionNotPossible):
        await rotate(store, "r1", ONE, (), CHEAP)


async def test_a_slot_that_no_agent_wrote_is_named(store: MemoryStorage) -> None:
    """Promise: where no other slot is there the error says which file is to be put back: one that is no JSON, is larger
    than any slot, or says that it is another."""
    ring = new_keyring()
    for content in (b"{rubbish", bytes(600_000), msgspec.json.encode(wrapped(ring, ONE, "r1", 1, CHEAP))):
        await store.put(slot_key(3), [content], replace=True)
        assert await _refused(_unlocked(store, ONE), KeySlotInvalid) == {"key": slot_key(3)}


async def test_without_slots_it_is_said_where_they_belong(store: MemoryStorage) -> None:
    """Promise: the error names the place that is empty, also to whoever would make the first one beside data."""
    assert await _refused(_unlocked(store, ONE), KeySlotsGone) == {"key": KEY_SLOTS}
    await store.put(cluster_key("c1"), [b"{}"])
    assert await _refused(make_first(store, "r1", ONE, CHEAP), KeySlotsGone) == {"key": KEY_SLOTS}


async def test_whoever_comes_to_a_repository_that_was_made_meanwhile_gets_its_keys(store: MemoryStorage) -> None:
    """Promise: between an agent's look at the slots and its first one another agent may have made slots and data: no
    slot comes of it, and the keys are the other's."""
    ring = await make_first(store, "r1", ONE, CHEAP)
    await store.put(cluster_key("c1"), [b"{}"])
    before = dict(store._objects)
    assert (await make_first(store, "r1", ONE, CHEAP)).name_key == ring.name_key
    assert await _refused(make_first(store, "r1", TWO, CHEAP), EncryptionKeyWrong) == {"setting": "encryption"}
    assert store._objects == before


async def test_a_secret_that_a_rotation_left_out_is_told_which_setting_is_old(store: MemoryStorage) -> None:
    """Promise: the error names the setting, the epoch and the slots that count."""
    await make_first(store, "r1", ONE, CHEAP)
    await add_slot(store, "r1", ONE, TWO, CHEAP)
    await rotate(store, "r1", ONE, [FILE], CHEAP)
    with pytest.raises(EncryptionKeySuperseded, match=f": {slot_key(2)}, {slot_key(3)}$") as told:
        await _unlocked(store, TWO)
    assert told.value.fields == {"setting": "encryption", "epoch": 2, "keys": [slot_key(2), slot_key(3)]}


async def test_all_slots_of_a_rotation_are_created_as_the_store_needs_it(store: MemoryStorage) -> None:
    """Promise: where a store can't create only if absent, the secrets that a rotation keeps get their slots as safely
    as the one that rotates."""
    made: list[str] = []

    async def create(storage: Storage, key: str, body: bytes) -> None:
        made.append(key)
        await at_once(storage, key, body)

    await make_first(store, "r1", ONE, CHEAP, create)
    await add_slot(store, "r1", ONE, TWO, CHEAP, create)
    await rotate(store, "r1", ONE, [TWO, FILE], CHEAP, create)
    assert made == [slot_key(number) for number in range(5)]
    assert {slot.argon2id for slot in (await read_slots(store)).current if slot.kind == "passphrase"} == {CHEAP}


async def test_a_secret_that_is_added_while_the_keys_are_rotated_opens_the_new_ones(store: MemoryStorage) -> None:
    """Promise: a rotation that comes between the look at the slots and the new slot doesn't know of it: it gets another
    one, of the new epoch."""
    await make_first(store, "r1", ONE, CHEAP)
    rotations: list[Keyring] = []

    async def create(storage: Storage, key: str, body: bytes) -> None:
        await at_once(storage, key, body)
        if not rotations:
            rotations.append(await rotate(storage, "r1", ONE, (), CHEAP))

    assert await add_slot(store, "r1", ONE, TWO, CHEAP, create) == 3
    assert dict((await _unlocked(store, TWO)).sealing) == dict(rotations[0].sealing)
