"""Dry runs of a delete: what would be freed, told per node, and nothing else happens."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import Request, RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def looked(coordinator: ToyCoordinator, order: DeleteOrder) -> Request:
    """The dry run's request, once it has ended."""
    return await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))


@pytest.mark.parametrize("place", [None, "there"])
async def test_it_tells_what_the_delete_then_frees(place: str | None, scene: Scene) -> None:
    """Promise: the sum and each node's part are those of the delete that follows; until then the backup is listed,
    restorable and whole."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    request = await looked(coordinator, DeleteOrder(tag, place, dry_run=True))
    assert request.state is RequestState.SUCCESS, request
    told = request.result["would_free"]
    assert [node["host_id"] for node in told["nodes"]] == sorted(node.host_id for node in scene.nodes)
    assert told["bytes"] == sum(node["bytes"] for node in told["nodes"]) == told["backup_bytes"] > 0
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, place)
    assert (listed.tag, listed.state, listed.missing) == (tag, "success", [])
    deleted = await looked(coordinator, DeleteOrder(tag, place))
    assert (deleted.state, deleted.result["bytes_freed"]) == (RequestState.SUCCESS, told["bytes"])


async def test_a_delete_does_not_wait_for_a_dry_run(scene: Scene) -> None:
    """Promise: while a node still counts, the backup can be deleted, and is not listed as being deleted before."""
    coordinator = await scene.coordinator()
    tag, _ = await coordinator.backup(keep=True)
    scene.nodes[1].gates[Kind.DELETE] = asyncio.Event()
    first = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, dry_run=True))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.DELETE].wait(), 10)
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert listed.state == "success"
    second = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag))
    scene.nodes[1].gates[Kind.DELETE].set()
    assert first != second
    assert (await coordinator.ended(first)).result["dry_run"] is True
    assert (await coordinator.ended(second)).state is RequestState.SUCCESS


async def test_a_node_that_can_t_count_is_named(scene: Scene) -> None:
    """Promise: a sum that lacks a node says so, with that node's own error; one that doesn't answer is a warning."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[1].failures[Kind.SWEEP] = [ToyFailure("manifest_invalid", "the manifest is cut: t0")]
    request = await looked(coordinator, DeleteOrder(tag, "there", dry_run=True))
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert "the manifest is cut: t0" in request.message
    assert len(request.result["would_free"]["nodes"]) == 2
    await scene.agents[2].stop()
    request = await looked(coordinator, DeleteOrder(tag, "there", dry_run=True))
    assert request.state is RequestState.SUCCESS
    assert scene.nodes[2].address in str(request.result["warnings"])
