"""A restore that stopped half-way, as the state knows, and was sent again while that was away."""

import asyncio

from agent.wire.commands import Kind
from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.apart_stage import DEADLINE, Elsewhere
from tests.orchestrate.apart_stage import elsewhere as elsewhere
from tests.orchestrate.apart_stage import stage as stage


async def gone_on_with(elsewhere: Elsewhere) -> tuple[str, str, asyncio.Event]:
    """A restore stopped half-way on one coordinator, and on the other one the next request of the same job is held
    while a node is verified: both ids, and what lets it go on."""
    await elsewhere.begin()
    former = await elsewhere.half_way()
    node = elsewhere.scene.nodes[0]
    gate = node.gates.setdefault(Kind.PIT_VERIFY, asyncio.Event())
    later = await elsewhere.again_apart()
    await asyncio.wait_for(node.begun[Kind.PIT_VERIFY].wait(), DEADLINE)
    return former, later, gate


async def test_it_is_known_and_followed_when_the_state_is_back(elsewhere: Elsewhere) -> None:
    """Promise: the state has the new request as running as soon as somebody leads, while the other coordinator carries
    it out; when that one is killed the leader goes on with it, and ends it."""
    former, later, gate = await gone_on_with(elsewhere)
    elsewhere.gone = False

    async def follows() -> bool:
        running = await elsewhere.state.store.requests.find(state=RequestState.RUNNING)
        return [request.id for request in running] == [later]

    await elsewhere.asked(follows)
    await elsewhere.machines[1].end()
    gate.set()
    request = await elsewhere.ended(later)
    assert request is not None
    assert (request.state, request.result["job"]) == (RequestState.SUCCESS, former), request
    assert elsewhere.story.is_restored()
    assert elsewhere.story.nothing_left()


async def test_who_stopped_half_way_takes_it_when_who_went_on_is_killed(elsewhere: Elsewhere) -> None:
    """Promise: a coordinator that once stopped half-way on a job carries it on like any other, by the newest request,
    when the one that went on with it is killed while the state is away."""
    former, later, gate = await gone_on_with(elsewhere)
    own = await elsewhere.machines[0].apart.own(former)
    assert own is not None
    assert own.request.id == former
    await elsewhere.machines[1].end()
    gate.set()
    await elsewhere.until(elsewhere.story.is_restored)
    elsewhere.gone = False
    request = await elsewhere.ended(later)
    assert request is not None
    assert (request.state, request.result["job"]) == (RequestState.SUCCESS, former), request
    assert elsewhere.story.nothing_left()


async def test_its_end_is_in_the_state_though_that_was_away_for_all_of_it(elsewhere: Elsewhere) -> None:
    """Promise: of a restore that began and ended while the state was away the next leader writes the end."""
    await elsewhere.begin()
    former = await elsewhere.half_way()
    later = await elsewhere.again_apart()
    await elsewhere.until(elsewhere.story.is_restored)
    second = elsewhere.machines[1]

    async def has_ended() -> bool:
        own = await second.apart.own(former)
        return own is not None and not own.running

    await elsewhere.asked(has_ended)
    await second.end()
    elsewhere.gone = False
    request = await elsewhere.ended(later)
    assert request is not None
    assert (request.state, request.result["job"]) == (RequestState.SUCCESS, former), request
    assert elsewhere.story.nothing_left()


async def test_it_goes_on_under_a_coordinator_whose_clock_is_behind(elsewhere: Elsewhere) -> None:
    """Promise: which of two requests came after the other isn't told by their coordinators' clocks: sent again to
    one whose clock is five minutes behind the restore goes on."""
    await elsewhere.begin()
    first, second = elsewhere.machines
    await first.end()
    await second.end()
    first.ahead = 300.0
    first.start()
    await elsewhere.leads(first)
    former = await elsewhere.half_way()
    await first.end()
    second.start()
    orchestrator = await elsewhere.leads(second)
    later = await orchestrator.points.start(CLUSTER, elsewhere.story.order())
    request = await elsewhere.ended(later)
    assert request is not None
    assert (request.state, request.result["job"]) == (RequestState.SUCCESS, former), request
    assert elsewhere.story.is_restored()
