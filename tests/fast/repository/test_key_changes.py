"""Keys of a destination, changed by whoever can open it."""

from pathlib import Path

import pytest

from agent.crypto.errors import EncryptionKeyWrong
from agent.repository.errors import RepositoryNotEncrypted
from agent.repository.key_changes import KeyChanges
from agent.wire.destinations import ChangeKeys, Encryption
from kit.errors import InvalidInput
from tests.fast.repository.test_encrypted import CHEAP, Agent
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
    for wrong in (ChangeKeys("add"), ChangeKeys("remove_superseded", [one]), ChangeKeys("rotate", [one] * 17)):
        with pytest.raises(InvalidInput):
            await changes.change("store", wrong)
    await agent.put(None, revision=2)
    with pytest.raises(RepositoryNotEncrypted):
        await changes.change("store", ChangeKeys("rotate"))
