"""What the leader writes while another coordinator carries a restore out apart from the state."""

import asyncio
from collections.abc import Mapping
from typing import Any

from agent.wire.commands import Kind
from coordinator.model.requests import Request
from coordinator.orchestrate.apart import Own
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.followed import Following
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.run import Run, Surroundings
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from coordinator.store.sqlite_requests import SqliteRequests
from tests.cluster.loop_time import seconds, unix_seconds
from tests.cluster.toy_coordinator import DEADLINE, TIMING
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story


class Counted(SqliteRequests):
    """`looks`: how often it was asked where the request began; `writes`: of all steps of a job."""

    looks = 0
    writes = 0

    async def step(self, request_id: str, name: str) -> dict[str, Any] | None:
        self.looks += name == S.FROM_FENCE
        return await super().step(request_id, name)

    async def record_steps(self, request_id: str, steps: Mapping[str, dict[str, Any]]) -> None:
        self.writes += S.SCOPE in steps
        await super().record_steps(request_id, steps)


class Idle:
    """A process that carries nothing out."""

    async def own(self, job: str) -> Own | None:
        return None

    async def adopt(self, found: Found, request: Request) -> None:
        raise AssertionError("the other coordinator carries it out")

    async def cancel(self, job: str, *, force: bool) -> None:
        raise AssertionError("nobody cancels")


async def test_steps_that_did_not_change_are_written_once(story: Story) -> None:
    """Promise: however long a phase lasts, the state is given the job's steps once."""
    node = story.scene.nodes[0]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    request = await story.coordinator.store.requests.get(request_id)
    assert request is not None
    database = await Database.open(story.scene.directory / FILE, MIGRATIONS)
    store, counted = SqliteStore(database), Counted(database)
    store.requests = counted
    fleet = story.coordinator.fleet
    around = Surroundings(store, fleet.registry, fleet.reports, TIMING, clock=unix_seconds, monotonic=seconds)
    await counted.record_step(request_id, S.HANDED_OVER, {"fence": 0})
    following = asyncio.create_task(Following(Run(request, around, store), request_id, Idle()).to_its_end())
    await story.scene.until(lambda: counted.looks > 6 or following.done())
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await store.close()
    assert counted.looks > 6
    assert counted.writes == 1
