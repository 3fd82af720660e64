"""A process that carries out one job after another apart from the state, both with what it has of the first one."""

import asyncio
from typing import Any

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import RESUMABLE, RequestState
from coordinator.orchestrate.point_in_time.errors import StateAway
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import DEADLINE
from tests.orchestrate.test_apart_kept import Alone
from tests.orchestrate.test_apart_kept import alone as alone
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story

MANY = {"many": ["t1"]}


class TwoJobs:
    """`first` ended here, by the request `by`. `second` stopped half-way under another coordinator, and goes on here,
    until the `gate`."""

    def __init__(self, alone: Alone, first: str, by: str, second: str, gate: asyncio.Event) -> None:
        self.alone = alone
        self.first = first
        self.by = by
        self.second = second
        self.gate = gate


@pytest.fixture
async def two_jobs(alone: Alone) -> TwoJobs:
    story, [site] = alone.story, alone.jobs.sites
    ended = await site.request()
    assert ended is not None
    await begin_another(story)
    story.scene.nodes[2].failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
    second = await half_way(story, keyspaces=MANY)
    await story.scene.stack.aclose()
    node = story.scene.nodes[0]
    node.begun[Kind.PIT_VERIFY].clear()
    gate = node.gates.setdefault(Kind.PIT_VERIFY, asyncio.Event())
    await alone.again(keyspaces=MANY)
    await asyncio.wait_for(node.begun[Kind.PIT_VERIFY].wait(), DEADLINE)
    return TwoJobs(alone, str(ended.result["job"]), ended.id, second, gate)


async def begin_another(story: Story) -> None:
    """`story.coordinator` is another one."""
    story.coordinator = await story.scene.coordinator("other")
    await story.coordinator.destination("there")


async def half_way(story: Story, **changes: Any) -> str:
    """A restore of it that stopped half-way."""
    request = await story.restored(**changes)
    assert RESUMABLE in request.result, request
    return request.id


async def test_both_are_known_and_let_go_of_at_the_end(two_jobs: TwoJobs) -> None:
    """Promise: how each of them ended is told, and afterwards everything is closed, once."""
    two_jobs.gate.set()
    jobs = two_jobs.alone.jobs
    for job in (two_jobs.first, two_jobs.second):
        assert (await two_jobs.alone.ended(job)).state is RequestState.SUCCESS
    assert len(jobs.sites) == 1
    await jobs.__aexit__(None, None, None)
    assert not jobs.sites


async def test_the_first_one_taken_up_again_does_not_end_the_second(two_jobs: TwoJobs) -> None:
    """Promise: a leader that asks once more for a job that ended here leaves what is carried out beside it alone."""
    jobs = two_jobs.alone.jobs
    found = await jobs.elsewhere(two_jobs.by)
    assert found is not None
    await jobs.adopt(found, msgspec.structs.replace(found.request, state=RequestState.RUNNING))
    two_jobs.gate.set()
    for job in (two_jobs.first, two_jobs.second):
        assert (await two_jobs.alone.ended(job)).state is RequestState.SUCCESS
    assert two_jobs.alone.story.serves()
    assert two_jobs.alone.story.nothing_left()


async def test_an_order_that_is_refused_makes_no_job_its_own(alone: Alone) -> None:
    """Promise: of what stopped half-way under another coordinator this process doesn't tell the end, for having been
    asked to go on with it: a later restore stands before it."""
    story, node = alone.story, alone.story.scene.nodes[2]
    await begin_another(story)
    node.point.shut = 2
    former = await half_way(story, keyspaces=MANY)
    node.failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    await half_way(story, pit_micros=story.point + 1, force=True)
    await story.scene.stack.aclose()
    with pytest.raises(StateAway):
        await alone.again(keyspaces=MANY)
    assert await alone.jobs.own(former) is None
