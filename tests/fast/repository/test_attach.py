"""Which repository a store holds."""

import pytest

from agent.repository.attach import attach
from agent.repository.errors import NotARepository
from agent.repository.keys import REPOSITORY, cluster_key
from agent.storage.protocol import Storage
from tests.fast.storage.memory import MemoryStorage


async def _attached(store: Storage) -> tuple[str, str | None]:
    found = await attach(store, keys=None, initialise=True, repository_id=None, cluster_id=None, cluster_name="test")
    return found.repository_id, found.cluster_id


async def test_whoever_comes_second_attaches_to_what_the_first_one_made() -> None:
    """Promise: one store, one repository, one cluster of a name."""
    store = MemoryStorage()
    assert await _attached(store) == await _attached(store)


async def test_a_huge_file_in_the_place_of_a_small_one_is_never_read() -> None:
    """Promise: who may write to a destination can't fill an agent's memory by its first files."""
    read: list[str] = []

    async def note(verb: str, key: str) -> None:
        if verb == "get":
            read.append(key)

    store = MemoryStorage(hook=note)
    _, cluster = await _attached(store)
    assert cluster is not None
    for key in (cluster_key(cluster), REPOSITORY):
        await store.put(key, [b"{" + bytes(70_000)], replace=True)
        read.clear()
        with pytest.raises(NotARepository, match="not one of ours"):
            await _attached(store)
        assert key not in read
