"""Which epochs may have come since a command began."""

import secrets
from collections import Counter

import msgspec

from agent.crypto.errors import SealingKeyUnknown
from agent.crypto.keyring import KEY_SIZE, Keyring
from agent.crypto.slots import Cost, Unlocking, wrapped
from agent.repository.epochs import Epochs
from agent.repository.keys import slot_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from tests.fast.storage.memory import MemoryStorage


def _keyring(newest: int) -> Keyring:
    """Keys of all epochs from the second on."""
    return Keyring(secrets.token_bytes(KEY_SIZE), {one: secrets.token_bytes(KEY_SIZE) for one in range(2, newest + 1)})


async def _put_slot(store: MemoryStorage, number: int, epoch: int) -> None:
    slot = wrapped(_keyring(epoch), Unlocking("passphrase", b"one"), "r1", number, Cost(8, 1, 1))
    await store.put(slot_key(number), [msgspec.json.encode(slot)])


def _unknown(epoch: int) -> SealingKeyUnknown:
    return SealingKeyUnknown("no such key", epoch=epoch)


async def test_what_came_since_is_between_the_commands_own_key_and_the_newest_slot() -> None:
    """Promise: of a command that has the keys up to epoch 3, where the slots are at 5 by now: an epoch of before its
    own is none that it should have been given, one above the slots was never made. The slots are read when there is
    one above those that are known, not again for each thing that is sealed with a key that came."""
    asked: Counter[str] = Counter()

    async def count(verb: str, key: str) -> None:
        asked[verb] += 1

    store = MemoryStorage(hook=count)
    await _put_slot(store, 0, 3)
    epochs = Epochs(OpenedRepository("d1", store, "r1", "c1", OPEN, 4, _keyring(3)))
    assert not await epochs.came_since(_unknown(1))
    assert asked["list"] == 0
    assert not await epochs.came_since(_unknown(4))
    await _put_slot(store, 1, 5)
    assert [await epochs.came_since(_unknown(epoch)) for epoch in (1, 3, 4, 5, 6)] == [False, False, True, True, False]
    asked.clear()
    for _ in range(3):
        assert await epochs.came_since(_unknown(5))
    assert asked["list"] == 0


async def test_a_slot_that_goes_again_takes_back_no_epoch() -> None:
    """Promise: superseded by a rotation and removed, what was sealed in its epoch was sealed all the same."""
    store = MemoryStorage()
    await _put_slot(store, 1, 5)
    epochs = Epochs(OpenedRepository("d1", store, "r1", "c1", OPEN, 4, _keyring(3)))
    assert await epochs.came_since(_unknown(5))
    store._objects.clear()
    assert not await epochs.came_since(_unknown(6))
    assert await epochs.came_since(_unknown(5))
