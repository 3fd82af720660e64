"""Sync and delete, and what is listed then, over three toy nodes."""

import asyncio

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.cluster import NamedNode
from coordinator.model.errors import NoSuchBackup
from coordinator.model.orders import DeleteOrder, DestinationOrder, RestoreOrder, SyncOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import (
    BackupDeleted,
)
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene


async def test_a_sync_copies_kept_snapshots_and_leaves_them(scene: Scene) -> None:
    """sync: plan, data, record in the destination; the snapshots stay."""
    coordinator = await scene.coordinator()
    tag, _ = await coordinator.backup()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    request_id = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert all(tag in node.snapshots for node in scene.nodes)
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    [on_nodes] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert (listed.tag, listed.state, listed.keyspaces) == (tag, "success", on_nodes.keyspaces)
    assert listed.time == on_nodes.time


async def test_a_sync_that_one_node_can_not_carry_out_keeps_the_other_nodes_copies(scene: Scene) -> None:
    """Promise: the node whose snapshot is gone is named with its error, the request is an error, and what the others
    copied stays: the destination lists it as partial."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup()
    away = scene.nodes[1]
    away.failures[Kind.SYNC] = [ToyFailure("snapshot_not_kept", "its snapshot is gone")]
    request = await coordinator.ended(
        await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    )
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert {at: one["code"] for at, one in request.error["fields"]["nodes"].items()} == {
        away.address: "snapshot_not_kept"
    }
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.state, [one.address for one in listed.missing]) == ("partial", [away.address])


@pytest.mark.parametrize("held", [False, True])
async def test_a_cancelled_sync_deletes_only_what_it_began(scene: Scene, held: bool) -> None:
    """A backup that was in the destination before stays, although its record is missing there."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there") if held else [])
    for place in scene.world.places.values():
        place.records.clear()
    scene.nodes[1].gates[Kind.SYNC] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SYNC].wait(), 10)
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED, request
    listed = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert [(backup.tag, backup.state) for backup in listed] == ([(tag, "success")] if held else [])


async def test_a_sync_of_an_unknown_tag_is_refused(scene: Scene) -> None:
    """Unknown tag: an error at once."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    with pytest.raises(NoSuchBackup):
        await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder("nope", copies("there")))


@pytest.mark.parametrize("shared", [False, True])
async def test_a_delete_marks_and_frees_the_space_on_every_node(scene: Scene, shared: bool) -> None:
    """DELETE: the mark, the sweeps, bytes freed summed; no longer listed, and neither synced nor restored again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=shared))
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert request.result["bytes_freed"] == 3 * 4 * 3 * 10
    assert scene.world.count(Kind.SWEEP) == 3
    assert scene.world.count(Kind.DELETE) == (1 if shared else 3)
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []
    assert len(await coordinator.orchestrator.list_backups(CLUSTER, None)) == 1
    with pytest.raises(BackupDeleted):
        await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    with pytest.raises(BackupDeleted):
        await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there"))
    events = await coordinator.store.requests.events(CLUSTER)
    deleted = {event.destination["id"]: event.deleted_at for event in events if event.type == "backup"}
    assert deleted["there"] is not None
    assert deleted["OPSC_ON_SERVER"] is None


async def test_an_on_server_backup_is_deleted_from_every_node(scene: Scene) -> None:
    """No destination named = on the nodes."""
    coordinator = await scene.coordinator()
    tag, _ = await coordinator.backup()
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag)))
    assert request.state is RequestState.SUCCESS, request
    assert request.result["bytes_freed"] == 3 * 4 * 3 * 10
    assert not any(node.snapshots for node in scene.nodes)
    with pytest.raises(NoSuchBackup):
        await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag))


async def test_remove_destination_forgets_its_settings_everywhere(scene: Scene) -> None:
    """remove_destination: settings leave coordinator and agents, data of other backups stays."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    order = DeleteOrder(tag, "there", remove_destination=True)
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
    assert request.state is RequestState.SUCCESS, request
    assert not any(node.destinations for node in scene.nodes)
    assert await coordinator.store.destinations.all(CLUSTER) == []


async def test_remove_destination_leaves_the_settings_to_a_request_that_uses_them(scene: Scene) -> None:
    """A restore from there goes on; the delete frees its backup, and says that the settings stayed and for whom."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    needed, _ = await coordinator.backup(keep=False, copies=copies("there"))
    unwanted, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[1].gates[Kind.FETCH] = asyncio.Event()
    restore = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(needed, "there"))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.FETCH].wait(), 10)
    order = DeleteOrder(unwanted, "there", remove_destination=True)
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert (request.error["code"], request.error["fields"]["request"]) == ("destination_in_use", restore)
    assert request.result["bytes_freed"] > 0
    assert all("there" in node.destinations for node in scene.nodes)
    scene.nodes[1].gates[Kind.FETCH].set()
    assert (await coordinator.ended(restore)).state is RequestState.SUCCESS
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
    assert request.state is RequestState.SUCCESS, request
    assert await coordinator.store.destinations.all(CLUSTER) == []


@pytest.mark.parametrize("with_a_backup", [False, True])
async def test_a_destination_that_an_agent_could_not_forget_can_be_deleted_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, with_a_backup: bool
) -> None:
    """Its secrets are still there: while one agent holds them the coordinator keeps the destination."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))

    async def broken(destination_id: str) -> None:
        raise ToyFailure("journal_failed", "the disk is full")

    async def delete() -> Request:
        if with_a_backup:
            order = DeleteOrder(tag, "there", remove_destination=True)
            return await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
        change = await coordinator.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
        return await coordinator.ended(change.request_id)

    with monkeypatch.context() as full:
        full.setattr(scene.agents[2], "delete", broken)
        request = await delete()
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert scene.nodes[2].address in request.message
    assert "there" in scene.nodes[2].destinations
    assert [kept.id for kept in await coordinator.store.destinations.all(CLUSTER)] == ["there"]
    request = await delete()
    assert request.state is RequestState.SUCCESS, request
    assert not any(node.destinations for node in scene.nodes)
    assert await coordinator.store.destinations.all(CLUSTER) == []


async def test_a_delete_names_the_nodes_that_left_the_ring_as_owed(scene: Scene) -> None:
    """Nobody reaches their own directory: the answer says so, also when the delete is sent again; the others' space is
    freed. On the nodes nothing is owed: what stayed there went with the node."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there"))
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    await scene.agents[2].stop()
    gone = scene.world.nodes.pop()
    for order in (DeleteOrder(tag, "there"), DeleteOrder(tag, "there"), DeleteOrder(tag)):
        request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
        owed = [{"address": gone.address, "host_id": gone.host_id}]
        assert request.result.get("owed") == (owed if order.destination else None)
        if order.destination is not None:
            assert request.state is RequestState.SUCCESS, request
            [warning] = request.result["warnings"]
            assert gone.host_id in warning


async def test_a_node_that_fails_to_sweep_is_named_and_the_backup_is_gone_all_the_same(scene: Scene) -> None:
    """Other nodes go on; the error names the node."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[1].failures[Kind.SWEEP] = [ToyFailure("intent_foreign", "another agent writes")]
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there")))
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert scene.nodes[1].address in request.message
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []


async def test_a_backup_without_its_record_is_listed_from_plan_and_manifests(scene: Scene) -> None:
    """How it ended is the last put: without it plan and manifests tell."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    for place in scene.world.places.values():
        del place.records[tag][1:]
        assert place.records[tag][0].state == "running"
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.tag, listed.state) == (tag, "success")
    scene.world.places["2:there"].manifests.clear()
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.state, listed.missing) == (
        "unfinished",
        [NamedNode(scene.nodes[1].address, scene.nodes[1].host_id)],
    )


async def test_a_sync_never_hides_how_an_earlier_copy_ended(scene: Scene) -> None:
    """To a destination that holds the backup already it puts no running record; to another one it does."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.destination("other")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    scene.nodes[1].gates[Kind.SYNC] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there", "other")))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SYNC].wait(), 10)
    records = {key: [record.state for record in place.records[tag]] for key, place in scene.world.places.items()}
    assert records == {f"{n}:there": ["running", "success"] for n in (1, 2, 3)} | {
        f"{n}:other": ["running"] for n in (1, 2, 3)
    }
    scene.nodes[1].gates[Kind.SYNC].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert all(place.records[tag][-1].state == "success" for place in scene.world.places.values())


async def test_nodes_join_the_ring_with_its_agents(scene: Scene) -> None:
    """GET /nodes: each member with its agent; one whose agent is down says so."""
    coordinator = await scene.coordinator()
    await coordinator.orchestrator.nodes(CLUSTER)
    await scene.agents[1].stop()
    nodes = await coordinator.orchestrator.nodes(CLUSTER)
    assert [node.held_bytes for node in nodes] == [node.number * 1_000 for node in scene.nodes]
    assert [node.address for node in nodes] == [node.address for node in scene.nodes]
    assert [node.agent_up for node in nodes] == [True, False, True]
    assert nodes[1].trouble is not None
    assert nodes[1].trouble["code"] == "agent_unreachable"
    assert nodes[0].free_bytes == 900
    assert [node.up for node in nodes] == [True, True, True]


async def test_a_node_is_up_when_its_own_agent_sees_it_and_else_it_is_said_why_nobody_knows(scene: Scene) -> None:
    """Rings read over CQL don't tell who is up: null alone would be no answer."""
    coordinator = await scene.coordinator()
    for node in scene.nodes:
        node.seen_up = None
    await coordinator.orchestrator.nodes(CLUSTER)
    await scene.agents[1].stop()
    nodes = await coordinator.orchestrator.nodes(CLUSTER)
    assert [node.up for node in nodes] == [True, None, True]
    assert [node.up_unknown for node in nodes] == ["", "its agent doesn't answer", ""]


async def test_a_node_that_most_of_the_others_hold_for_down_is_down(scene: Scene) -> None:
    """Its agent can't say: the others are asked whom they see, and the majority counts."""
    coordinator = await scene.coordinator()
    for node in scene.nodes:
        node.seen_up = None
    await coordinator.orchestrator.nodes(CLUSTER)
    await scene.agents[1].stop()
    seen = []
    for first, third in ((False, False), (True, True), (True, False)):
        scene.nodes[0].held_up = {1: True, 2: first, 3: True}
        scene.nodes[2].held_up = {1: True, 2: third, 3: True}
        seen.append([node.up for node in await coordinator.orchestrator.nodes(CLUSTER)])
    assert seen == [[True, False, True], [True, True, True], [True, False, True]]


async def test_a_node_whose_agent_sees_no_cassandra_is_down_when_the_others_say_so(scene: Scene) -> None:
    """Cassandra was stopped, the agent answers."""
    coordinator = await scene.coordinator()
    await coordinator.orchestrator.nodes(CLUSTER)
    for node in scene.nodes:
        node.seen_up = None
        node.held_up = {1: True, 2: False, 3: True}
    scene.nodes[1].up = False
    for agent in coordinator.fleet.registry.agents(CLUSTER):
        agent.seen = 0.0
    nodes = await coordinator.orchestrator.nodes(CLUSTER)
    assert [(node.up, node.agent_up) for node in nodes] == [(True, True), (False, True), (True, True)]
