"""What a backup order makes of three nodes."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings, S3Settings
from coordinator.model.cluster import NamedNode
from coordinator.model.errors import NoSuchDestination, UnknownKeyspace, UnknownTable
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from coordinator.opscenter.backups import RESTORABLE
from coordinator.orchestrate.errors import KeyspaceRefused, MissingNodes
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def test_an_on_server_backup_keeps_every_nodes_snapshot_with_plan_and_record(scene: Scene) -> None:
    """OPSC_ON_SERVER: the snapshots stay, and every node holds plan and record of the whole."""
    coordinator = await scene.coordinator()
    tag, request = await coordinator.backup()
    assert request.state is RequestState.SUCCESS, request
    assert request.keyspaces == {"shop": ["orders", "users"], "many": ["t1"], "system_auth": ["roles"]}
    for node in scene.nodes:
        assert tag in node.snapshots
        assert [each.host_id for each in node.own.plans[tag].nodes] == [each.host_id for each in scene.nodes]
        assert node.own.records[tag][-1].state == "success"
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert (listed.tag, listed.state, listed.missing) == (tag, "success", [])
    assert listed.keyspaces["shop"].bytes == 3 * 2 * 3 * 10
    assert listed.keyspaces["shop"].nodes == [node.address for node in scene.nodes]


@pytest.mark.parametrize(
    "settings", [LocalSettings(path="there"), LocalSettings(path="there", shared=True), S3Settings(path="bucket")]
)
async def test_a_copied_backup_is_whole_in_its_destination_and_leaves_no_snapshot(
    scene: Scene, settings: LocalSettings | S3Settings
) -> None:
    """Named destinations get copies, and then the snapshot goes; a shared store is seen whole by any agent."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", settings)
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request
    assert not any(node.snapshots for node in scene.nodes)
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.tag, listed.state, listed.missing) == (tag, "success", [])
    parts = await coordinator.orchestrator.progress(request.id)
    assert [part.address for part in parts] == [node.address for node in scene.nodes]
    for part in parts:
        assert part.created
        assert part.progress["there"]["shop"]["orders"].done_files == 1
    assert await coordinator.orchestrator.list_backups(CLUSTER, None) == []


async def test_destinations_and_the_nodes_together_get_the_backup(scene: Scene) -> None:
    """OPSC_ON_SERVER named beside a destination: copies, and the snapshots stay."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=True, copies=copies("there"))
    assert request.state is RequestState.SUCCESS
    assert set(request.destinations) == {ON_SERVER, "there"}
    assert all(tag in node.snapshots for node in scene.nodes)
    events = await coordinator.store.requests.events(CLUSTER)
    assert {event.destination["id"]: event.status for event in events} == {ON_SERVER: "success", "there": "success"}


async def test_two_backups_at_once_are_two_whole_backups(scene: Scene) -> None:
    """Promise: neither is refused for the other, nor takes its snapshot away: one goes after the other on each node."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    both = await asyncio.gather(
        coordinator.backup(keep=False, copies=copies("there")), coordinator.backup(keep=True, copies=copies("there"))
    )
    assert [request.state for _, request in both] == [RequestState.SUCCESS] * 2
    (gone, _), (kept, _) = both
    assert gone != kept
    listed = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert {backup.tag: (backup.state, backup.missing) for backup in listed} == {
        tag: ("success", []) for tag, _ in both
    }
    assert all([*node.snapshots] == [kept] for node in scene.nodes)


async def test_a_keyspace_made_a_moment_ago_is_in_the_backup(scene: Scene) -> None:
    """What a backup covers is decided by what the nodes say now, not by what they said some seconds ago."""
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, report_age=3600.0))
    await coordinator.backup()
    scene.world.tables["fresh"] = {}
    _, request = await coordinator.backup()
    assert request.state is RequestState.SUCCESS, request
    assert "fresh" in request.keyspaces


async def test_unknown_names_are_refused_before_anything_begins(scene: Scene) -> None:
    """Unknown keyspace, table, destination: named, and no request is made."""
    coordinator = await scene.coordinator()
    start = coordinator.orchestrator.start_backup
    with pytest.raises(UnknownKeyspace, match="nope"):
        await start(CLUSTER, BackupOrder("tag", 1, keyspaces={"nope": []}))
    with pytest.raises(KeyspaceRefused, match="system_views"):
        await start(CLUSTER, BackupOrder("tag", 1, keyspaces={"system_views": []}))
    with pytest.raises(UnknownTable, match=r"shop\.nope"):
        await start(CLUSTER, BackupOrder("tag", 1, keyspaces={"shop": ["nope"]}))
    with pytest.raises(NoSuchDestination):
        await start(CLUSTER, BackupOrder("tag", 1, copies=copies("nope")))
    assert await coordinator.store.requests.find() == []


async def test_a_ring_member_without_an_agent_is_named_and_partial_only_when_asked(scene: Scene) -> None:
    """Zero is an error: missing_nodes; with `partial` the others are backed up and the state says partial."""
    coordinator = await scene.coordinator()
    await scene.agents[2].stop()
    with pytest.raises(MissingNodes) as refused:
        await coordinator.backup()
    assert '"force": true' in refused.value.todo
    assert refused.value.fields["missing_nodes"] == [scene.nodes[2].address]
    tag, request = await coordinator.backup(partial=True)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    away = NamedNode(scene.nodes[2].address, scene.nodes[2].host_id)
    assert request.result["missing_nodes"] == [{"address": away.address, "host_id": away.host_id}]
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert (listed.state, listed.missing) == ("partial", [away])
    assert all(tag in node.snapshots for node in scene.nodes[:2])


async def test_one_failed_snapshot_clears_the_others_and_names_the_node(scene: Scene) -> None:
    """Without `partial` a backup is whole or leaves nothing behind."""
    coordinator = await scene.coordinator()
    scene.nodes[1].failures[Kind.SNAPSHOT] = [ToyFailure("not_enough_space", "5 % free")]
    _, request = await coordinator.backup()
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert request.error["fields"]["nodes"][scene.nodes[1].address]["code"] == "not_enough_space"
    assert not any(node.snapshots for node in scene.nodes)


async def test_a_schema_that_changes_meanwhile_makes_all_snapshots_anew(scene: Scene) -> None:
    """Schema versions of all snapshots are equal, else they are taken again."""
    coordinator = await scene.coordinator()
    scene.nodes[2].gates[Kind.SNAPSHOT] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup())
    for node in scene.nodes:
        await asyncio.wait_for(node.begun[Kind.SNAPSHOT].wait(), 10)
    await scene.until(lambda: scene.world.count(Kind.SNAPSHOT) == 2)
    scene.world.version = "schema-2"
    scene.world.tables["shop"]["new"] = "id"
    scene.nodes[2].gates[Kind.SNAPSHOT].set()
    tag, request = await backup
    assert request.state is RequestState.SUCCESS
    assert scene.world.count(Kind.SNAPSHOT) == 6
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert listed.keyspaces["shop"].tables == ["new", "orders", "users"]
    assert all(tag in node.snapshots for node in scene.nodes)


async def test_an_agent_that_comes_back_within_the_time_loses_nothing(scene: Scene) -> None:
    """An agent that is restarted during its upload resumes it; the backup is whole."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup(keep=False, copies=copies("there")))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.UPLOAD].wait(), 10)
    await scene.agents[0].stop()
    scene.nodes[0].gates[Kind.UPLOAD].set()
    await scene.agents[0].start()
    _, request = await backup
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.count(Kind.UPLOAD) == 3


async def test_an_agent_that_stays_away_is_named_and_the_others_copies_count(scene: Scene) -> None:
    """Other nodes go on; the state is partial."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup(keep=False, copies=copies("there")))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.UPLOAD].wait(), 10)
    await scene.agents[0].stop()
    _, request = await backup
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert list(request.error["fields"]["nodes"]) == [scene.nodes[0].address]
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert listed.state == "partial"


async def test_an_agent_that_forgot_the_destination_is_told_again(scene: Scene) -> None:
    """unknown_destination: the coordinator puts it again and asks once more."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].gates[Kind.SNAPSHOT] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup(keep=False, copies=copies("there")))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SNAPSHOT].wait(), 10)
    scene.nodes[1].destinations.clear()
    scene.nodes[1].gates[Kind.SNAPSHOT].set()
    _, request = await backup
    assert request.state is RequestState.SUCCESS, request
    assert "there" in scene.nodes[1].destinations


async def test_a_cancelled_backup_leaves_no_snapshot_and_isnt_listed(scene: Scene) -> None:
    """Cancel undoes: snapshots cleared, the destination marked."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup(keep=False, copies=copies("there")))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.UPLOAD].wait(), 10)
    [running] = await coordinator.store.requests.find(state=RequestState.RUNNING)
    await coordinator.orchestrator.cancel(running.id, force=False)
    _, request = await backup
    assert request.state is RequestState.CANCELLED, request
    assert not any(node.snapshots for node in scene.nodes)
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []


async def test_a_fresh_coordinator_lists_what_another_one_made(scene: Scene) -> None:
    """The destination is the truth: with its state lost, a coordinator that attaches again lists the same backups."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    fresh: ToyCoordinator = await scene.coordinator("another")
    await fresh.destination("mine", LocalSettings(path="there"))
    [listed] = await fresh.orchestrator.list_backups(CLUSTER, "mine")
    assert (listed.tag, listed.state) == (tag, "success")


async def test_a_record_that_can_t_be_put_at_once_is_put_again_and_else_it_is_owed(scene: Scene) -> None:
    """A listing that lacks a whole backup is mended while the request runs, or the result says so for good."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    node = scene.nodes[1]
    node.record_failures = [ToyFailure("destination_unavailable", "later") for _ in range(2)]
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request
    assert "owed_record" not in request.result
    assert all(place.records[tag][-1].state == "success" for place in scene.world.places.values())
    node.record_failures = [ToyFailure("destination_unavailable", "later") for _ in range(20)]
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.result["owed_record"] == {"there": [node.address]}
    assert any(node.address in warning for warning in request.result["warnings"])
    ended = [place.records[tag][-1].state for place in scene.world.places.values() if tag in place.records]
    assert ended == ["success", "success"]


@pytest.mark.parametrize("shared", [False, True])
async def test_a_backup_whose_coordinator_lost_everything_is_listed_as_unfinished(scene: Scene, shared: bool) -> None:
    """The record that was put with the plan shows it to a coordinator that never heard of it, with what is really
    there, and not as a good backup until every manifest is."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=shared))
    late = scene.nodes[0]
    late.gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    await coordinator.orchestrator.start_backup(CLUSTER, order)
    await scene.until(lambda: scene.world.count(Kind.UPLOAD) == 2)
    await scene.stack.aclose()
    fresh: ToyCoordinator = await scene.coordinator("another")
    await fresh.destination("mine", LocalSettings(path="there", shared=shared))
    [listed] = await fresh.orchestrator.list_backups(CLUSTER, "mine")
    assert (listed.tag, listed.time, listed.state) == ("tag", 5.0, "unfinished")
    assert listed.state not in RESTORABLE, "only list_all=1 shows it"
    assert listed.missing == [NamedNode(late.address, late.host_id)]
    assert listed.keyspaces["shop"].nodes == [node.address for node in scene.nodes[1:]]
    late.gates[Kind.UPLOAD].set()
    await scene.until(lambda: scene.world.count(Kind.UPLOAD) == 3)
    [listed] = await fresh.orchestrator.list_backups(CLUSTER, "mine")
    assert (listed.state, listed.missing) == ("success", [])


async def all_but_one_copied(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator, and its backup `tag` to the shared place `there`: the upload of the first node is held up."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await scene.until(lambda: scene.world.count(Kind.UPLOAD) == 2)
    return coordinator, request_id


async def test_a_coordinator_that_goes_on_ends_the_running_record(scene: Scene) -> None:
    """While its own request runs the backup is running; the final record follows the first one."""
    _, request_id = await all_but_one_copied(scene)
    await scene.stack.aclose()
    again = await scene.coordinator()
    [listed] = await again.orchestrator.list_backups(CLUSTER, "there")
    assert listed.state == "running"
    scene.nodes[0].gates[Kind.UPLOAD].set()
    assert (await again.ended(request_id)).state is RequestState.SUCCESS
    assert [record.state for record in scene.world.places["there"].records["tag"]] == ["running", "success"]


async def test_a_backup_that_fails_doesn_t_stay_running(scene: Scene) -> None:
    """What the final record says of it is that it failed."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    scene.nodes[1].failures[Kind.SNAPSHOT] = [ToyFailure("not_enough_space", "5 % free")]
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.ERROR
    assert [record.state for record in scene.world.places["there"].records[tag]] == ["running", "failed"]


@pytest.mark.parametrize("shared", [False, True])
async def test_a_tag_that_another_backup_has_leaves_that_one_alone(scene: Scene, shared: bool) -> None:
    """Two coordinators, one tag: the second one's failure is not written over the first one's record."""
    settings = LocalSettings(path="there", shared=shared)
    first = await scene.coordinator()
    await first.destination("there", settings)
    order = BackupOrder("tag", 5, keep=False, copies=copies("there"))
    await first.ended(await first.orchestrator.start_backup(CLUSTER, order))
    second = await scene.coordinator("another")
    await second.destination("there", settings)
    other = msgspec.structs.replace(order, time=6)
    request = await second.ended(await second.orchestrator.start_backup(CLUSTER, other))
    assert request.state is RequestState.ERROR, request
    assert "another backup" in request.message
    [listed] = await second.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.time, listed.state) == (5.0, "success")


async def test_keys_that_are_refused_before_the_plan_are_waited_for_as_long_as_the_agent_says(scene: Scene) -> None:
    """`patience_seconds` holds for the plan as for commands; the request says what it waits for, and
    which node is refused."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    node = scene.nodes[1]
    node.plan_failures = [ToyFailure("storage_denied", "wrong keys", patience_seconds=60.0) for _ in range(1000)]
    await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5, keep=False, copies=copies("there")))
    request = await coordinator.until_says("tag", f"the keys of {node.address}: waiting for newer ones")
    node.plan_failures.clear()
    request = await coordinator.ended(request.id)
    assert (request.state, request.message) == (RequestState.SUCCESS, "done")
    node.plan_failures = [ToyFailure("storage_denied", "wrong keys", patience_seconds=0.1) for _ in range(1000)]
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert request.error["fields"]["nodes"][node.address]["code"] == "storage_denied"


async def test_a_node_whose_directory_takes_nothing_is_named_and_holds_up_nobody(scene: Scene) -> None:
    """Promise: a read-only mount is no matter of keys: the other nodes have their part, the request names the node."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    node = scene.nodes[1]
    node.plan_failures = [ToyFailure("destination_read_only", "/b is mounted read-only") for _ in range(1000)]
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.ERROR
    assert node.address in request.message
    assert "/b is mounted read-only" in request.message
    assert request.error is not None
    assert list(request.error["fields"]["nodes"]) == [node.address]


async def test_a_backup_that_waits_for_keys_can_be_cancelled(scene: Scene) -> None:
    """At once, and without a mark where nothing was written: that would wait for the same keys."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    for node in scene.nodes:
        node.plan_failures = [ToyFailure("storage_denied", "wrong keys", patience_seconds=60.0) for _ in range(1000)]
    request_id = await coordinator.orchestrator.start_backup(
        CLUSTER, BackupOrder("tag", 5, keep=False, copies=copies("there"))
    )
    await scene.until(lambda: len(scene.nodes[2].plan_failures) < 999)
    await coordinator.orchestrator.cancel(request_id, force=False)
    assert (await coordinator.ended(request_id)).state is RequestState.CANCELLED
    assert "tag" not in scene.world.places["there"].marks


async def test_a_cancelled_backup_ends_while_another_ones_copies_go_on(scene: Scene) -> None:
    """To undo it its snapshots are cleared and its place is marked: neither waits for what the agents copy for others,
    whether the cancelled copy stood behind that or was stopped before it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    for node in scene.nodes:
        node.gates[Kind.UPLOAD] = asyncio.Event()
    start = coordinator.orchestrator.start_backup
    ids = [await start(CLUSTER, BackupOrder(f"t{n}", n, keep=False, copies=copies("there"))) for n in (5, 6, 7)]
    await scene.until(lambda: all(agent.runner.unfinished == 3 for agent in scene.agents))
    for one in (ids[1], ids[0]):
        await coordinator.orchestrator.cancel(one, force=False)
        assert (await coordinator.ended(one)).state is RequestState.CANCELLED
    assert all([*node.snapshots] == ["t7"] for node in scene.nodes)
    assert {mark for mark in scene.world.places["there"].marks if not mark.startswith("nonce")} == {"t5", "t6"}
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    assert (await coordinator.ended(ids[2])).state is RequestState.SUCCESS
