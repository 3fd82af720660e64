"""Nodes that left the ring: a delete has the others free their part of a shared destination."""

import pytest

from agent.wire.destinations import LocalSettings
from coordinator.model.cluster import NamedNode
from coordinator.model.orders import DeleteOrder, TrimLogsOrder
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.orchestrate.delete.adoption import adopters
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def backed_up(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator, and a backup of three nodes in a shared destination."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    return coordinator, tag


async def deleted(coordinator: ToyCoordinator, tag: str, *, dry_run: bool = False) -> Request:
    """The request of a delete that has ended."""
    order = DeleteOrder(tag, "there", dry_run=dry_run)
    return await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))


async def test_the_space_of_nodes_that_left_comes_back(scene: Scene) -> None:
    """Promise: nothing is owed, their part is counted in what a dry run tells and in what was freed, and the agent that
    did it shows no other part than its own."""
    coordinator, tag = await backed_up(scene)
    for agent in scene.agents[1:]:
        await agent.stop()
    gone = [scene.world.nodes.pop(), scene.world.nodes.pop()]
    told = (await deleted(coordinator, tag, dry_run=True)).result["would_free"]
    assert {node["host_id"] for node in told["nodes"]} == {scene.nodes[0].host_id, *(node.host_id for node in gone)}
    request = await deleted(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert "owed" not in request.result
    assert request.result["objects_removed"] == 3
    assert request.result["bytes_freed"] == told["bytes"] == told["backup_bytes"]
    [part] = await coordinator.orchestrator.progress(request.id)
    assert part.host_id == scene.nodes[0].host_id


async def test_a_node_that_is_only_down_is_not_adopted(scene: Scene) -> None:
    """Promise: while it is in the ring its part waits for its own agent."""
    coordinator, tag = await backed_up(scene)
    await scene.agents[2].stop()
    request = await deleted(coordinator, tag)
    assert request.state is RequestState.SUCCESS
    assert request.result["objects_removed"] == 2
    posted = await coordinator.store.commands.of(request.id)
    assert not [command for command in posted if command.arguments.get("adopt")]


async def test_an_adoption_that_is_refused_is_owed_and_named(scene: Scene) -> None:
    """Promise: the backup is deleted and the others' space freed; the warning has the reason and the result the node.
    The same delete sent again frees it."""
    coordinator, tag = await backed_up(scene)
    await scene.agents[2].stop()
    gone = scene.world.nodes.pop()
    busy = ToyFailure("intent_foreign", "the other agent wrote 3 s ago")
    taker = min(scene.world.nodes, key=lambda node: node.host_id)
    taker.refused_adoptions.append(busy)
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.SUCCESS
    assert request.result["owed"] == [{"address": gone.address, "host_id": gone.host_id}]
    [warning] = request.result["warnings"]
    assert gone.host_id in warning
    assert "wrote 3 s ago" in warning
    assert {part.state for part in await coordinator.orchestrator.progress(request_id)} == {RequestState.SUCCESS}
    assert "owed" not in (await deleted(coordinator, tag)).result


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_who_adopts_whom_depends_on_who_there_is_alone(count: int) -> None:
    """Promise: every node that left has one agent, no agent two in a round, in the fewest rounds, and the order in
    which nodes are named changes nothing."""
    gone = [NamedNode("", f"gone-{number}") for number in range(count)]
    hosts = ["c", "a", "b"]
    rounds = adopters(gone, hosts)
    assert rounds == adopters(gone[::-1], sorted(hosts))
    assert sorted(node.host_id for taken in rounds for node in taken.values()) == [node.host_id for node in gone]
    assert len(rounds) == -(-count // len(hosts))
    assert adopters(gone, []) == []


async def test_the_log_of_a_node_that_left_is_freed_by_another_agent(scene: Scene) -> None:
    """Promise: each place has one agent do it for each node that left, and none for one that is only down."""
    coordinator, _ = await backed_up(scene)
    order = TrimLogsOrder(["there"])

    async def trim() -> Request:
        make = coordinator.orchestrator.make
        return await coordinator.ended(await make(RequestKind.TRIM_LOGS, CLUSTER, order, None, ["there"]))

    assert (await trim()).result["bytes_freed"] == 0
    assert [agent.log.adopted for agent in scene.agents] == [[], [], []]
    await scene.agents[2].stop()
    assert ((await trim()).error or {})["code"] == "logs_stay"
    gone = scene.world.nodes.pop()
    request = await trim()
    assert request.state is RequestState.SUCCESS, request
    assert [one for agent in scene.agents for one in agent.log.adopted] == [("there", gone.host_id)]
    assert request.result["bytes_freed"] > 0
