"""A run of retention with one backup that is in trouble."""

from collections.abc import Awaitable, Callable

import pytest

from coordinator.model.destinations import Destination
from coordinator.model.retention import Rule
from coordinator.orchestrate.listing import Joined
from coordinator.orchestrate.places import Places
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import listed, ruled, run_ended, taken, until

Look = Callable[[Places, Destination | None, str], Awaitable[Joined | None]]


def failing(real: Look, tag: str) -> Look:
    """The same, but that one backup in destinations can't be looked at."""

    async def look(self: Places, destination: Destination | None, wanted: str) -> Joined | None:
        if destination is not None and wanted == tag:
            raise ToyFailure("storage_failed", "its part can't be read")
        return await real(self, destination, wanted)

    return look


async def test_one_backup_that_cannot_be_looked_at_keeps_no_other_from_going(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the run goes on with the others, and ends with an error that names it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(4, 0, -1), "there")
    await ruled(coordinator, "there", Rule(count=10))
    await run_ended(coordinator, "there")
    monkeypatch.setattr(Places, "backup", failing(Places.backup, tags[0]))
    await ruled(coordinator, "there", Rule(count=1))
    await coordinator.retention.ask(CLUSTER, "there")

    async def told() -> bool:
        note = (await coordinator.retention.notes(CLUSTER))["there"]
        return tags[0] in str(note.error)

    await until(told)
    assert await listed(coordinator, "there") == [tags[0], tags[3]]
