"""The check of a destination under object lock, over a bucket and a control location in memory."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.repository.check import DestinationChecks
from agent.repository.control_keys import SIDES
from agent.repository.errors import LockedStoreUnconditional, RepositoryLockDiffers
from agent.repository.keys import REPOSITORY
from agent.storage.divided import Divided
from agent.storage.protocol import OPEN, Buffer, Denied, Gate, Put
from agent.wire.destinations import CheckDestination, PutDestination, S3Settings
from agent.wire.object_lock import DAY, ObjectLock
from tests.fast.repository.test_check import Agent, InMemory
from tests.fast.storage.locked_memory import LockedMemory, LockedPlace
from tests.fast.storage.memory import MemoryStorage

LOCK = ObjectLock("compliance", 4, "control")
PLAIN = S3Settings(path="bucket")


def _now() -> float:
    return 1_000_000.0


class Denying:
    """A hook: without the right to extend a lock."""

    def __init__(self) -> None:
        self.extends = True

    async def __call__(self, verb: str, key: str) -> None:
        if verb == "hold" and not self.extends:
            raise Denied("no right to extend a lock")


@pytest.mark.parametrize("extends", [True, False])
async def test_the_right_to_extend_is_tried(tmp_path: Path, extends: bool) -> None:
    """Promise: keys that can lock and can't extend are refused when the destination is checked, not by the first backup
    that reuses anything, days later; with the right the repository's own file is held for its days."""
    agent = Agent(tmp_path / "state", tmp_path)
    await agent.destinations.put("locked", PutDestination(1, S3Settings(path="bucket", object_lock=LOCK)))
    hook, now = Denying(), [1_000_000.0]
    place = LockedPlace(LOCK, lambda: now[0], clock=lambda: now[0], hook=hook)
    checks = DestinationChecks(agent.destinations, InMemory(place), agent.keyrings, now=lambda: now[0])
    wanted = CheckDestination(initialise=True, cluster_name="Test", conformance=False)
    assert (await checks.check("locked", wanted)).ok
    now[0] += 3 * DAY
    hook.extends = extends
    report = await checks.check("locked", wanted)
    assert report.ok is extends
    if extends:
        assert place.locked.held[REPOSITORY] >= LOCK.until(now[0])
    else:
        assert report.error is not None
        assert report.error["code"] == Denied.code


@pytest.mark.parametrize("made_under_lock", [True, False])
async def test_settings_that_differ_from_the_repository_s_lock_are_refused(
    tmp_path: Path, made_under_lock: bool
) -> None:
    """Promise: a destination that is put again with a lock, or without the one that its repository was made under, is
    told by the check, which names the setting."""
    agent, place = Agent(tmp_path / "state", tmp_path), LockedPlace(LOCK, _now, clock=_now, hook=Denying())
    checks = DestinationChecks(agent.destinations, InMemory(place), agent.keyrings, now=_now)
    wanted = CheckDestination(initialise=True, cluster_name="Test", conformance=False)
    under_lock = S3Settings(path="bucket", object_lock=LOCK)
    made, other = (under_lock, PLAIN) if made_under_lock else (PLAIN, under_lock)
    await agent.destinations.put("bucket", PutDestination(1, made))
    assert (await checks.check("bucket", wanted)).ok
    await agent.destinations.put("bucket", PutDestination(2, other))
    report = await checks.check("bucket", wanted)
    assert report.error is not None
    assert (report.error["code"], report.error["fields"]) == (RepositoryLockDiffers.code, {"setting": "object_lock"})


class Covering(LockedMemory):
    """A bucket that heeds no condition where it keeps versions."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        return await super().put(key, body, replace=True, gate=gate)


@pytest.mark.parametrize("keeps_to_it", [True, False])
async def test_creation_only_if_absent_is_tried_under_lock_too(tmp_path: Path, keeps_to_it: bool) -> None:
    """Promise: a store that is conditional in the control location and covers what is under lock is refused before
    anything relies on it, by whoever makes the repository and by whoever attaches later; of the others nothing changes
    but a lock's end."""
    agent = Agent(tmp_path / "state", tmp_path)
    await agent.destinations.put("locked", PutDestination(1, S3Settings(path="bucket", object_lock=LOCK)))

    async def silent(verb: str, key: str) -> None:
        return None

    kind = LockedMemory if keeps_to_it else Covering
    locked = kind(LOCK, lambda: 1_000_000.0, clock=lambda: 1_000_000.0, hook=silent)
    place = Divided(locked, MemoryStorage(), SIDES)
    checks = DestinationChecks(agent.destinations, InMemory(place), agent.keyrings, now=lambda: 1_000_000.0)
    for _ in range(2):
        report = await checks.check("locked", CheckDestination(initialise=True, cluster_name="Test"))
        assert report.ok is keeps_to_it
        if not keeps_to_it:
            assert report.error is not None
            assert report.error["code"] == LockedStoreUnconditional.code
            assert report.error["fields"] == {"key": REPOSITORY, "setting": "path"}
            assert list(locked._objects) == [REPOSITORY]
