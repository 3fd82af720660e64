"""A restore that goes on apart from the state, and of which too few agents tell for long."""

import asyncio

from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import TIMING
from tests.orchestrate.apart_stage import Elsewhere
from tests.orchestrate.apart_stage import elsewhere as elsewhere
from tests.orchestrate.apart_stage import stage as stage


async def test_one_of_which_too_few_tell_ends_by_a_cancel_alone(elsewhere: Elsewhere) -> None:
    """Promise: while too few agents tell how it stands the request doesn't end by itself, for another coordinator may
    carry it out; a person's cancel ends it, touches no node and says what isn't known. Once the agents are back the
    same restore goes on."""
    await elsewhere.begin()
    request_id, gate = await elsewhere.stopped()
    for machine in elsewhere.machines:
        await machine.end()
    for agent in elsewhere.scene.agents[1:]:
        await agent.stop()
    first = elsewhere.machines[0]
    first.start()
    orchestrator = await elsewhere.leads(first)
    await asyncio.sleep(4 * TIMING.agent_return)
    kept = await elsewhere.state.store.requests.get(request_id)
    assert kept is not None
    assert kept.state is RequestState.RUNNING
    await orchestrator.cancel(request_id, force=True)
    request = await elsewhere.ended(request_id)
    assert request is not None
    assert (request.state, (request.error or {})["code"]) == (RequestState.ERROR, "job_unknown"), request
    for agent in elsewhere.scene.agents[1:]:
        await agent.start()
    gate.set()
    again = await elsewhere.ended(await elsewhere.order())
    assert again is not None
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, request_id), again
    assert elsewhere.story.is_restored()
    assert elsewhere.story.nothing_left()


async def test_one_whose_nodes_left_ends_by_itself(elsewhere: Elsewhere) -> None:
    """Promise: when most of its nodes are the cluster's no more the request ends, and keeps no other one out; when
    their agents are configured again the job is gone on with, and ends well."""
    await elsewhere.begin(machines=1)
    request_id, gate = await elsewhere.stopped()
    await elsewhere.machines[0].end()
    elsewhere.machines.append(elsewhere.machine("few", agents=1))
    elsewhere.machines[1].start()
    request = await elsewhere.ended(request_id)
    assert request is not None
    assert (request.state, (request.error or {})["code"]) == (RequestState.ERROR, "job_left"), request
    await elsewhere.machines[1].end()
    gate.set()
    elsewhere.machines[0].start()
    await elsewhere.until(elsewhere.story.is_restored)
    again = await elsewhere.ended()
    assert again is not None
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, request_id), again
    assert elsewhere.story.nothing_left()
