"""The hand-over of a restore that goes on apart from the state, and the death of who hands it over."""

import asyncio

from agent.wire.commands import Kind
from coordinator.model.requests import RequestState
from coordinator.orchestrate.point_in_time import steps as S
from tests.orchestrate.apart_stage import DEADLINE, Elsewhere
from tests.orchestrate.apart_stage import elsewhere as elsewhere
from tests.orchestrate.apart_stage import stage as stage


async def test_one_that_only_the_state_knew_as_handed_over_is_taken_over(elsewhere: Elsewhere) -> None:
    """Promise: the leader dies after its note in the state, before any agent has heard of it; the next one goes on,
    and dies with the nodes stopped and the state away: the other coordinator takes the job, and ends it."""
    await elsewhere.begin()
    first, second = elsewhere.machines
    node = elsewhere.scene.nodes[0]
    fetching, covering = (node.gates.setdefault(kind, asyncio.Event()) for kind in (Kind.PIT_FETCH, Kind.PIT_COVER))
    request_id = await elsewhere.order()
    await asyncio.wait_for(node.begun[Kind.PIT_FETCH].wait(), DEADLINE)
    for machine in (first, second):
        await machine.end()
    await elsewhere.state.store.requests.record_step(request_id, S.HANDED_OVER, {"fence": 1})
    fetching.set()
    first.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    second.start()
    elsewhere.gone = True
    await elsewhere.until(lambda: first.leadership.away)
    await first.end()
    covering.set()
    await elsewhere.until(elsewhere.story.is_restored)
    elsewhere.gone = False
    request = await elsewhere.ended(request_id)
    assert request is not None
    assert request.state is RequestState.SUCCESS, request
    assert elsewhere.story.nothing_left()
    assert elsewhere.story.done_once()
