"""Key slots in a store: made once, added, rotated, superseded; races and writers of ill will."""

import asyncio

import msgspec
import pytest

from agent.crypto.errors import EncryptionKeyWrong, KeySlotInvalid
from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Slot, Unlocking, new_keyring, rotated, wrapped
from agent.repository.errors import EncryptionKeySuperseded, KeySlotsGone
from agent.repository.key_slots import add_slot, make_first, read_slots, remove_superseded, rotate, unlock
from agent.repository.keys import cluster_key, slot_key
from agent.storage.protocol import Storage
from tests.fast.storage.memory import MemoryStorage

CHEAP = Cost(8, 1, 1)
ONE, TWO, THREE = (Unlocking("passphrase", name) for name in (b"one", b"two", b"three"))
FILE = Unlocking("key_file", bytes(40))


async def _unlock(store: Storage, unlocking: Unlocking) -> Keyring:
    return await unlock(await read_slots(store), "r1", unlocking)


async def _made() -> tuple[MemoryStorage, Keyring]:
    store = MemoryStorage()
    return store, await make_first(store, "r1", ONE, CHEAP)


async def test_two_initialisers_get_one_key_set() -> None:
    """Promise: of two agents that make a repository at a time both seal with the keys that are in the slot, whoever
    was first; and one with another passphrase is refused instead of sealing with keys that nobody can open."""
    for pause in range(6):
        store = MemoryStorage(hook=_Pause(pause))
        first, second = await asyncio.gather(*(make_first(store, "r1", ONE, CHEAP) for _ in range(2)))
        assert first.name_key == second.name_key == (await _unlock(store, ONE)).name_key
        rival = MemoryStorage(hook=_Pause(pause))
        outcomes = await asyncio.gather(
            make_first(rival, "r1", ONE, CHEAP), make_first(rival, "r1", TWO, CHEAP), return_exceptions=True
        )
        assert [type(one) for one in outcomes if not isinstance(one, Keyring)] == [EncryptionKeyWrong]


async def test_no_new_keys_are_made_where_data_is() -> None:
    """Promise: when the slots were removed nobody goes on with other keys: it is said that they are gone."""
    store = MemoryStorage()
    await store.put(cluster_key("c1"), [b"{}"])
    with pytest.raises(KeySlotsGone):
        await make_first(store, "r1", ONE, CHEAP)
    with pytest.raises(KeySlotsGone):
        await _unlock(store, ONE)
    assert list(store._objects) == [cluster_key("c1")]


async def test_an_added_secret_opens_all_that_the_first_does() -> None:
    """Promise: a second passphrase and a key file get a slot each, in an object of its own; two added at a time too."""
    store, ring = await _made()
    before = store._objects[slot_key(0)]
    assert sorted(await asyncio.gather(add_slot(store, "r1", ONE, TWO, CHEAP), add_slot(store, "r1", ONE, FILE))) == [
        1,
        2,
    ]
    for unlocking in (ONE, TWO, FILE):
        assert (await _unlock(store, unlocking)).name_key == ring.name_key
    assert store._objects[slot_key(0)] == before
    with pytest.raises(EncryptionKeyWrong):
        await add_slot(store, "r1", THREE, THREE, CHEAP)


async def test_a_rotation_makes_an_epoch_and_keeps_what_was() -> None:
    """Promise: after a rotation new things have a new key, old ones open as before, names stay; the secret that was
    left out opens nothing any more and is told so; and no object but new slots was written."""
    store, ring = await _made()
    await add_slot(store, "r1", ONE, TWO, CHEAP)
    await add_slot(store, "r1", ONE, FILE, CHEAP)
    before = dict(store._objects)
    newest = await rotate(store, "r1", TWO, [FILE], CHEAP)
    assert (newest.epoch, newest.name_key, newest.sealing[1]) == (2, ring.name_key, ring.sealing[1])
    assert {key: store._objects[key] for key in before} == before
    assert dict((await _unlock(store, FILE)).sealing) == dict(newest.sealing)
    with pytest.raises(EncryptionKeySuperseded) as caught:
        await _unlock(store, ONE)
    assert caught.value.fields["epoch"] == 2
    with pytest.raises(EncryptionKeyWrong):
        await _unlock(store, THREE)


async def test_a_forged_slot_of_a_later_epoch_is_named_and_can_be_removed() -> None:
    """Promise: whoever can write to the store stops work with it and gains nothing; the error names the file, says when
    to remove it, and without it the keys open as before."""
    store, ring = await _made()
    forged = msgspec.structs.replace(wrapped(new_keyring(), TWO, "r1", 7, CHEAP), epoch=99)
    await store.put(slot_key(7), [msgspec.json.encode(forged)])
    with pytest.raises(EncryptionKeySuperseded) as caught:
        await _unlock(store, ONE)
    assert slot_key(7) in caught.value.message
    assert "If nobody rotated its keys, remove" in caught.value.todo
    assert caught.value.fields["keys"] == [slot_key(7)]
    await store.delete(caught.value.fields["keys"])
    assert dict((await _unlock(store, ONE)).sealing) == dict(ring.sealing)


async def test_two_rotations_at_a_time_make_one_key_set() -> None:
    """Promise: agents that rotate at a time never seal with two keys of one epoch: the lower slot counts."""
    for pause in range(8):
        store, _ = await _made()
        store._hook = _Pause(pause)
        first, second = await asyncio.gather(*(rotate(store, "r1", ONE, (), CHEAP) for _ in range(2)))
        newest = await _unlock(store, ONE)
        for ring in (first, second):
            assert ring.sealing.items() <= newest.sealing.items()
            assert ring.epoch > 1


async def test_a_second_key_set_of_an_epoch_counts_for_nothing() -> None:
    """Promise: what a store that let two puts through, or a lost race, left behind a rotation opens nothing."""
    store, ring = await _made()
    winner = await rotate(store, "r1", ONE, (), CHEAP)
    loser = wrapped(rotated(ring), TWO, "r1", 2, CHEAP)
    await store.put(slot_key(2), [msgspec.json.encode(loser)])
    assert dict((await _unlock(store, ONE)).sealing) == dict(winner.sealing)
    with pytest.raises(EncryptionKeyWrong):
        await _unlock(store, TWO)


async def test_superseded_slots_are_removed_only_by_who_opens_a_newer_one() -> None:
    """Promise: no slot that counts goes, whoever asks; a retired passphrase that leaks later finds no slot."""
    store, _ = await _made()
    await add_slot(store, "r1", ONE, TWO, CHEAP)
    assert await remove_superseded(store, "r1", ONE) == []
    await rotate(store, "r1", ONE, (), CHEAP)
    with pytest.raises(EncryptionKeySuperseded):
        await remove_superseded(store, "r1", TWO)
    assert await remove_superseded(store, "r1", ONE) == [0, 1]
    assert (await _unlock(store, ONE)).epoch == 2
    with pytest.raises(EncryptionKeyWrong):
        await _unlock(store, TWO)
    assert await add_slot(store, "r1", ONE, TWO, CHEAP) == 3


async def test_a_rotation_that_is_cut_short_leaves_a_repository_that_opens() -> None:
    """Promise: killed before any operation of a rotation, the one who rotates can open the repository and finish it."""
    for at in range(1, 60):
        store, _ = await _made()
        await add_slot(store, "r1", ONE, TWO, CHEAP)
        store._hook = _Kill(at)
        try:
            await rotate(store, "r1", ONE, [TWO], CHEAP)
        except _Killed:
            store._hook = _Kill(None)
        else:
            break
        ring = await _unlock(store, ONE)
        assert ring.epoch in (1, 2)
        again = await rotate(store, "r1", ONE, [TWO], CHEAP)
        assert ring.sealing.items() <= (await _unlock(store, TWO)).sealing.items() == again.sealing.items()
    else:
        pytest.fail("the rotation never ended")


async def test_slots_of_ill_will_hide_no_good_one() -> None:
    """Promise: rubbish, a huge file, a slot that would take all memory or stands under another number is passed over;
    a repository where nothing else is left is refused by name."""
    store, ring = await _made()
    bad = msgspec.structs.replace(wrapped(ring, ONE, "r1", 3, CHEAP), argon2id=Cost(1 << 31, 1, 1))
    await store.put(slot_key(1), [b"{rubbish"])
    await store.put(slot_key(2), [bytes(600_000)])
    await store.put(slot_key(3), [msgspec.json.encode(bad)])
    await store.put(slot_key(4), [msgspec.json.encode(wrapped(new_keyring(), ONE, "r1", 0, CHEAP))])
    await store.put("helenus/v1/keys/notes.txt", [b"mine"])
    assert (await _unlock(store, ONE)).name_key == ring.name_key
    assert await add_slot(store, "r1", ONE, TWO, CHEAP) == 5
    for number in (0, 5):
        await store.delete([slot_key(number)])
    with pytest.raises(KeySlotInvalid):
        await _unlock(store, ONE)


async def test_a_slot_of_another_repository_opens_nothing() -> None:
    """Promise: slots can't be carried from one repository into another, even under one passphrase."""
    store, ring = await _made()
    foreign = wrapped(rotated(ring), ONE, "r2", 1, CHEAP)
    await store.put(slot_key(0), [msgspec.json.encode(msgspec.structs.replace(foreign, number=0))], replace=True)
    with pytest.raises(EncryptionKeyWrong):
        await _unlock(store, ONE)
    assert msgspec.json.decode(store._objects[slot_key(0)][0], type=Slot).epoch == 2


class _Killed(BaseException):
    pass


class _Kill:
    """Kills before the operation of that number, and whatever follows."""

    def __init__(self, at: int | None) -> None:
        self._at = at
        self._count = 0

    async def __call__(self, verb: str, key: str) -> None:
        self._count += 1
        if self._at is not None and self._count >= self._at:
            raise _Killed


class _Pause:
    """Holds the operation of that number back while everything else goes on."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._count = 0

    async def __call__(self, verb: str, key: str) -> None:
        self._count += 1
        if self._count == self._at:
            await asyncio.sleep(0.02)
