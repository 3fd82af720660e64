"""A sync from one destination to another over three toy nodes: who copies what, and what it keeps others from."""

import asyncio
import uuid

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings
from coordinator.model.errors import DestinationInUse, InvalidArguments, NoSuchBackup, TagInUse
from coordinator.model.orders import BackupOrder, DeleteOrder, DestinationOrder, RestoreOrder, SyncOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import BackupDeleted, MissingNodes
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def backed_up(scene: Scene, *, shared: bool = True) -> tuple[ToyCoordinator, str]:
    """A coordinator, a backup of three nodes in «there», and two other destinations."""
    coordinator = await scene.coordinator()
    for name in ("there", "other", "third"):
        await coordinator.destination(name, LocalSettings(path=name, shared=shared))
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    return coordinator, tag


async def started(coordinator: ToyCoordinator, tag: str, *names: str, force: bool = False) -> str:
    order = SyncOrder(tag, copies(*names or ("other",)), source="there", partial=force)
    return await coordinator.orchestrator.start_sync(CLUSTER, order)


async def synced(coordinator: ToyCoordinator, tag: str, *names: str, force: bool = False) -> Request:
    return await coordinator.ended(await started(coordinator, tag, *names, force=force))


async def test_what_is_copied_from_is_in_use(scene: Scene) -> None:
    """Promise: while a sync runs its source can be neither deleted from nor changed or forgotten, nor can the same
    backup be written there; another sync may read it as well."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[1].gates[Kind.SYNC] = asyncio.Event()
    request_id = await started(coordinator, tag)
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SYNC].wait(), 10)
    orchestrator = coordinator.orchestrator
    with pytest.raises(TagInUse) as caught:
        await orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    assert caught.value.fields["request"] == request_id
    for change in (
        DestinationOrder("update", "there", LocalSettings(path="moved", shared=True)),
        DestinationOrder("delete", "there"),
    ):
        with pytest.raises(DestinationInUse) as refused:
            await orchestrator.start_destination_change(CLUSTER, change)
        assert refused.value.fields["request"] == request_id
    with pytest.raises(TagInUse):
        await orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there"), source="other"))
    beside = await started(coordinator, tag, "third")
    scene.nodes[1].gates[Kind.SYNC].set()
    for one in (request_id, beside):
        assert (await coordinator.ended(one)).state is RequestState.SUCCESS
    deleted = await orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    assert (await coordinator.ended(deleted)).state is RequestState.SUCCESS


async def test_a_backup_comes_over_from_a_destination(scene: Scene) -> None:
    """Promise: without any snapshot every node copies its own part; it is listed and can be restored from the copy when
    the source is gone."""
    coordinator, tag = await backed_up(scene)
    before = scene.world.rows()
    request = await synced(coordinator, tag, "other", "third")
    assert request.state is RequestState.SUCCESS, request
    assert request.destinations == ["other", "third"]
    for name in ("other", "third"):
        [backup] = await coordinator.orchestrator.list_backups(CLUSTER, name)
        assert (backup.tag, backup.state) == (tag, "success")
    deleted = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await coordinator.ended(deleted)
    for node in scene.nodes:
        node.rows.clear()
    restore = RestoreOrder(tag, "other", truncate=True)
    restored = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, restore))
    assert restored.state is RequestState.SUCCESS, restored
    assert {key: rows for rows_of in scene.world.rows().values() for key, rows in rows_of.items() if rows}.keys() == {
        key for rows_of in before.values() for key in rows_of if key[0] not in ("system_auth", "system_traces")
    }


@pytest.mark.parametrize("all_of_them", [False, True])
async def test_the_parts_of_nodes_that_left_come_over_too(scene: Scene, all_of_them: bool) -> None:
    """Promise: the agents of others copy them, also where no node of before is left, and show no other part than their
    own; the copy is whole."""
    coordinator, tag = await backed_up(scene)
    of_before = {host for _, host in scene.world.places["there"].manifests}
    for agent in scene.agents[0 if all_of_them else 2 :]:
        await agent.stop()
        agent.node.host_id = str(uuid.uuid4())  # a new node in its place
        await agent.start()
    request = await synced(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert {host for _, host in scene.world.places["other"].manifests} == of_before
    [backup] = await coordinator.orchestrator.list_backups(CLUSTER, "other")
    assert (backup.tag, backup.state, backup.missing) == (tag, "success", [])
    parts = await coordinator.orchestrator.progress(request.id)
    assert [bool(part.progress) for part in parts if part.host_id in of_before] == [True] * len(
        of_before & {node.host_id for node in scene.nodes}
    )


async def test_a_part_of_a_node_that_left_is_named_when_it_does_not_come(scene: Scene) -> None:
    """Promise: what the agent that took it over was refused with is told of the node whose part it is."""
    coordinator, tag = await backed_up(scene)
    await scene.agents[2].stop()
    gone = scene.world.nodes.pop()
    taker = min(scene.nodes, key=lambda node: node.host_id)
    taker.refused_adoptions.append(ToyFailure("intent_foreign", "another agent writes there"))
    request = await synced(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert f"{gone.address}: " in request.message
    assert "another agent writes there" in request.message
    assert {part.state for part in await coordinator.orchestrator.progress(request.id)} == {RequestState.SUCCESS}


async def test_a_part_that_nobody_can_reach_is_named(scene: Scene) -> None:
    """Promise: where each node has a directory of its own, the part of one that left stays behind: the others come
    over, and the copy is partial and says whose is missing."""
    coordinator, tag = await backed_up(scene, shared=False)
    await scene.agents[2].stop()
    gone = scene.world.nodes.pop()
    request = await synced(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.result["missing_nodes"] == [{"address": gone.address, "host_id": gone.host_id}]


async def test_a_part_that_never_was_there_is_asked_of_nobody(scene: Scene) -> None:
    """Promise: of a node that left and whose part the source lacks nothing is copied by others: it is missing, and the
    copy of the rest is no failure of a node."""
    coordinator = await scene.coordinator()
    for name in ("there", "other"):
        await coordinator.destination(name, LocalSettings(path=name, shared=True))
    scene.nodes[2].failures[Kind.UPLOAD] = [ToyFailure("destination_full", "the destination is full")] * 20
    tag, taken = await coordinator.backup(keep=False, copies=copies("there"))
    assert (taken.state, taken.partial) == (RequestState.ERROR, True)
    await scene.agents[2].stop()
    gone = scene.world.nodes.pop()
    request = await synced(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.result["missing_nodes"] == [{"address": gone.address, "host_id": gone.host_id}]
    assert scene.world.count(Kind.SYNC) == 2
    assert gone.host_id not in {host for _, host in scene.world.places["other"].manifests}


async def test_a_node_that_is_only_down_is_waited_for_or_left_out(scene: Scene) -> None:
    """Promise: while it is in the ring nobody takes its part over: refused, or with force partial."""
    coordinator, tag = await backed_up(scene)
    await scene.agents[2].stop()
    with pytest.raises(MissingNodes):
        await started(coordinator, tag)
    request = await synced(coordinator, tag, force=True)
    assert (request.state, request.partial) == (RequestState.ERROR, True)


async def test_a_node_that_can_not_copy_is_named(scene: Scene) -> None:
    """Promise: the others come over, and the copy's listing says that it isn't whole."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[0].failures[Kind.SYNC] = [ToyFailure("source_damaged", "shop.orders can't be copied")]
    request = await synced(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert "shop.orders can't be copied" in request.message
    [backup] = await coordinator.orchestrator.list_backups(CLUSTER, "other")
    assert backup.state == "partial"


async def test_only_what_is_there_is_copied_and_not_to_itself(scene: Scene) -> None:
    """Promise: refused before anything is begun: an unknown tag, a deleted backup, the source as its own target."""
    coordinator, tag = await backed_up(scene)
    with pytest.raises(NoSuchBackup, match="in there"):
        await started(coordinator, "nope")
    with pytest.raises(InvalidArguments):
        await started(coordinator, tag, "there")
    with pytest.raises(NoSuchBackup):
        await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("other")))
    deleted = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there", sweep=False))
    await coordinator.ended(deleted)
    with pytest.raises(BackupDeleted):
        await started(coordinator, tag)


async def test_a_backup_that_is_still_being_taken_is_not_copied(scene: Scene) -> None:
    """Promise: what lies in the source is not whole yet."""
    coordinator, _ = await backed_up(scene)
    scene.nodes[1].gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder(tag="tag", time=1, keep=False, copies=copies("there"))
    backup = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[1].begun[Kind.UPLOAD].wait(), 10)
    with pytest.raises(TagInUse) as caught:
        await started(coordinator, "tag")
    assert caught.value.fields["request"] == backup
    scene.nodes[1].gates[Kind.UPLOAD].set()
    assert (await coordinator.ended(backup)).state is RequestState.SUCCESS
    assert ON_SERVER not in (await coordinator.ended(backup)).destinations


async def test_a_cancel_undoes_at_the_target_alone(scene: Scene) -> None:
    """Promise: a cancelled sync leaves a delete mark where nothing of the backup was; the source is as it was."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[1].gates[Kind.SYNC] = asyncio.Event()
    request_id = await started(coordinator, tag)
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SYNC].wait(), 10)
    await coordinator.orchestrator.cancel(request_id, force=False)
    assert (await coordinator.ended(request_id)).state is RequestState.CANCELLED
    assert [tag in scene.world.places[name].marks for name in ("other", "there")] == [True, False]
    assert await coordinator.orchestrator.list_backups(CLUSTER, "other") == []
    [backup] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (backup.tag, backup.state) == (tag, "success")
