"""The coordinator's clock is set a day ahead while something is waited for: that makes no wait shorter."""

import asyncio
import time

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, DEADLINES, PATIENCE, TIMING, ToyCoordinator, copies
from tests.fast.coordinator.orchestrate.conftest import Scene
from tests.fast.coordinator.orchestrate.test_restore_flow import restored
from tests.fast.coordinator.orchestrate.test_sent_once import PATIENT, left_behind, says_that_it_waits

DAY = 86_400.0


class Clock:
    """A clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def backed_up(scene: Scene, clock: Clock) -> tuple[ToyCoordinator, str]:
    urls = [agent.url for agent in scene.agents]
    timing = msgspec.structs.replace(PATIENT, outlive=600.0)
    coordinator = await scene.stack.enter_async_context(
        ToyCoordinator(scene.directory / "coordinator", urls, timing=timing, clock=clock)
    )
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
