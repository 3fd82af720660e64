"""Keys of a destination, changed by whoever can open it."""

from pathlib import Path

import pytest

from agent.crypto.errors import EncryptionKeyWrong
from agent.repository import checked_text
from agent.repository.attach import RepositoryFile
from agent.repository.errors import (
    KeySlotsGone,
    RepositoryGone,
    RepositoryLockDiffers,
    RepositoryMismatch,
    RepositoryNotEncrypted,
)
from agent.repository.key_changes import KeyChanges, slots_in
from agent.repository.key_slots import make_first, read_slots
from agent.repository.keyrings import Keyrings
from agent.repository.keys import KEY_SLOTS, REPOSITORY, slot_key
from agent.repository.sole_creation import at_once
from agent.storage.protocol import Storage
from agent.wire.destinations import ChangeKeys, Encryption, PutDestination, S3Settings
from kit.errors import InvalidInput
from tests.fast.repository.test_encrypted import CHEAP, Agent, secret
from tests.fast.storage.memory import MemoryStorage


def _changes(agent: Agent, told: list[str]) -> KeyChanges:
    return KeyChanges(agent.destinations, agent.keyrings, agent._read, register_secret=told.append, cost=CHEAP)


async def test_a_passphrase_is_replaced_by_another(tmp_path: Path) -> None:
    """Promise: add the new one, use it, rotate without the old one, remove what it opens: at each step some agent goes
    on, at the end the old passphrase opens nothing, and logs were told of every new one."""
    agent, told = Agent(tmp_path, MemoryStorage()), list[str]()
    await agent.put("old")
    await agent.attach()
    changes = _changes(agent, told)
    added = await changes.change("store", ChangeKeys("add", [Encryption("new")]))
    assert [(slot.number, slot.counts) for slot in added.slots] == [(0, True), (1, True)]
    assert told == ["new"]
    await agent.put("new", revision=2)
    rotated = await changes.change("store", ChangeKeys("rotate"))
    assert (rotated.epoch, [slot.counts for slot in rotated.slots]) == (2, [False, False, True])
    removed = await changes.change("store", ChangeKeys("remove_superseded"))
    assert [(slot.number, slot.epoch) for slot in removed.slots] == [(2, 2)]
    found = await agent.attach(initialise=False)
    assert found.keyring is not None
    assert found.keyring.epoch == 2
    await agent.put("old", revision=3)
    with pytest.raises(EncryptionKeyWrong):
        await changes.change("store", ChangeKeys("add", [Encryption("mine")]))


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """Promise: nothing to add, secrets for a removal, or a plain destination: refused before anything is read."""
    agent = Agent(tmp_path, MemoryStorage())
    await agent.put("one")
    await agent.attach()
    changes = _changes(agent, [])
    one = Encryption("two")
    for wrong, says in (
        (ChangeKeys("add"), "secrets are given to add, or to be kept by a rotation"),
        (ChangeKeys("remove_superseded", [one]), "secrets are given to add, or to be kept by a rotation"),
        (ChangeKeys("rotate", [one] * 17), "at most 16 secrets go into one request"),
    ):
        with pytest.raises(InvalidInput) as told:
            await changes.change("store", wrong)
        assert (told.value.message, told.value.fields) == (says, {"field": "secrets"})
    await agent.put(None, revision=2)
    with pytest.raises(RepositoryNotEncrypted) as plain:
        await changes.change("store", ChangeKeys("rotate"))
    assert plain.value.fields == {"setting": "encryption"}


async def test_as_many_secrets_as_one_request_takes(tmp_path: Path) -> None:
    """Promise: sixteen go, and each slot costs its guesser what this agent was told that a new one costs; logs are told
    of every passphrase, and of nothing for a file of one."""
    agent, told = Agent(tmp_path, MemoryStorage()), list[str]()
    await agent.put("one")
    await agent.attach()
    changes = _changes(agent, told)
    made = await changes.change("store", ChangeKeys("rotate", [Encryption(f"{number}") for number in range(16)]))
    assert len(made.slots) == 18
    await changes.change("store", ChangeKeys("add", [Encryption("more"), Encryption(key_file="/key")]))
    assert told == [*(f"{number}" for number in range(16)), "more"]
    assert {slot.argon2id for slot in (await read_slots(agent.store)).current} == {CHEAP}


async def test_a_store_that_may_replace_is_not_trusted_with_a_slot(tmp_path: Path) -> None:
    """Promise: where a store can't create only if absent, each slot that a change adds is created by claiming it, so
    that two changes at a time don't take the slot of each other."""
    agent, created = Agent(tmp_path, MemoryStorage()), list[str]()

    async def claiming(storage: Storage, key: str, body: bytes) -> None:
        created.append(key)
        await at_once(storage, key, body)

    agent.keyrings = Keyrings(agent.destinations, agent._read, CHEAP, claiming)
    bucket = S3Settings(path="bucket", encryption=Encryption("one"))
    await agent.destinations.put("store", PutDestination(1, bucket))
    await agent.attach()
    changes = _changes(agent, [])
    await changes.change("store", ChangeKeys("add", [Encryption("two"), Encryption("three")]))
    await changes.change("store", ChangeKeys("rotate", [Encryption("two")]))
    assert created == [slot_key(number) for number in range(5)]
    await agent.destinations.remember("store", 1, conditional_create=True)
    await changes.change("store", ChangeKeys("add", [Encryption("four")]))
    assert len(created) == 5


async def test_a_change_makes_nothing_and_goes_to_no_other_repository(tmp_path: Path) -> None:
    """Promise: keys are changed in the repository that the destination was made with: where there is none by now none
    is made, and another one that stands there keeps its keys."""
    agent = Agent(tmp_path / "1", MemoryStorage())
    await agent.put("one")
    made = await agent.attach()
    await agent.destinations.remember("store", 1, repository_id=made.repository_id)
    changes = _changes(agent, [])
    objects, agent.store._objects = agent.store._objects, {}
    with pytest.raises(RepositoryGone):
        await changes.change("store", ChangeKeys("rotate"))
    assert agent.store._objects == {}
    other = Agent(tmp_path / "2", agent.store)
    await other.put("one")
    await other.attach()
    before = dict(agent.store._objects)
    with pytest.raises(RepositoryMismatch):
        await changes.change("store", ChangeKeys("rotate"))
    assert agent.store._objects == before
    agent.store._objects = {key: one for key, one in objects.items() if not key.startswith(KEY_SLOTS)}
    with pytest.raises(KeySlotsGone) as gone:
        await slots_in(agent.store)
    assert gone.value.fields == {"key": KEY_SLOTS}


async def test_keys_are_changed_under_lock_or_not_at_all(tmp_path: Path) -> None:
    """Promise: without the lock that the repository was made with, slots would go in unlocked and be hidden instead of
    removed: refused, and nothing is put."""
    store = MemoryStorage()
    await store.put(REPOSITORY, [checked_text.encode(RepositoryFile("r1", 2, True, True))])
    await make_first(store, "r1", secret("one"), CHEAP)
    agent, before = Agent(tmp_path, store), dict(store._objects)
    await agent.put("one")
    with pytest.raises(RepositoryLockDiffers):
        await _changes(agent, []).change("store", ChangeKeys("rotate", [Encryption("second")]))
    assert store._objects == before
