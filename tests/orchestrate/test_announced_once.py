"""A coordinator that comes back while an agent is away: it waits for that one, and asks nobody for a plan twice."""

import asyncio

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

ORDER = BackupOrder("tag", 5, keep=False, copies=copies("there"))
DENIED = ToyFailure("storage_denied", "wrong keys", patience_seconds=60.0)


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.UPLOAD])
@pytest.mark.parametrize("shared", [False, True])
async def test_both_are_killed_and_the_agent_comes_back_last(scene: Scene, shared: bool, kind: Kind) -> None:
    """Promise: a backup whose coordinator and one agent were killed ends as if they hadn't been: what the node has in
    hand it finishes, and what the places say to a plan by then is asked of nobody."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=shared))
    for node in scene.nodes:
        node.gates[kind] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, ORDER)
    await asyncio.gather(*(asyncio.wait_for(node.begun[kind].wait(), 10) for node in scene.nodes))
    await scene.stack.aclose()
    await scene.agents[1].stop()
    for node in scene.nodes:
        node.plan_failures = [ToyFailure("destination_read_only", "mounted read-only")]
    again = await scene.coordinator()
    scene.nodes[0].gates[kind].set()
    await scene.until(lambda: any(done is kind for done, _ in scene.nodes[0].done))
    await scene.agents[1].start()
    for node in scene.nodes:
        node.gates[kind].set()
    request = await again.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert [scene.world.count(each) for each in (Kind.SNAPSHOT, Kind.UPLOAD)] == [3, 3]
    assert all(len(node.plan_failures) == 1 for node in scene.nodes)


async def announcing_anew(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator whose earlier life ended while it put the plan, and its backup; one agent is away by now."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].plan_failures = [DENIED] * 1000
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, ORDER)
    await coordinator.until_says("tag", "keys")
    await scene.stack.aclose()
    await scene.agents[1].stop()
    scene.nodes[0].plan_failures.clear()
    return await scene.coordinator(), request_id


async def test_an_agent_that_is_away_while_the_plan_is_put_is_waited_for(scene: Scene) -> None:
    """Promise: as in every later phase; the request says for whom it waits."""
    again, request_id = await announcing_anew(scene)
    request = await again.until_says("tag", "waiting for the agent of")
    assert request.message == f"waiting for the agent of {scene.nodes[1].address}"
    await scene.agents[1].start()
    request = await again.ended(request_id)
    assert request.state is RequestState.SUCCESS, request


async def test_an_agent_that_stays_away_is_named_and_the_others_go_on(scene: Scene) -> None:
    """Promise: the wait has an end, after which the backup is taken of the others."""
    again, request_id = await announcing_anew(scene)
    request = await again.ended(request_id)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert list(request.error["fields"]["nodes"]) == [scene.nodes[1].address]
    assert [scene.world.count(each) for each in (Kind.SNAPSHOT, Kind.UPLOAD)] == [2, 2]
