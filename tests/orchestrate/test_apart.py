"""Restores to a point of the cluster whose nodes hold the coordinators' shared state: it goes away as they stop."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import RequestState
from coordinator.orchestrate.apart_jobs import Site
from coordinator.orchestrate.point_in_time.errors import StateAway
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.apart_stage import DEADLINE, Stage
from tests.orchestrate.apart_stage import stage as stage


async def test_a_restore_goes_through_while_the_state_is_away(stage: Stage) -> None:
    """Promise: the nodes that hold the state are stopped and started again by a coordinator that has no state
    meanwhile; when it is back it has the request's end, with each node's part, and nothing was done twice."""
    await stage.begin()
    gate = stage.scene.nodes[0].gates.setdefault(Kind.PIT_COVER, asyncio.Event())
    request_id = await stage.order()
    await asyncio.wait_for(stage.scene.nodes[0].begun[Kind.PIT_COVER].wait(), DEADLINE)
    assert stage.away()
    await stage.until(lambda: not any(machine.leadership.leads for machine in stage.machines))
    gate.set()
    request = await stage.ended()
    assert request is not None
    assert (request.id, request.state) == (request_id, RequestState.SUCCESS), request
    assert request.message.startswith("restored to ")
    parts = await stage.state.store.requests.parts(request_id)
    assert [part.state for part in parts] == [RequestState.SUCCESS] * 3
    assert stage.story.is_restored()
    assert stage.story.nothing_left()
    assert stage.story.done_once()
    assert await stage.story.documents_ended()


async def test_both_dead_with_all_nodes_stopped_either_finds_the_job(stage: Stage) -> None:
    """Promise: with nobody left and no state, a coordinator that is started finds the job with the agents and ends
    it."""
    await stage.begin()
    node = stage.scene.nodes[0]
    gate = node.gates.setdefault(Kind.PIT_COVER, asyncio.Event())
    await stage.order()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    for machine in stage.machines:
        await machine.end()
    gate.set()
    stage.machines[1].start()
    request = await stage.ended()
    assert request is not None
    assert request.state is RequestState.SUCCESS, request
    assert stage.story.is_restored()
    assert stage.story.done_once()


async def test_two_that_take_the_job_at_once_do_not_both_drive_it(stage: Stage) -> None:
    """Promise: both find it, and both may have begun; one of them ends it, the other undoes nothing, and no node does
    anything twice."""
    await stage.begin()
    node = stage.scene.nodes[0]
    gate = node.gates.setdefault(Kind.PIT_COVER, asyncio.Event())
    request_id = await stage.order()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    await stage.until(lambda: all(machine.leadership.away for machine in stage.machines))
    first, second = stage.machines
    found = await second.apart.elsewhere(request_id)
    assert found is not None
    await asyncio.gather(*(machine.apart.adopt(found, found.request) for machine in (first, second)))
    gate.set()
    request = await stage.ended()
    assert request is not None
    assert request.state is RequestState.SUCCESS, request
    assert stage.story.is_restored()
    assert stage.story.done_once()
    assert stage.scene.world.count(Kind.PIT_UNDO) == 0


async def test_what_stopped_half_way_is_gone_on_with_before_the_state_is_back(stage: Stage) -> None:
    """Promise: a restore that leaves the state's own nodes down goes on by the same order, given to a coordinator that
    doesn't carry it out; another order is refused. The state has both requests afterwards, and their ends."""
    await stage.begin()
    first, second = stage.machines
    await second.end()  # it would take the job from one that is slow
    node = stage.scene.nodes[2]
    node.failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
    request_id = await stage.order()
    async with asyncio.timeout(DEADLINE):
        while True:
            own = await first.apart.own(request_id)
            if own is not None and not own.running:
                break
            await asyncio.sleep(0.05)
    assert own.request.state is RequestState.ERROR
    second.start()
    await stage.until(lambda: all(machine.leadership.away for machine in stage.machines))

    async def another(site: Site) -> str:
        return await site.orchestrator.points.start(CLUSTER, stage.story.order(keyspaces={"many": []}))

    async def again(site: Site) -> str:
        return await site.orchestrator.points.start(CLUSTER, stage.story.order())

    with pytest.raises(StateAway):
        await second.apart.in_a_site(CLUSTER, another)
    later = await second.apart.in_a_site(CLUSTER, again)
    request = await stage.ended(later)
    assert request is not None
    assert (request.id, request.state) == (later, RequestState.SUCCESS), request
    assert request.result["job"] == request_id
    former = await stage.ended(request_id)
    assert former is not None
    assert (former.state, (former.error or {})["code"]) == (RequestState.ERROR, "stopped_half_way"), former
    assert stage.story.is_restored()
    assert stage.story.nothing_left()


async def test_a_cancel_brings_the_nodes_back_while_the_state_is_away(stage: Stage) -> None:
    """Promise: cancelled before files are moved, every node runs with its old data, and the state says so."""
    await stage.begin()
    node = stage.scene.nodes[0]
    gate = node.gates.setdefault(Kind.PIT_COVER, asyncio.Event())
    request_id = await stage.order()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    await stage.machines[0].apart.cancel(request_id, force=False)
    gate.set()
    request = await stage.ended()
    assert request is not None
    assert request.state is RequestState.CANCELLED, request
    assert "every node runs with its old data" in request.message
    assert stage.story.is_as_before()
    assert stage.story.nothing_left()
