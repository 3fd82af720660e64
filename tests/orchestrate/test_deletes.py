"""Deletes that run, as others see them: asked for again, listed meanwhile, and on nodes without a part."""

import asyncio
import copy

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings
from coordinator.model.activity import ActivityQuery
from coordinator.model.errors import TagInUse
from coordinator.model.orders import DeleteOrder, DestinationOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene


@pytest.mark.parametrize("place", [None, "there"])
async def test_the_same_delete_while_it_runs_is_that_one(place: str | None, scene: Scene) -> None:
    """Promise: a DELETE that is sent twice is one request; with other options it is refused, and names the other."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    scene.nodes[1].gates[Kind.DELETE] = asyncio.Event()
    first = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.DELETE].wait(), 10)
    assert await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place)) == first
    if place is not None:
        with pytest.raises(TagInUse) as refused:
            await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place, remove_destination=True))
        assert refused.value.fields["request"] == first
    scene.nodes[1].gates[Kind.DELETE].set()
    assert (await coordinator.ended(first)).state is RequestState.SUCCESS


@pytest.mark.parametrize("place", [None, "there"])
async def test_what_is_being_deleted_is_listed_so(place: str | None, scene: Scene) -> None:
    """Promise: a backup of which some nodes' part is gone already isn't shown as damaged; elsewhere it is whole."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    scene.nodes[1].gates[Kind.DELETE] = asyncio.Event()
    request = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.DELETE].wait(), 10)
    if place is None:
        await scene.until(lambda: tag not in scene.nodes[0].snapshots)
        assert await listed(coordinator.orchestrator, None) == [(tag, "deleting", [])]
        assert await listed(coordinator.orchestrator, "there") == [(tag, "success", [])]
    else:
        assert await listed(coordinator.orchestrator, None) == [(tag, "success", [])]
        assert await listed(coordinator.orchestrator, "there") in ([(tag, "deleting", [])], [])
    scene.nodes[1].gates[Kind.DELETE].set()
    assert (await coordinator.ended(request)).state is RequestState.SUCCESS
    assert await listed(coordinator.orchestrator, place) == []


async def listed(orchestrator: FleetOrchestrator, place: str | None) -> list[tuple[str, str, list[str]]]:
    """Tag, state and missing nodes of what is listed at a place."""
    found = await orchestrator.list_backups(CLUSTER, place)
    return [(backup.tag, backup.state, [node.address for node in backup.missing]) for backup in found]


async def test_a_node_without_a_part_of_the_backup_has_nothing_to_delete(scene: Scene) -> None:
    """Promise: of a partial backup that is deleted, every node is a success, without an error."""
    coordinator = await scene.coordinator()
    tag, _ = await coordinator.backup()
    scene.nodes[1].failures[Kind.DELETE] = [ToyFailure("backup_not_found", f"there is no on-server backup {tag}")]
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag))
    request = await coordinator.ended(request_id)
    assert (request.state, request.partial) == (RequestState.SUCCESS, False)
    parts = await coordinator.orchestrator.progress(request_id)
    assert [(part.state, part.errors) for part in parts] == [(RequestState.SUCCESS, [])] * 3


async def test_a_delete_that_finds_nothing_anywhere_says_so(scene: Scene) -> None:
    """Promise: when no node had anything to delete, the request and its nodes are no success."""
    coordinator = await scene.coordinator()
    tag, _ = await coordinator.backup()
    for node in scene.nodes:
        node.failures[Kind.DELETE] = [ToyFailure("backup_not_found", "gone")]
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag))
    assert (await coordinator.ended(request_id)).state is RequestState.ERROR
    parts = await coordinator.orchestrator.progress(request_id)
    assert {part.state for part in parts} == {RequestState.ERROR}


@pytest.mark.parametrize("new", [LocalSettings("/there//", shared=True), LocalSettings("/copy", shared=True)])
async def test_what_is_deleted_by_a_new_id_of_its_place_is_live_no_more(scene: Scene, new: LocalSettings) -> None:
    """Promise: a destination that was removed and added again under another id is the same place, however it is spelt:
    a backup that is deleted there counts as deleted. In a copy of the repository it does not go with that."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("/there", shared=True))
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    other, _ = await coordinator.backup(keep=False, copies=copies("there"))
    gone = await coordinator.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
    await coordinator.ended(gone.request_id)
    there = scene.world.places["/there"]
    scene.world.places[new.path] = copy.deepcopy(there) if new.path == "/copy" else there
    await coordinator.destination("again", new)
    await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "again")))
    events = await coordinator.store.requests.events(CLUSTER, ActivityQuery(live=True))
    live = {(event.tag, event.destination["id"]) for event in events}
    of_the_old_id = {(tag, "there")} if new.path == "/copy" else set()
    assert live - {(other, "again")} == {(tag, ON_SERVER), (other, "there")} | of_the_old_id
