"""A tag names one backup for ever: whoever comes second with it changes nothing of the first one."""

import asyncio

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.orders import BackupOrder, DeleteOrder
from coordinator.model.requests import RequestState
from coordinator.store.database import Database
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene


@pytest.mark.parametrize("partial", [False, True])
async def test_two_coordinators_of_one_second_leave_the_first_ones_backup_whole(scene: Scene, partial: bool) -> None:
    """The orders are equal to the last byte: the second one is refused, and clears nothing of the first one's."""
    first, second = await scene.coordinator(), await scene.coordinator("another")
    order = BackupOrder("tag", 5, keep=True, partial=partial)
    await first.ended(await first.orchestrator.start_backup(CLUSTER, order))
    snapshots = [dict(node.snapshots) for node in scene.nodes]
    plans = [node.own.plans["tag"] for node in scene.nodes]
    request = await second.ended(await second.orchestrator.start_backup(CLUSTER, order))
    assert request.state is RequestState.ERROR, request
    assert "another backup" in request.message
    assert [dict(node.snapshots) for node in scene.nodes] == snapshots
    assert [node.own.plans["tag"] for node in scene.nodes] == plans
    for node in scene.nodes:
        assert [record.state for record in node.own.records["tag"]] == ["running", "success"]
    [listed] = await second.orchestrator.list_backups(CLUSTER, None)
    assert (listed.state, listed.missing) == ("success", [])
    assert scene.world.count(Kind.DELETE) == 0


@pytest.mark.parametrize("keep", [False, True])
async def test_a_snapshot_of_that_tag_that_somebody_else_has_stays(scene: Scene, keep: bool) -> None:
    """The backup fails, takes its own snapshots back, and leaves nothing on the node that refused it: an entry of its
    own there would, when it is deleted, take the other one's snapshot."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    other = scene.nodes[1]
    other.snapshots["tag"] = {"shop": {"orders": frozenset({"a row"})}}
    other.makers["tag"] = "somebody else"
    order = BackupOrder("tag", 5, keep=keep, copies=copies("there"))
    request = await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))
    assert request.state is RequestState.ERROR, request
    assert other.snapshots == {"tag": {"shop": {"orders": frozenset({"a row"})}}}
    assert any(kind is Kind.DELETE for kind, _ in other.done) is keep
    assert not other.own.plans
    assert not other.own.records
    assert not scene.nodes[0].snapshots
    assert not scene.nodes[2].snapshots


async def test_a_cancel_marks_nothing_where_another_backup_has_the_tag(scene: Scene) -> None:
    """One node lost its directory, so that it alone took the second plan: the first one's parts on the others stay."""
    first, second = await scene.coordinator(), await scene.coordinator("another")
    for coordinator, name in ((first, "there"), (second, "there")):
        await coordinator.destination(name)
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    await first.ended(await first.orchestrator.start_backup(CLUSTER, order))
    lost = scene.nodes[2]
    place = scene.world.places[f"{lost.number}:there"]
    for kept in (place.plans, place.records, place.manifests):
        kept.clear()
    lost.begun[Kind.UPLOAD].clear()
    lost.gates[Kind.UPLOAD] = asyncio.Event()
    request_id = await second.orchestrator.start_backup(CLUSTER, order)
    await asyncio.wait_for(lost.begun[Kind.UPLOAD].wait(), 10)
    await second.orchestrator.cancel(request_id, force=False)
    assert (await second.ended(request_id)).state is RequestState.CANCELLED
    assert "tag" in place.marks
    for node in scene.nodes[:2]:
        whole = scene.world.places[f"{node.number}:there"]
        assert "tag" not in whole.marks
        assert ("tag", node.host_id) in whole.manifests
        assert [kind for kind, _ in node.done] == [Kind.SNAPSHOT, Kind.UPLOAD], "of the first one"


async def test_a_cancelled_backup_that_is_only_taken_up_again_to_be_undone_leaves_nothing(scene: Scene) -> None:
    """Its coordinator was lost before it could undo it: no plan or record is put again, and what was made goes."""
    coordinator = await scene.coordinator()
    settings = LocalSettings(path="there", shared=True)
    await coordinator.destination("there", settings)
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=True, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[0].begun[Kind.UPLOAD].wait(), 10)
    await scene.stack.aclose()
    store = SqliteStore(await Database.open(scene.directory / "coordinator" / FILE, MIGRATIONS))
    await store.requests.ask_cancel(request_id, force=False)
    await store.close()
    again = await scene.coordinator()
    assert (await again.ended(request_id)).state is RequestState.CANCELLED
    for node in scene.nodes:
        assert not node.snapshots
        assert not node.own.plans
        assert not node.own.records
    assert "tag" in scene.world.places["there"].marks


async def test_keys_that_are_refused_only_after_a_restart_leave_what_was_put_before_to_be_undone(scene: Scene) -> None:
    """Killed while the plan was being put, the nodes that took it refuse it now: a cancel marks them all the same."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    denied = ToyFailure("storage_denied", "revoked keys", patience_seconds=60.0)
    scene.nodes[1].plan_failures = [denied] * 1000
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await coordinator.until_says("tag", "keys")
    await scene.stack.aclose()
    for node in scene.nodes:
        node.plan_failures = [denied] * 1000
    again = await scene.coordinator()
    await again.until_says("tag", "keys")
    await again.orchestrator.cancel(request_id, force=False)
    assert (await again.ended(request_id)).state is RequestState.CANCELLED
    for node in (scene.nodes[0], scene.nodes[2]):
        assert "tag" in scene.world.places[f"{node.number}:there"].marks


async def test_an_on_server_backup_that_failed_is_listed_and_can_be_deleted(scene: Scene) -> None:
    """What the nodes still hold of it (its plan or its record) goes with it."""
    coordinator = await scene.coordinator()
    scene.nodes[1].failures[Kind.SNAPSHOT] = [ToyFailure("not_enough_space", "5 % free")]
    tag, request = await coordinator.backup()
    assert request.state is RequestState.ERROR
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert (listed.tag, listed.state) == (tag, "failed")
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag)))
    assert request.state is RequestState.SUCCESS, request
    assert await coordinator.orchestrator.list_backups(CLUSTER, None) == []
    assert not any(node.own.records or node.own.plans for node in scene.nodes)
