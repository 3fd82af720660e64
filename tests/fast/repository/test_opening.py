"""What a command gets of the destination that it names."""

from pathlib import Path

import pytest

from agent.crypto.keyring import Keyring
from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.hold_notes import HoldNotes
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.opening import OpenDestinations
from agent.storage.protocol import OPEN, Storage
from agent.storage.throttle import TokenBucket
from agent.wire.commands import Target
from agent.wire.destinations import PutDestination, S3Settings, place_of
from agent.wire.object_lock import ObjectLock
from tests.fast.storage.memory import MemoryStorage

PLAIN = S3Settings(path="bucket", connections=5)
LOCKED = S3Settings(path="bucket", object_lock=ObjectLock("compliance", 4, "control"))


async def _destinations(directory: Path, settings: S3Settings) -> Destinations:
    store = MemoryStorage()

    async def opener(record: StoredDestination) -> Storage:
        return store

    destinations = Destinations(DestinationFiles(directory), opener, Limits())
    await destinations.put("store", PutDestination(1, settings))
    return destinations


@pytest.mark.parametrize(("once", "times"), [(None, 3), (False, 3), (True, 2)])
async def test_a_command_verifies_anew_and_a_listing_once(tmp_path: Path, once: bool | None, times: int) -> None:
    """Promise: each command sees for itself that the repository it names is there; requests that say so trust what was
    seen, for each repository and cluster apart, until the destination is opened anew."""
    seen: list[str] = []

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> Keyring | None:
        seen.append(target.cluster_id)
        return None

    destinations = await _destinations(tmp_path, PLAIN)
    holds = HoldNotes(tmp_path / "holds")
    if once is None:
        repositories = OpenDestinations(destinations, verify, Patience(0.0), holds)
    else:
        repositories = OpenDestinations(destinations, verify, Patience(0.0), holds, once=once)
    for cluster in ("c1", "c1", "c2"):
        async with repositories.opened(Target("store", "r1", cluster)):
            pass
    assert len(seen) == times
    assert seen[-1] == "c2"
    await destinations.put("store", PutDestination(2, PLAIN))
    async with repositories.opened(Target("store", "r1", "c1")):
        assert len(seen) == times + 1


async def test_a_command_gets_what_target_and_settings_say(tmp_path: Path) -> None:
    """Promise: the repository and cluster of the target, its own limit if it has one, as many requests at a time as the
    settings allow, and no lock where they ask for none."""
    destinations = await _destinations(tmp_path, PLAIN)

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> None:
        assert record == destinations.record("store")

    repositories = OpenDestinations(destinations, verify, Patience(0.0), HoldNotes(tmp_path / "holds"))
    async with repositories.opened(Target("store", "r1", "c1")) as opened:
        assert (opened.destination_id, opened.repository_id, opened.cluster_id) == ("store", "r1", "c1")
        assert (opened.gate, opened.streams, opened.keyring, opened.lock) == (OPEN, 5, None, None)
    async with repositories.opened(Target("store", "r1", "c1", 7_000)) as limited:
        assert isinstance(limited.gate, TokenBucket)
        assert limited.gate.rate == 7_000


async def test_a_destination_under_lock_is_opened_with_its_lock(tmp_path: Path) -> None:
    """Promise: what a backup holds is held as the settings say, by the agent's own clock, and is noted for this very
    bucket."""
    destinations, notes = await _destinations(tmp_path, LOCKED), HoldNotes(tmp_path / "holds")

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> None:
        return None

    repositories = OpenDestinations(destinations, verify, Patience(0.0), notes, clock=lambda: 42.0)
    async with repositories.opened(Target("store", "r1", "c1")) as opened:
        assert opened.lock is not None
        assert (opened.lock.settings, opened.lock.notes) == (LOCKED.object_lock, notes)
        assert (opened.lock.store, opened.lock.clock()) == (place_of(LOCKED), 42.0)
