"""An open repository, as one command uses it: its forms, and its limits."""

import pytest

from agent.crypto.keyring import Keyring
from agent.repository.form import PLAIN, form_of
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Gate
from tests.fast.storage.memory import MemoryStorage

RING = Keyring(b"n" * 32, {1: b"1" * 32})
KEY = "helenus/v1/the/key"


class Counting:
    """A gate that counts."""

    def __init__(self) -> None:
        self.passed = 0

    def pass_bytes(self, count: int) -> None:
        self.passed += count


def opened(gate: Gate = OPEN, keyring: Keyring | None = None) -> OpenedRepository:
    """A repository of an empty store."""
    return OpenedRepository("d1", MemoryStorage(), "r1", "c1", gate, 4, keyring)


@pytest.mark.parametrize("keyring", [None, RING], ids=["plain", "encrypted"])
async def test_objects_and_documents_are_stored_as_the_repositorys_keys_say(keyring: Keyring | None) -> None:
    """Promise: with keys both are sealed, for this cluster; without them neither is."""
    repository = opened(keyring=keyring)
    assert repository.form == (PLAIN if keyring is None else form_of(keyring, "c1"))
    await repository.documents.put(KEY, b"words")
    there = await repository.storage.get(KEY)
    assert (there == b"words") == (keyring is None)
    assert await repository.documents.read(KEY, len(there), 5) == b"words"


async def test_a_command_is_under_all_limits_that_it_was_given() -> None:
    """Promise: a limit adds to the one that is there, and none changes nothing; what the storage itself is under is its
    own."""
    first, second = Counting(), Counting()
    free = opened()
    assert free.limited(OPEN) is free
    one = free.limited(first)
    assert one.gate is first
    assert (one.destination_id, one.storage, one.streams) == ("d1", free.storage, 4)
    assert one.limited(OPEN) is one
    both = one.limited(second)
    both.gate.pass_bytes(7)
    one.gate.pass_bytes(2)
    free.gate.pass_bytes(1)
    assert (first.passed, second.passed) == (9, 7)
