"""The check of a destination under object lock, over a bucket and a control location in memory."""

from pathlib import Path

import pytest

from agent.repository.check import DestinationChecks
from agent.repository.keys import REPOSITORY
from agent.storage.protocol import Denied
from agent.wire.destinations import CheckDestination, PutDestination, S3Settings
from agent.wire.object_lock import DAY, ObjectLock
from tests.fast.repository.test_check import Agent, InMemory
from tests.fast.storage.locked_memory import LockedPlace

LOCK = ObjectLock("compliance", 4, "control")


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
