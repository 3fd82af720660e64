"""What can't be done is refused with the true reason, in words that a person can act on."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.errors import NoSuchBackup, TagInUse
from coordinator.model.orders import BackupOrder, RestoreOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import BackupDeleted, MissingNodes
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def begun(scene: Scene, coordinator: ToyCoordinator, kind: Kind, place: str | None) -> str:
    """The request of a backup `tag` that stands at `kind`."""
    for node in scene.nodes:
        node.gates[kind] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=place is None, copies=copies(place) if place else [])
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await asyncio.gather(*(asyncio.wait_for(node.begun[kind].wait(), 10) for node in scene.nodes))
    return request_id


@pytest.mark.parametrize("place", [None, "there"])
@pytest.mark.parametrize("force", [False, True])
async def test_a_restore_of_a_running_backup_says_that_it_runs(scene: Scene, place: str | None, force: bool) -> None:
    """Forced or not: with the request whose status tells how far it is."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    kind = Kind.UPLOAD if place else Kind.SNAPSHOT
    request_id = await begun(scene, coordinator, kind, place)
    with pytest.raises(TagInUse) as refused:
        await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder("tag", place, force=force))
    assert "still running" in refused.value.message
    assert f"GET /request/{request_id}/status" in refused.value.message
    assert refused.value.fields["request"] == request_id
    for node in scene.nodes:
        node.gates[kind].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder("tag", place, force=force))


@pytest.mark.parametrize("place", [None, "there"])
async def test_a_restore_of_a_cancelled_backup_says_that_it_was_cancelled(scene: Scene, place: str | None) -> None:
    """Nobody deleted it: its undoing put the mark, or cleared the snapshots."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    kind = Kind.UPLOAD if place else Kind.SNAPSHOT
    request_id = await begun(scene, coordinator, kind, place)
    await coordinator.orchestrator.cancel(request_id, force=False)
    assert (await coordinator.ended(request_id)).state is RequestState.CANCELLED
    with pytest.raises((BackupDeleted, NoSuchBackup)) as refused:
        await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder("tag", place))
    assert "was cancelled" in refused.value.message
    assert "deleted" not in refused.value.message


async def test_missing_nodes_are_told_apart_by_what_does_not_answer(scene: Scene) -> None:
    """The agent that is stopped, and the Cassandra that is: each node with its own reason."""
    coordinator = await scene.coordinator()
    await coordinator.orchestrator.nodes(CLUSTER)
    await scene.agents[1].stop()
    scene.nodes[2].up = False
    addresses = [node.address for node in scene.nodes]
    with pytest.raises(MissingNodes) as refused:
        await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    reasons = refused.value.fields["reasons"]
    assert isinstance(reasons, dict)
    assert refused.value.fields["missing_nodes"] == list(reasons) == addresses[1:]
    assert reasons[addresses[1]].startswith("its agent doesn't answer (The agent at http://")
    assert reasons[addresses[2]] == "its agent answers, but its Cassandra doesn't (cassandra_unavailable)"
    for address, reason in reasons.items():
        assert f"{address}: {reason}" in refused.value.message
    scene.nodes[0].up = False
    with pytest.raises(MissingNodes) as none_left:
        await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    assert f"{addresses[0]}: its agent answers, but its Cassandra doesn't" in none_left.value.message
    assert f"{addresses[1]}: its agent doesn't answer" in none_left.value.message
