"""Archiving of the commit log, switched on and off by rolling restarts."""

import asyncio

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings
from coordinator.model.errors import DestinationInUse, InvalidArguments, NoSuchDestination
from coordinator.model.orders import ArchivingOrder, BackupOrder, DestinationOrder, LogCopy, RestoreOrder, SyncOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.archiving.errors import ArchivingChanging, DestinationArchives
from coordinator.orchestrate.errors import MissingNodes, RestoreRunning
from kit.errors import HelenusError
from tests.cluster.toy_archiving import grows, ordinary_restart
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

ON = ArchivingOrder(True, [LogCopy("there", True, 5)], directory="/log", drain=True)
OFF = ArchivingOrder(False)


async def archiving(scene: Scene, order: ArchivingOrder = ON, state: str = "coordinator") -> ToyCoordinator:
    """A coordinator with a destination, by which the order was carried out."""
    coordinator = await scene.coordinator(state)
    await coordinator.destination("there")
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, order))
    assert request.state is RequestState.SUCCESS, request
    return coordinator


def restarts(scene: Scene) -> list[int]:
    """How often each node was restarted."""
    return [len(agent.log.restarts) for agent in scene.agents]


async def test_archiving_is_switched_on_by_one_restart_of_each_node(scene: Scene) -> None:
    """Promise: every node archives after one drained restart; the same order again, or one with other targets or
    limits only, restarts nobody; switched off, each is restarted once more."""
    coordinator = await archiving(scene)
    assert restarts(scene) == [1, 1, 1]
    assert all(agent.log.restarts == [True] for agent in scene.agents)
    status = await coordinator.archiving.status(CLUSTER)
    assert (status.enabled, [node.state for node in status.nodes]) == (True, ["on"] * 3)
    assert not any(node.without for node in status.nodes)
    await coordinator.destination("other")
    for order in (ON, ArchivingOrder(True, [LogCopy("other")], keep=True)):
        request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, order))
        assert (request.state, request.result["restarted"]) == (RequestState.SUCCESS, [])
    assert {agent.log.order.directory for agent in scene.agents if agent.log.order} == {"/log"}
    assert [*scene.agents[0].log.view().places] == ["other", ON_SERVER]
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, OFF))
    assert (request.state, restarts(scene)) == (RequestState.SUCCESS, [2, 2, 2])
    status = await coordinator.archiving.status(CLUSTER)
    assert (status.enabled, [node.state for node in status.nodes]) == (False, ["off"] * 3)
    again = await coordinator.ended(await coordinator.archiving.start(CLUSTER, OFF))
    assert (again.state, restarts(scene)) == (RequestState.SUCCESS, [2, 2, 2])


async def test_where_nobody_ever_archived_no_node_is_told_of(scene: Scene) -> None:
    """Promise: a cluster that never was told to archive has no node that does so against an order."""
    coordinator = await scene.coordinator()
    status = await coordinator.archiving.status(CLUSTER)
    assert (status.enabled, [node.without for node in status.nodes]) == (False, [""] * 3)


async def test_the_time_that_is_safe_is_told_by_node(scene: Scene) -> None:
    """Promise: per node the time up to which all is safe; what an agent told last stays true while it doesn't answer; a
    destination that isn't known is refused."""
    coordinator = await archiving(scene)
    assert set((await coordinator.archiving.logs(CLUSTER, None)).values()) == {None}
    times = {agent.node.address: grows(agent.log) for agent in scene.agents}
    assert await coordinator.archiving.logs(CLUSTER, None) == times
    assert await coordinator.archiving.logs(CLUSTER, "there") == times
    assert set((await coordinator.archiving.logs(CLUSTER, ON_SERVER)).values()) == {None}
    await scene.agents[2].stop()
    assert await coordinator.archiving.logs(CLUSTER, None) == times
    with pytest.raises(NoSuchDestination):
        await coordinator.archiving.logs(CLUSTER, "nowhere")


async def test_two_orders_at_once_are_one_or_a_conflict(scene: Scene) -> None:
    """Promise: the same order while it runs is answered with its id, another one refused; so is a restore, whose nodes
    must not be stopped, and archiving while a restore runs."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    gate = scene.nodes[0].gates[Kind.RESTART] = asyncio.Event()
    first, second = await asyncio.gather(*(coordinator.archiving.start(CLUSTER, ON) for _ in range(2)))
    assert first == second
    await scene.nodes[0].begun[Kind.RESTART].wait()
    with pytest.raises(ArchivingChanging):
        await coordinator.archiving.start(CLUSTER, OFF)
    restore = RestoreOrder(tag, "there")
    with pytest.raises(ArchivingChanging):
        await coordinator.orchestrator.start_restore(CLUSTER, restore)
    gate.set()
    assert (await coordinator.ended(first)).state is RequestState.SUCCESS
    gate = scene.nodes[0].gates[Kind.FETCH] = asyncio.Event()
    running = await coordinator.orchestrator.start_restore(CLUSTER, restore)
    with pytest.raises(RestoreRunning):
        await coordinator.archiving.start(CLUSTER, OFF)
    gate.set()
    assert (await coordinator.ended(running)).state is RequestState.SUCCESS


async def test_a_node_that_is_missing_while_nodes_are_restarted_is_not_to_be_started_by_hand(scene: Scene) -> None:
    """Promise: a backup, a sync or a restore that is refused for it names the request that restarts nodes, and the
    nodes; once that has ended, what is missing is to be started."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=[])
    gate = scene.nodes[0].gates[Kind.RESTART] = asyncio.Event()
    request_id = await coordinator.archiving.start(CLUSTER, ON)
    await scene.nodes[0].begun[Kind.RESTART].wait()
    orchestrator, away = coordinator.orchestrator, scene.nodes[0]
    away.up = False

    async def refusals() -> list[HelenusError]:
        found: list[HelenusError] = []
        for start in (
            orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5)),
            orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there"))),
            orchestrator.start_restore(CLUSTER, RestoreOrder(tag)),
        ):
            with pytest.raises((ArchivingChanging, MissingNodes)) as refused:
                await start
            found.append(refused.value)
        return found

    for error in await refusals():
        assert (error.code, error.fields["request"]) == ("archiving_changing", request_id)
        assert error.fields["missing_nodes"] == [away.address]
        assert away.address in error.message
    await orchestrator.cancel(request_id, force=False)
    away.up = True
    gate.set()
    await coordinator.ended(request_id)
    away.up = False
    assert {error.code for error in await refusals()} == {"missing_nodes"}


async def test_a_restart_that_fails_stops_there(scene: Scene) -> None:
    """Promise: no node is restarted after the one that failed; the request names who archives and who doesn't yet, and
    the same order again goes on with these alone."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].failures[Kind.RESTART] = [ToyFailure("start_failed", "it doesn't start") for _ in range(4)]
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert request.error is not None
    assert request.error["code"] == "rolling_restart_stopped"
    addresses = [node.address for node in scene.nodes]
    assert (request.error["fields"]["done"], request.error["fields"]["left"]) == (addresses[:1], addresses[1:])
    assert "it doesn't start" in request.message
    assert restarts(scene) == [1, 0, 0]
    without = [node.address for node in (await coordinator.archiving.status(CLUSTER)).nodes if node.without]
    assert without == addresses[1:]
    scene.nodes[1].failures.clear()
    again = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert (again.state, again.result["restarted"]) == (RequestState.SUCCESS, addresses[1:])
    assert restarts(scene) == [1, 1, 1]


async def test_nobody_is_restarted_beside_a_node_that_is_down(scene: Scene) -> None:
    """Promise: a node that goes down meanwhile is waited for, and its absence ends the restarts; one that is down at
    the beginning refuses the order, unless it is forced: then the others archive, and it is named."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    gate = scene.nodes[0].gates[Kind.RESTART] = asyncio.Event()
    request_id = await coordinator.archiving.start(CLUSTER, ON)
    await scene.nodes[0].begun[Kind.RESTART].wait()
    scene.nodes[2].up = False
    for node in scene.nodes[:2]:
        node.held_up[3] = False
    scene.agents[0].log.beside.add(scene.nodes[2].address)
    gate.set()
    request = await coordinator.ended(request_id)
    assert request.error is not None
    assert (request.error["code"], restarts(scene)) == ("cluster_not_whole", [1, 0, 0])
    assert scene.nodes[2].address in request.message
    with pytest.raises(MissingNodes):
        await coordinator.archiving.start(CLUSTER, ON)
    scene.agents[1].log.beside.add(scene.nodes[2].address)
    forced = ArchivingOrder(True, ON.copies, directory="/log", partial=True)
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, forced))
    assert (request.state, restarts(scene)) == (RequestState.SUCCESS, [1, 1, 0])
    assert scene.nodes[2].address in request.result["warnings"][0]


async def test_an_order_that_no_node_takes_changes_nothing(scene: Scene) -> None:
    """Promise: a directory that agents refuse leaves the former order in force, and restarts nobody."""
    coordinator = await archiving(scene)
    for node in scene.nodes:
        node.failures[Kind.ARCHIVE] = [ToyFailure("archiving_refused", "no such directory")]
    other = ArchivingOrder(True, [], keep=True, directory="/other")
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, other))
    assert (request.state, restarts(scene)) == (RequestState.ERROR, [1, 1, 1])
    assert (await coordinator.archiving.status(CLUSTER)).order == ON


async def test_a_directory_that_some_nodes_take_is_not_taken_again_unawares(scene: Scene) -> None:
    """Promise: where some nodes refuse a directory it stays in force for the others, restarts nobody, and the message
    says that an order without one takes it again; another one ends that."""
    coordinator = await archiving(scene)
    scene.nodes[2].failures[Kind.ARCHIVE] = [ToyFailure("archiving_refused", "it belongs to another node")]
    shared = ArchivingOrder(True, [], keep=True, directory="/shared")
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, shared))
    assert (request.state, restarts(scene)) == (RequestState.ERROR, [1, 1, 1])
    assert "/shared stays ordered" in request.message
    assert f"name another backup_directory, or DELETE /{CLUSTER}/backups/pit" in request.message
    scene.nodes[2].failures[Kind.ARCHIVE] = [ToyFailure("storage_unavailable", "the store is away")] * 9
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, shared))
    assert "stays ordered" not in request.message
    scene.nodes[2].failures.clear()
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert request.state is RequestState.SUCCESS
    assert {agent.log.order.directory for agent in scene.agents if agent.log.order} == {"/log"}


async def test_a_cassandra_that_reads_another_file_is_told(scene: Scene) -> None:
    """Promise: where the restart changed nothing, because Cassandra reads another properties file, that is an error."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.agents[1].log.refuses = True
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert request.error is not None
    assert (request.error["code"], request.partial) == ("archiving_not_taken", True)
    assert [*request.error["fields"]["nodes"]] == [scene.nodes[1].address]


async def test_a_destination_that_is_archived_to_stays(scene: Scene) -> None:
    """Promise: its settings can't be deleted, nor moved to another place, before archiving goes elsewhere; one that is
    forgotten after its first backup can't be archived to."""
    coordinator = await archiving(scene)
    delete = DestinationOrder("delete", "there")
    move = DestinationOrder("update", "there", LocalSettings(path="elsewhere"))
    for order in (delete, move):
        with pytest.raises(DestinationArchives):
            await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    await coordinator.ended(await coordinator.archiving.start(CLUSTER, OFF))
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, delete)
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    with pytest.raises(NoSuchDestination):
        await coordinator.archiving.start(CLUSTER, ON)
    once = DestinationOrder("add", "once", LocalSettings(path="once"), one_shot=True)
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, once)
    await coordinator.ended(change.request_id)
    with pytest.raises(InvalidArguments):
        await coordinator.archiving.start(CLUSTER, ArchivingOrder(True, [LogCopy("once")]))
    assert issubclass(DestinationArchives, DestinationInUse)


async def test_a_cancel_stops_between_two_nodes(scene: Scene) -> None:
    """Promise: the node that is being restarted comes back, no other one is restarted, and the message says who
    archives."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    sleeping = ArchivingOrder(True, ON.copies, sleep=3_600.0)
    request_id = await coordinator.archiving.start(CLUSTER, sleeping)
    await coordinator.until_says("", "1 of 3 nodes are restarted; the next one follows after 3600 s")
    assert restarts(scene) == [1, 0, 0]
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    assert (request.state, restarts(scene)) == (RequestState.CANCELLED, [1, 0, 0])
    assert scene.nodes[0].address in request.message


async def test_a_pause_is_told_as_long_as_it_lasts(scene: Scene) -> None:
    """Promise: what is said between two nodes is gone when the next one is restarted."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    gate = scene.nodes[1].gates[Kind.RESTART] = asyncio.Event()
    request_id = await coordinator.archiving.start(CLUSTER, ArchivingOrder(True, ON.copies, sleep=0.01))
    await scene.nodes[1].begun[Kind.RESTART].wait()
    assert (request := await coordinator.store.requests.get(request_id)) is not None
    assert request.message == ""
    gate.set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_new_coordinator_goes_on_with_the_restarts(scene: Scene) -> None:
    """Promise: stopped while a node is restarted, it finds how that ended and does every node once; one that lost its
    state is told by the agents that they archive."""
    first = ToyCoordinator(scene.directory / "coordinator", [agent.url for agent in scene.agents])
    async with first as coordinator:
        await coordinator.destination("there")
        gate = scene.nodes[1].gates[Kind.RESTART] = asyncio.Event()
        request_id = await coordinator.archiving.start(CLUSTER, ON)
        await scene.nodes[1].begun[Kind.RESTART].wait()
    gate.set()
    coordinator = await scene.coordinator()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert restarts(scene) == [1, 1, 1]
    fresh = await scene.coordinator("fresh")
    status = await fresh.archiving.status(CLUSTER)
    assert (status.enabled, status.order and status.order.copies[0].destination) == (True, "there")


async def test_an_agent_that_dies_in_a_restart_is_told_again(scene: Scene) -> None:
    """Promise: its command ends interrupted, the node is restarted by a new one, and the others follow."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].gates[Kind.RESTART] = asyncio.Event()
    request_id = await coordinator.archiving.start(CLUSTER, ON)
    await scene.nodes[1].begun[Kind.RESTART].wait()
    await scene.agents[1].stop()
    scene.nodes[1].gates.clear()
    await scene.agents[1].start()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert restarts(scene) == [1, 1, 1]


async def test_a_person_s_restart_is_not_needed_twice(scene: Scene) -> None:
    """Promise: a node whose Cassandra was restarted since it was told isn't restarted again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].failures[Kind.RESTART] = [ToyFailure("start_failed", "no") for _ in range(4)]
    await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    ordinary_restart(scene.agents[1].log)
    scene.nodes[0].failures.clear()
    again = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert (again.state, restarts(scene)) == (RequestState.SUCCESS, [1, 0, 1])


async def test_a_snapshot_that_is_being_taken_is_waited_for(scene: Scene) -> None:
    """Promise: no node is restarted while a backup takes its snapshot there; the request says what it waits for, and
    both end well."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    gate = scene.nodes[0].gates[Kind.SNAPSHOT] = asyncio.Event()
    backup = asyncio.create_task(coordinator.backup(keep=False, copies=copies("there")))
    await scene.nodes[0].begun[Kind.SNAPSHOT].wait()
    request_id = await coordinator.archiving.start(CLUSTER, ON)
    await coordinator.until_says("", "waits for the snapshot")
    assert restarts(scene) == [0, 0, 0]
    gate.set()
    _, taken = await backup
    assert (taken.state, (await coordinator.ended(request_id)).state) == (RequestState.SUCCESS,) * 2
    assert restarts(scene) == [1, 1, 1]


async def test_an_agent_that_forgot_the_destination_is_taught_it(scene: Scene) -> None:
    """Promise: an agent that lost its state is given the settings, and archives as the others."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].destinations.clear()
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert (request.state, [*scene.nodes[1].destinations]) == (RequestState.SUCCESS, ["there"])
