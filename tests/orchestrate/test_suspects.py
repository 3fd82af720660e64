"""A request that stands still names the node that may be why."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder, RestoreOrder
from coordinator.model.requests import RequestState
from coordinator.opscenter.shapes import request_status
from coordinator.orchestrate import parts
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story
from tests.orchestrate.test_restore_flow import backed_up


@pytest.fixture(autouse=True)
def still_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not moved a moment ago stands still."""
    monkeypatch.setattr(parts, "STILL_SECONDS", 0)


async def until_told(coordinator: ToyCoordinator, request_id: str, text: str) -> str:
    """The request's message once it says this; fails when it doesn't soon."""
    async with asyncio.timeout(20):
        while True:
            request = await coordinator.store.requests.get(request_id)
            assert request is not None
            told = str(
                request_status(request, await coordinator.orchestrator.progress(request_id))["details"]["message"]
            )
            if text in told:
                return told
            await asyncio.sleep(0.02)


async def test_a_truncate_that_stands_still_names_the_node_whose_cassandra_is_silent(scene: Scene) -> None:
    """One agent empties the tables for all nodes: another node than its own may be the one that doesn't answer."""
    coordinator, tag = await backed_up(scene)
    one, silent = scene.nodes[0], scene.nodes[1]
    one.gates[Kind.TRUNCATE] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(one.begun[Kind.TRUNCATE].wait(), 10)
    silent.up = False
    told = await until_told(coordinator, request_id, f"(Cassandra at {silent.address} doesn't answer its agent")
    assert told.startswith(f"{one.address}: emptying tables has told of no progress for ")
    silent.up = True
    one.gates[Kind.TRUNCATE].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_snapshot_that_stands_still_names_its_own_silent_cassandra_only(scene: Scene) -> None:
    """A node's own work is held up by its own Cassandra; another node's trouble is no reason."""
    coordinator = await scene.coordinator()
    for node in scene.nodes[:2]:
        node.gates[Kind.SNAPSHOT] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("t", 5))
    for node in scene.nodes[:2]:
        await asyncio.wait_for(node.begun[Kind.SNAPSHOT].wait(), 10)
    scene.nodes[1].up = False
    told = await until_told(coordinator, request_id, f"(Cassandra at {scene.nodes[1].address} doesn't answer its agent")
    assert told.count("doesn't answer") == 1
    for node in scene.nodes[:2]:
        node.up = True
        node.gates[Kind.SNAPSHOT].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_cassandra_that_was_told_to_be_down_is_no_suspect(story: Story) -> None:
    """Promise: nobody is sent to a node whose Cassandra the request itself has stopped."""
    node, coordinator = story.scene.nodes[0], story.coordinator
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), 20)
    await until_told(coordinator, request_id, "has told of no progress")
    async with asyncio.timeout(20):
        while any(agent.cassandra_up for agent in coordinator.fleet.registry.agents(CLUSTER)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for _ in range(10):
        told = await until_told(coordinator, request_id, "has told of no progress")
        assert "doesn't answer" not in told
        await asyncio.sleep(0.02)
    node.gates[Kind.PIT_COVER].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
