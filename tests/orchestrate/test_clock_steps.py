"""The coordinator's clock is set a day ahead while something is waited for, or before: that makes no wait shorter."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, DEADLINES, PATIENCE, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import restored
from tests.orchestrate.test_sent_once import PATIENT, left_behind, says_that_it_waits

DAY = 86_400.0


class Clock:
    """A clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return unix_seconds() + self.ahead


async def coordinator_of(scene: Scene, clock: Clock) -> ToyCoordinator:
    urls = [agent.url for agent in scene.agents]
    timing = msgspec.structs.replace(PATIENT, outlive=600.0)
    return await scene.stack.enter_async_context(
        ToyCoordinator(scene.directory / "coordinator", urls, timing=timing, clock=clock)
    )


async def backed_up(scene: Scene, clock: Clock) -> tuple[ToyCoordinator, str]:
    coordinator = await coordinator_of(scene, clock)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    return coordinator, tag


async def goes_on_waiting(scene: Scene, coordinator: ToyCoordinator, request_id: str) -> None:
    """For longer than any node is waited for otherwise, and a frozen one has been asked in vain, nothing is imported,
    and the request runs."""
    await asyncio.sleep(2 * TIMING.agent_return + PATIENCE.poll + DEADLINES.call)
    request = await coordinator.store.requests.get(request_id)
    assert request is not None
    assert (request.state, scene.world.count(Kind.IMPORT)) == (RequestState.RUNNING, 0), request


@pytest.mark.parametrize("earlier", [False, True], ids=["its own", "an earlier one's"])
async def test_force_goes_on_without_a_truncate_only_when_its_time_is_really_over(scene: Scene, earlier: bool) -> None:
    """Promise: the frozen agent may wake up and truncate for as long as it may begin; rows imported before would go."""
    before = scene.world.rows()
    clock = Clock()
    coordinator, tag = await backed_up(scene, clock)
    order = RestoreOrder(tag, "there", truncate=True, force=True)
    if earlier:
        await left_behind(scene, coordinator, Kind.TRUNCATE, order)
        request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
        await says_that_it_waits(scene, coordinator, request_id, scene.nodes[0].address)
    else:
        scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
        request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
        await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
        scene.agents[0].freeze()
    clock.ahead = DAY
    await goes_on_waiting(scene, coordinator, request_id)
    if earlier:
        await says_that_it_waits(scene, coordinator, request_id, scene.nodes[0].address)
    scene.nodes[0].gates.pop(Kind.TRUNCATE).set()
    scene.agents[0].thaw()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert scene.world.rows() == before


async def test_a_clock_that_was_set_before_a_restart_lets_nobody_go_on_at_once(scene: Scene) -> None:
    """Promise: a coordinator that is started again with its clock a day ahead gives the frozen agent up no sooner than
    one whose clock is right."""
    before = scene.world.rows()
    clock = Clock()
    coordinator, tag = await backed_up(scene, clock)
    scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
    order = RestoreOrder(tag, "there", truncate=True, force=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
    scene.agents[0].freeze()
    await scene.stack.aclose()
    clock.ahead = DAY
    coordinator = await coordinator_of(scene, clock)
    await goes_on_waiting(scene, coordinator, request_id)
    scene.nodes[0].gates.pop(Kind.TRUNCATE).set()
    scene.agents[0].thaw()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert scene.world.rows() == before


async def test_a_clock_that_was_set_before_a_restore_lets_it_not_go_on_at_once(scene: Scene) -> None:
    """Promise: what an earlier restore has sent is waited for in this one's own time, and its message says until when
    that is."""
    before = scene.world.rows()
    clock = Clock()
    coordinator, tag = await backed_up(scene, clock)
    order = RestoreOrder(tag, "there", truncate=True, force=True)
    await left_behind(scene, coordinator, Kind.TRUNCATE, order)
    clock.ahead = DAY
    begun = clock()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await goes_on_waiting(scene, coordinator, request_id)
    await says_that_it_waits(scene, coordinator, request_id, scene.nodes[0].address)
    request = await coordinator.store.requests.get(request_id)
    assert request is not None
    minutes = {f"{datetime.fromtimestamp(at + 600.0, UTC):%H:%M}" for at in (begun, clock())}
    assert any(f"goes on without it from {minute} UTC" in request.message for minute in minutes), request.message
    scene.nodes[0].gates.pop(Kind.TRUNCATE).set()
    scene.agents[0].thaw()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert scene.world.rows() == before


async def test_cassandra_has_its_time_for_a_late_truncate_also_when_the_clock_is_set(scene: Scene) -> None:
    """Promise: what may lie in the socket of a node that answers again is waited for by time that passes."""
    clock = Clock()
    coordinator, tag = await backed_up(scene, clock)
    stalled = scene.nodes[0]
    unknown = ToyFailure("cassandra_unavailable", "no answer", outcome_unknown=True)
    stalled.failures[Kind.TRUNCATE] = [unknown, *(ToyFailure("nodes_down", "one is down") for _ in range(9))]
    former = await restored(coordinator, tag)
    assert former.result["resumable_job"] == former.id
    stalled.failures.clear()
    order = RestoreOrder(tag, "there", keyspaces={"shop": RestoreTables()})
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await says_that_it_waits(scene, coordinator, request_id, stalled.address)
    clock.ahead = DAY
    await goes_on_waiting(scene, coordinator, request_id)
    await coordinator.orchestrator.cancel(request_id, force=True)
    assert (await coordinator.ended(request_id)).state is RequestState.CANCELLED


async def test_who_answered_meanwhile_is_given_up_no_sooner_than_after_another_silence(scene: Scene) -> None:
    """Promise: every answer lets the silence after which force goes on begin anew; while there are answers nobody is
    told that force would go on."""
    timing = msgspec.structs.replace(PATIENT, fence=1.0, force_margin=1.0, outlive=600.0)
    coordinator = await scene.coordinator(timing=timing)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    order = RestoreOrder(tag, "there", truncate=True, force=True)
    await left_behind(scene, coordinator, Kind.TRUNCATE, order)
    scene.agents[0].thaw()
    await scene.agents[0].stop()
    await scene.agents[0].start()
    scene.nodes[0].up = False
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await says_of_force(coordinator, request_id, True)
    scene.nodes[0].up = True
    await says_of_force(coordinator, request_id, False)
    await asyncio.sleep(timing.fence / 2)
    silent_since = unix_seconds()
    scene.nodes[0].up = False
    await coordinator.ended(request_id)
    posted = [each.posted for each in await coordinator.store.commands.of(request_id)]
    assert posted
    assert min(posted) >= silent_since + timing.force_margin


async def says_of_force(coordinator: ToyCoordinator, request_id: str, says: bool) -> None:
    """The running request waits, and tells from when on force goes on, or doesn't."""
    async with asyncio.timeout(10):
        while True:
            request = await coordinator.store.requests.get(request_id)
            assert request is not None
            assert request.state is RequestState.RUNNING, request
            if request.message and ("goes on without it" in request.message) is says:
                return
            await asyncio.sleep(0.02)
