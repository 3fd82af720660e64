"""How the store that a person names is opened."""

import shutil
from collections.abc import Sequence
from typing import Any

import pytest

from agent.cli import place
from agent.cli.place import attached_in
from agent.repository.attach import attach
from agent.repository.destination_files import StoredDestination
from agent.repository.errors import RepositoryLockDiffers
from agent.storage.protocol import OPEN, Buffer, Gate, Put, Storage
from agent.wire.destinations import LocalSettings, S3Settings, Settings
from agent.wire.object_lock import ObjectLock
from tests.fast.cli.conftest import Place
from tests.fast.jobs.agent_in_memory import CLUSTER
from tests.fast.storage.locked_memory import LockedPlace
from tests.fast.storage.memory import MemoryStorage


class Replacing(MemoryStorage):
    """A store that knows no «create only if absent»."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        await super().put(key, body, replace=True, gate=gate)
        return Put(created=True, size=sum(len(part) for part in body))


async def openings(
    monkeypatch: pytest.MonkeyPatch, store: Storage, settings: Settings, *, creates: bool, known: bool = False
) -> list[bool]:
    """With which `conditional_create` the store was opened, one after the other."""
    opened: list[bool] = []

    def opening(settings: Settings, *, conditional_create: bool, **others: Any) -> Storage:
        opened.append(conditional_create)
        return store

    monkeypatch.setattr(place, "open_storage", opening)
    record = StoredDestination("d", 1, settings, conditional_create=known)
    async with place.opened_store(await place.probed(record) if creates else record):
        return opened


async def test_keys_are_changed_only_with_settings_that_know_of_the_lock() -> None:
    """Promise: a slot that is put or removed beside the lock would be told as what it isn't; to read needs no lock."""

    async def calm(*_: str) -> None:
        return None

    locked = LockedPlace(ObjectLock("compliance", 4, "c"), lambda: 1e6, clock=lambda: 1e6, hook=calm)
    await attach(
        locked,
        keys=None,
        initialise=True,
        repository_id=None,
        cluster_id=None,
        cluster_name="n",
        locked=True,
    )
    bare = StoredDestination("d", 0, S3Settings(path="b/p"))
    assert (await attached_in(locked.locked, bare)).made is False
    with pytest.raises(RepositoryLockDiffers):
        await attached_in(locked.locked, bare, to_change=True)


async def test_whether_a_bucket_keeps_a_first_put_is_tried_before_a_key_slot_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise: where the store can, a slot is created only if absent; where it can't, that isn't believed; nothing is
    tried for reading, in a directory, or where an agent found it out."""
    bucket = S3Settings(path="bucket")
    assert await openings(monkeypatch, MemoryStorage(), bucket, creates=True) == [True, True]
    assert await openings(monkeypatch, Replacing(), bucket, creates=True) == [True, False]
    assert await openings(monkeypatch, MemoryStorage(), bucket, creates=True, known=True) == [True]
    assert await openings(monkeypatch, MemoryStorage(), bucket, creates=False) == [False]
    assert await openings(monkeypatch, MemoryStorage(), LocalSettings("/d"), creates=True) == [False]


def test_a_cluster_that_the_index_lacks_is_found_beside_another(place: Place) -> None:
    """Promise: that the index knows some cluster hides no other that is asked for by id or name."""
    names = place.root / "helenus/v1/names"
    shutil.rmtree(names)
    (names / "second").mkdir(parents=True)
    (names / "second/c2").write_bytes(b'{"cluster_id":"c2","name":"second"}')
    for wanted in (CLUSTER, "prod"):
        code, told = place.run("--cluster", wanted, "list")
        assert (code, told.splitlines()[1].startswith("t1 ")) == (0, True), told


def test_a_cluster_that_nobody_has_is_named(place: Place) -> None:
    """Promise: what is there is said, and nobody is told to use an empty bucket."""
    code, told = place.run("--cluster", "nobodys", "list")
    assert (code, f"there are: {CLUSTER} (prod)" in told, "empty" in told) == (1, True, False), told
