"""The manifest of a backup that is to be read from."""

import pytest

from agent.repository.errors import BackupDeleted
from agent.repository.keys import deleted_key, manifest_key
from agent.repository.opened import OpenedRepository
from agent.repository.undeleted import undeleted_manifest
from tests.fast.repository.manifests import CLUSTER, HOST, head, manifest
from tests.fast.storage.memory import MemoryStorage


class Counting:
    """A command's own limit that only counts."""

    def __init__(self) -> None:
        self.bytes = 0

    def pass_bytes(self, count: int) -> None:
        self.bytes += count


async def test_a_manifest_is_read_under_the_commands_own_limit() -> None:
    """Promise: a restore that is limited is so from its first byte, all of its manifest included."""
    store, gate = MemoryStorage(), Counting()
    stored = manifest(b"", head())
    await store.put(manifest_key(CLUSTER, "t1", HOST), [stored])
    found = await undeleted_manifest(OpenedRepository("d1", store, "r1", CLUSTER, gate, 4), "t1", HOST)
    assert found.head == head()
    assert gate.bytes == len(stored)


async def test_a_deleted_backup_is_refused_by_its_name() -> None:
    """Promise: nothing is read of it, though its manifest is still there."""
    store, gate = MemoryStorage(), Counting()
    await store.put(manifest_key(CLUSTER, "t1", HOST), [manifest(b"", head())])
    await store.put(deleted_key(CLUSTER, "t1"), [b"mark"])
    with pytest.raises(BackupDeleted) as refused:
        await undeleted_manifest(OpenedRepository("d1", store, "r1", CLUSTER, gate, 4), "t1", HOST)
    assert refused.value.fields == {"tag": "t1"}
    assert gate.bytes == 0
