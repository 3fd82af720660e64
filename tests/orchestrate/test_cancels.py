"""A cancel reaches the agents whoever was down when it was asked for: nothing of a cancelled request goes on."""

import asyncio

from agent.wire.commands import Kind, State
from coordinator.model.orders import RestoreOrder, SyncOrder
from coordinator.model.requests import RequestState
from coordinator.store.sqlite import SqliteStore
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import backed_up


async def _begun(scene: Scene, kind: Kind) -> None:
    for node in scene.nodes:
        await asyncio.wait_for(node.begun[kind].wait(), 10)


async def _cancelled_while_down(scene: Scene, request_id: str) -> None:
    """The coordinator dies just when the wish to cancel is durable and nobody was told."""
    await scene.stack.aclose()
    store = await SqliteStore.open(scene.directory / "coordinator", now=unix_seconds())
    await store.requests.ask_cancel(request_id, force=False)
    await store.close()


async def let_go(scene: Scene, coordinator: ToyCoordinator, number: int, kind: str) -> None:
    """The agent is back, hears of the cancel, and gives up what it had taken up again."""
    for _ in range(2000):
        states = [view.state for view in await scene.agents[number].runner.views() if view.kind == kind]
        owed = await coordinator.store.commands.cancels_owed()
        if (states, owed) == ([State.CANCELLED], []):
            break
        await asyncio.sleep(0.01)
    assert (states, owed) == ([State.CANCELLED], [])


async def test_a_sync_that_was_cancelled_while_the_coordinator_was_down_is_not_listed(scene: Scene) -> None:
    """The next start tells the agents before it marks: what they copy would be a backup all the same."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True)
    for node in scene.nodes:
        node.gates[Kind.SYNC] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    await _begun(scene, Kind.SYNC)
    await _cancelled_while_down(scene, request_id)
    again = await scene.coordinator()
    assert (await again.ended(request_id)).state is RequestState.CANCELLED
    states = {view.state for agent in scene.agents for view in await agent.runner.views() if view.kind == "sync"}
    assert states == {State.CANCELLED}
    assert await again.orchestrator.list_backups(CLUSTER, "there") == []


async def test_a_restore_that_was_cancelled_while_the_coordinator_was_down_stops_fetching(scene: Scene) -> None:
    """It ends at once, not when everything is fetched that nobody wants."""
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:
        node.gates[Kind.FETCH] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    await _begun(scene, Kind.FETCH)
    await _cancelled_while_down(scene, request_id)
    again = await scene.coordinator()
    assert (await again.ended(request_id)).state is RequestState.CANCELLED
    assert not any(node.held for node in scene.nodes)


async def test_an_agent_that_was_down_when_its_work_was_cancelled_is_told_when_it_is_back(scene: Scene) -> None:
    """It resumes by itself what it was doing, and hears of the cancel also from the coordinator's next life."""
    coordinator, tag = await backed_up(scene)
    node, agent = scene.nodes[1], scene.agents[1]
    node.gates[Kind.FETCH] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    await asyncio.wait_for(node.begun[Kind.FETCH].wait(), 10)
    await agent.stop()
    await coordinator.orchestrator.cancel(request_id, force=False)
    ended = await coordinator.ended(request_id)
    assert ended.state is RequestState.CANCELLED
    assert any("it is told as soon as it answers" in warning for warning in ended.result["warnings"])
    await scene.stack.aclose()
    await agent.start()
    again = await scene.coordinator()
    await let_go(scene, again, 1, "fetch")
    assert not any(each.held for each in scene.nodes)


async def test_an_agent_and_the_coordinator_were_both_down_when_a_restore_was_cancelled(scene: Scene) -> None:
    """Promise: what the first life of the coordinator posted and the second one can't reach is owed all the same."""
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:
        node.gates[Kind.FETCH] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    await _begun(scene, Kind.FETCH)
    await scene.agents[1].stop()
    await _cancelled_while_down(scene, request_id)
    again = await scene.coordinator()
    assert (await again.ended(request_id)).state is RequestState.CANCELLED
    await scene.agents[1].start()
    await let_go(scene, again, 1, "fetch")
    assert not any(node.held for node in scene.nodes)


async def test_a_node_whose_loss_ended_a_restore_does_not_fetch_on_when_it_is_back(scene: Scene) -> None:
    """Promise: the others waited for it and undid; its agent takes up again what nobody wants, and is told so."""
    coordinator, tag = await backed_up(scene)
    node = scene.nodes[1]
    node.gates[Kind.FETCH] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    await asyncio.wait_for(node.begun[Kind.FETCH].wait(), 10)
    await scene.agents[1].stop()
    assert (await coordinator.ended(request_id)).state is RequestState.ERROR
    await scene.agents[1].start()
    await let_go(scene, coordinator, 1, "fetch")
    assert not any(each.held for each in scene.nodes)
