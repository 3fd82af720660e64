"""An agent that was down while a destination moved: what names no repository must not go to the former place."""

from typing import Any

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import DestinationView, LocalSettings, PutDestination
from coordinator.fleet.client import AgentClient
from coordinator.model.orders import DeleteOrder, DestinationOrder, RestoreOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_cluster import ToyFailure, ToyNode
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def moved_while_one_was_down(scene: Scene, coordinator: ToyCoordinator, *, shared: bool) -> ToyNode:
    """The node whose agent still holds the former place, which is there all the same: the one that is asked first."""
    await coordinator.destination("there", LocalSettings("there", shared))
    stale = min(scene.nodes, key=lambda node: node.host_id)
    held = stale.destinations["there"]
    order = DestinationOrder("update", "there", LocalSettings("elsewhere", shared))
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    stale.destinations["there"] = held
    never_looked(coordinator)
    return stale


def never_looked(coordinator: ToyCoordinator) -> None:
    """As if what the agents hold had not been looked at since: of an agent that is down it isn't."""
    for agent in coordinator.fleet.registry.agents(CLUSTER):
        agent.learn_held("there", None)


@pytest.mark.parametrize("shared", [True, False])
async def test_plan_and_record_go_where_the_manifests_go(scene: Scene, shared: bool) -> None:
    """The backup can be listed, restored and deleted; at the former place there is nothing of it."""
    coordinator = await scene.coordinator()
    await moved_while_one_was_down(scene, coordinator, shared=shared)
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request
    for key, place in scene.world.places.items():
        there = "elsewhere" in key
        assert (tag in place.plans, tag in place.records) == (there, there), key
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.tag, listed.state) == (tag, "success")
    restore = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there"))
    assert (await coordinator.ended(restore)).state is RequestState.SUCCESS
    delete = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    assert (await coordinator.ended(delete)).state is RequestState.SUCCESS


async def test_a_listing_shows_the_place_that_is_kept(scene: Scene) -> None:
    """Not what the agent that is asked first saw before the move."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("there", shared=True))
    await coordinator.backup(keep=False, copies=copies("there"))
    stale = min(scene.nodes, key=lambda node: node.host_id)
    held = stale.destinations["there"]
    order = DestinationOrder("update", "there", LocalSettings("elsewhere", shared=True))
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    await coordinator.ended(change.request_id)
    stale.destinations["there"] = held
    never_looked(coordinator)
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []


async def test_an_agent_that_can_not_be_taught_now_is_passed_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of its own keeps the former place in use: another agent puts the plan to a shared store."""
    coordinator = await scene.coordinator()
    stale = await moved_while_one_was_down(scene, coordinator, shared=True)
    agent = next(agent for agent in scene.agents if agent.node is stale)

    async def put(destination_id: str, request: PutDestination) -> DestinationView:
        raise ToyFailure("destination_in_use", "a command works with it")

    with monkeypatch.context() as busy:
        busy.setattr(agent, "put", put)
        assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request
    assert tag in scene.world.places["elsewhere"].plans


async def test_what_an_agent_holds_is_asked_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again after its restart: its state may be an older one."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("there", shared=True))
    asked = 0
    own = AgentClient.destination

    async def counted(client: AgentClient, destination: str) -> DestinationView:
        nonlocal asked
        asked += 1
        return await own(client, destination)

    never_looked(coordinator)
    monkeypatch.setattr(AgentClient, "destination", counted)
    for _ in range(3):
        await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert asked == 1
    await scene.agents[0].stop()
    await scene.agents[0].start()
    await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert asked == 2


async def test_two_commands_of_an_agent_that_missed_a_move_both_go_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one keeps the former place in use until it has failed too; the first waits for that."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("there", shared=True))
    stale = max(scene.nodes, key=lambda node: node.host_id)
    held = stale.destinations["there"]
    order = DestinationOrder("update", "there", LocalSettings("elsewhere", shared=True))
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    stale.destinations["there"] = held
    never_looked(coordinator)
    for failures in (1, 2):
        stale.failures[Kind.UPLOAD] = [ToyFailure("repository_mismatch", "another repository")] * failures
        agent = next(agent for agent in scene.agents if agent.node is stale)
        own, refusals = agent.put, [1, 2]

        async def put(
            destination_id: str, request: PutDestination, own: Any = own, refusals: list[int] = refusals
        ) -> DestinationView:
            if refusals:
                refusals.pop()
                raise ToyFailure("destination_in_use", "another command works with it")
            view: DestinationView = await own(destination_id, request)
            return view

        with monkeypatch.context() as busy:
            busy.setattr(agent, "put", put)
            _, request = await coordinator.backup(keep=False, copies=copies("there"))
        assert request.state is RequestState.SUCCESS, request
