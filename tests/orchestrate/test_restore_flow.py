"""What a restore order makes of three nodes: barriers, what happens once only, and what is undone."""

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from agent.wire.results import ViewCql
from coordinator.model.errors import NoSuchBackup, TagInUse, UnknownKeyspace
from coordinator.model.orders import DeleteOrder, RestoreOrder, RestoreTables
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import (
    BackupDeleted,
    KeyspaceRefused,
    MissingNodes,
    TopologyDiffers,
)
from tests.cluster.toy_cluster import ToyFailure, ToyNode
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

VIEW = ViewCql("shop", "orders_by_day", "orders", "shop orders_by_day orders")


async def backed_up(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator and the tag of a backup in the destination `there`."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS
    return coordinator, tag


async def restored(coordinator: ToyCoordinator, tag: str, **changes: object) -> Request:
    """Restore everything with truncate, unless told otherwise; the ended request."""
    order = RestoreOrder(tag, destination="there", truncate=True, **changes)  # type: ignore[arg-type]
    return await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))


def add_rows(scene: Scene) -> None:
    """Rows that came after the backup."""
    for node in scene.nodes:
        node.rows["shop", "orders"].add(f"later {node.number}")


async def test_every_node_gets_its_own_rows_back_after_one_truncate(scene: Scene) -> None:
    """Whole cluster: rows equal to the backup's, one TRUNCATE, staging gone, cleanup advised."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    add_rows(scene)
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1
    assert scene.world.count(Kind.IMPORT) == 3
    assert not any(node.held for node in scene.nodes)
    assert any("nodetool cleanup" in warning for warning in request.result["warnings"])
    [owed] = [warning for warning in request.result["warnings"] if "truncated-*" in warning]
    assert "(3 over all nodes, 150 bytes, earlier ones included)" in owed, "once, over all nodes"
    assert "clearsnapshot -t <tag>" in owed
    assert set(request.keyspaces) == {"shop", "many"}


async def test_a_dropped_table_is_made_again_and_a_lost_keyspace_too(scene: Scene) -> None:
    """A dropped keyspace or table is created by one agent before any import."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    del scene.world.tables["many"]
    del scene.world.tables["shop"]["users"]
    for node in scene.nodes:
        del node.rows["many", "t1"], node.rows["shop", "users"]
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before
    assert scene.world.count(Kind.SCHEMA) == 1


async def test_one_table_only_is_touched_when_only_one_is_asked_for(scene: Scene) -> None:
    """One table of two: the others keep what came after the backup."""
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:
        node.rows["shop", "orders"].clear()
        node.rows["shop", "users"].add("later")
    request = await restored(coordinator, tag, keyspaces={"shop": RestoreTables(["orders"], truncate=True)})
    assert request.state is RequestState.SUCCESS
    assert all("later" in node.rows["shop", "users"] for node in scene.nodes)
    assert all(len(node.rows["shop", "orders"]) == 3 for node in scene.nodes)


async def test_a_keyspace_that_is_never_emptied_is_restored_beside_one_that_is(scene: Scene) -> None:
    """Roles come back merged while a keyspace named beside them is emptied; asked to be emptied, they are named."""
    coordinator, tag = await backed_up(scene)
    add_rows(scene)
    scene.nodes[0].rows["system_auth", "roles"].add("a later role")
    both = {"shop": RestoreTables(truncate=True), "system_auth": RestoreTables()}
    request = await restored(coordinator, tag, keyspaces=both)
    assert request.state is RequestState.SUCCESS, request
    assert all(len(node.rows["shop", "orders"]) == 3 for node in scene.nodes)
    assert "a later role" in scene.nodes[0].rows["system_auth", "roles"]
    with pytest.raises(KeyspaceRefused, match="system_auth") as refused:
        await restored(coordinator, tag, keyspaces={**both, "system_auth": RestoreTables(truncate=True)})
    assert refused.value.fields["keyspaces"] == ["system_auth"]


async def test_views_are_dropped_before_and_made_again_after(scene: Scene) -> None:
    """Live views of the asked tables go first and come back last."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert scene.world.count(Kind.DROP_VIEWS) == scene.world.count(Kind.CREATE_VIEWS) == 1


async def test_a_view_that_is_gone_is_made_as_it_was_in_the_backup(scene: Scene) -> None:
    """Promise: what a dropped view showed is shown again, whoever dropped it: a person, or a restore that never came to
    make it; the answer names it."""
    scene.world.backup_views = [VIEW]
    coordinator, tag = await backed_up(scene)
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert any(f"views shop.{VIEW.name}, of the backup" in text for text in request.result["warnings"])
    assert scene.world.count(Kind.DROP_VIEWS) == 0


async def test_nothing_is_touched_before_every_node_has_fetched(scene: Scene) -> None:
    """The barrier before anything destructive; a node that can't fetch aborts the whole and leaves no staging, and the
    message says that no table was changed."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    add_rows(scene)
    before = scene.world.rows()
    scene.nodes[2].failures[Kind.FETCH] = [ToyFailure("object_damaged", "digest") for _ in range(5)]
    request = await restored(coordinator, tag)
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert request.error["fields"]["nodes"][scene.nodes[2].address]["code"] == "object_damaged"
    assert request.message.endswith("digest; no table was changed")
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == scene.world.count(Kind.DROP_VIEWS) == 0
    assert not any(node.held for node in scene.nodes)


async def test_cancel_while_a_node_fetches_leaves_all_as_it_was(scene: Scene) -> None:
    """What was fetched goes, no row is lost, and views aren't so much as touched."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    add_rows(scene)
    before = scene.world.rows()
    first = scene.nodes[0]
    first.gates[Kind.FETCH] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(first.begun[Kind.FETCH].wait(), 10)
    slower = msgspec.structs.replace(order, throttle_bytes_per_second=5)
    for again in (order, slower):
        assert await coordinator.orchestrator.start_restore(CLUSTER, again) == request_id
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED
    assert [each for each in request.result["warnings"] if "another throttle" in each], "said, not silently ignored"
    assert scene.world.rows() == before
    assert scene.world.count(Kind.DROP_VIEWS) == scene.world.count(Kind.CREATE_VIEWS) == 0
    assert not any(node.held for node in scene.nodes)


async def test_an_interrupted_import_goes_on_by_a_new_command_of_the_same_job(scene: Scene) -> None:
    """An agent restarted during its import ends it `interrupted`; the coordinator tells it again."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    node = scene.nodes[2]
    node.gates[Kind.IMPORT] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(node.begun[Kind.IMPORT].wait(), 10)
    await scene.agents[2].stop()
    node.gates.pop(Kind.IMPORT).set()
    await scene.agents[2].start()
    request = await restore
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before


async def test_a_truncate_of_unknown_outcome_holds_all_imports_until_its_agent_answers(scene: Scene) -> None:
    """Frozen between check and TRUNCATE: nobody else truncates and nobody imports; thawed, all goes on."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    speaker = scene.nodes[0]
    speaker.gates[Kind.TRUNCATE] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(speaker.begun[Kind.TRUNCATE].wait(), 10)
    scene.agents[0].freeze()
    [running] = await coordinator.store.requests.find(state=RequestState.RUNNING)

    async def said_to_be_lost() -> None:
        while True:
            parts = await coordinator.orchestrator.progress(running.id)
            codes = [error["code"] for part in parts if part.address == speaker.address for error in part.errors]
            if "agent_unreachable" in codes:
                return
            await asyncio.sleep(0.02)

    await asyncio.wait_for(said_to_be_lost(), 10)
    await asyncio.sleep(TIMING.agent_return * 1.5)  # longer than any other command would be waited for
    assert not restore.done()
    assert scene.world.count(Kind.IMPORT) == 0
    speaker.gates.pop(Kind.TRUNCATE).set()
    scene.agents[0].thaw()
    request = await restore
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.count(Kind.TRUNCATE) == 1
    assert scene.world.rows() == before


async def test_what_cant_be_restored_is_refused_at_once(scene: Scene) -> None:
    """Unknown tag and keyspace, system keyspaces, a deleted backup, a lost agent, another topology."""
    coordinator, tag = await backed_up(scene)
    start = coordinator.orchestrator.start_restore
    with pytest.raises(NoSuchBackup):
        await start(CLUSTER, RestoreOrder("nope", destination="there"))
    with pytest.raises(UnknownKeyspace):
        await start(CLUSTER, RestoreOrder(tag, destination="there", keyspaces={"nope": RestoreTables()}))
    with pytest.raises(KeyspaceRefused):
        await start(CLUSTER, RestoreOrder(tag, destination="there", keyspaces={"system_schema": RestoreTables()}))
    await scene.agents[1].stop()
    with pytest.raises(MissingNodes):
        await start(CLUSTER, RestoreOrder(tag, destination="there"))
    await scene.agents[1].start()
    scene.nodes[1].tokens = ["77"]
    with pytest.raises(TopologyDiffers) as refused:
        await start(CLUSTER, RestoreOrder(tag, destination="there"))
    assert "other tokens" in str(refused.value.fields["nodes"][scene.nodes[1].address])  # type: ignore[index]
    scene.nodes[1].tokens = ["2000", "2500"]
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    with pytest.raises((BackupDeleted, NoSuchBackup)):
        await start(CLUSTER, RestoreOrder(tag, destination="there"))


async def test_a_rebuilt_node_takes_the_part_of_the_one_it_replaces(scene: Scene) -> None:
    """Same tokens, new host id: the mapping sends it the old node's manifest."""
    coordinator, tag = await backed_up(scene)
    before = {node.number: dict(node.rows) for node in scene.nodes}
    node: ToyNode = scene.nodes[2]
    node.host_id = "99999999-9999-9999-9999-999999999999"
    node.rows = {key: set() for key in node.rows}
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert node.rows["shop", "orders"] == before[3]["shop", "orders"]


async def test_a_schema_that_differs_is_shown_and_force_schema_replaces_it(scene: Scene) -> None:
    """Without force_schema the difference is an error that shows both; with it the table is made anew."""
    coordinator, tag = await backed_up(scene)
    scene.world.columns["shop", "orders"] = "a text"
    with capture_logs() as logged:
        request = await restored(coordinator, tag)
    [ended] = [each for each in logged if each["event"] == "request ended"]
    assert (ended["log_level"], ended["code"]) == ("warning", "restore_refused")
    assert request.state is RequestState.ERROR
    assert request.error is not None
    [refusal] = request.error["fields"]["refusals"]
    assert (refusal["code"], refusal["lifted_by"]) == ("schema_differs", "force_schema")
    assert request.message.endswith("; no table was changed")
    assert (refusal["fields"]["backup"], refusal["fields"]["live"]) == ("a int", "a text")
    forced = await restored(coordinator, tag, force_schema=True)
    assert forced.state is RequestState.SUCCESS, forced
    assert scene.world.columns == {}


async def test_a_running_restore_pins_its_backup(scene: Scene) -> None:
    """DELETE of what a restore reads: 409 backup_in_use, also by another destination with the same repository."""
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:  # a copy, which may be a mirror
        held = scene.world.places[f"{node.number}:there"]
        scene.world.places[f"{node.number}:copy"] = msgspec.structs.replace(held, marks=set())
    await coordinator.destination("same-place", LocalSettings(path="copy"))
    scene.nodes[0].gates[Kind.FETCH] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.FETCH].wait(), 10)
    for place in ("there", "same-place"):
        with pytest.raises(TagInUse):
            await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place))
    scene.nodes[0].gates[Kind.FETCH].set()
    assert (await restore).state is RequestState.SUCCESS


async def test_excluded_nodes_are_not_restored_when_other_replicas_are(scene: Scene) -> None:
    """excluded-nodes: the others are restored, the excluded one is truncated too, and that is said."""
    coordinator, tag = await backed_up(scene)
    request = await restored(coordinator, tag, excluded_nodes=[scene.nodes[0].address])
    assert request.state is RequestState.SUCCESS, request
    assert scene.nodes[0].rows["shop", "orders"] == set()
    assert request.result["nodes_not_restored"] == [scene.nodes[0].address]
    assert any("truncated too" in warning for warning in request.result["warnings"])


async def test_ranges_without_a_restored_replica_need_force(scene: Scene) -> None:
    """Two of three excluded at a replication factor of two: some ranges would stay empty."""
    coordinator, tag = await backed_up(scene)
    excluded = [node.address for node in scene.nodes[:2]]
    request = await restored(coordinator, tag, excluded_nodes=excluded)
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert {refusal["code"] for refusal in request.error["fields"]["refusals"]} == {"ranges_uncovered"}
    forced = await restored(coordinator, tag, excluded_nodes=excluded, force=True)
    assert forced.state is RequestState.SUCCESS, forced


async def test_truncate_is_refused_with_a_node_down_even_by_force(scene: Scene) -> None:
    """TRUNCATE needs every node up."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[2].up = False
    request = await restored(coordinator, tag, force=True)
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert "nodes_down" in {refusal["code"] for refusal in request.error["fields"]["refusals"]}
    assert scene.world.count(Kind.TRUNCATE) == 0


async def test_only_force_goes_on_without_a_lost_truncate_and_not_before_the_margin(scene: Scene) -> None:
    """With the agent gone for good: force waits for not_after and the margin, then imports on the others, says that
    the outcome is unknown, and ends partial; nobody else truncates."""
    timing = msgspec.structs.replace(TIMING, fence=1.0, force_margin=0.5)
    coordinator = await scene.coordinator(timing=timing)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag, force=True))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
    scene.agents[0].freeze()
    request = await restore
    truncate = [each for each in await coordinator.store.commands.of(request.id) if each.kind is Kind.TRUNCATE]
    imports = [each for each in await coordinator.store.commands.of(request.id) if each.kind is Kind.IMPORT]
    assert len(truncate) == 1
    assert truncate[0].not_after is not None
    assert all(each.posted >= truncate[0].not_after + timing.force_margin for each in imports)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert any("without knowing" in warning for warning in request.result["warnings"])
    assert scene.world.count(Kind.IMPORT) == 2
    assert scene.world.count(Kind.TRUNCATE) == 0


async def test_cancel_while_views_are_being_dropped_brings_them_back(scene: Scene) -> None:
    """The drop can't be broken off; it is waited for, and then undone."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    speaker = scene.nodes[0]
    gate = speaker.gates[Kind.DROP_VIEWS] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(speaker.begun[Kind.DROP_VIEWS].wait(), 10)
    await coordinator.orchestrator.cancel(request_id, force=False)
    asyncio.get_running_loop().call_later(0.1, gate.set)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED, request
    assert request.message.endswith("; no table was changed; views that were dropped are made again")
    assert scene.world.count(Kind.DROP_VIEWS) == 1
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert scene.world.rows() == before
    assert not any(node.held for node in scene.nodes)


async def test_an_empty_keyspace_that_was_dropped_is_made_again(scene: Scene) -> None:
    """A keyspace without tables is part of a backup like any other."""
    scene.world.tables["empty"] = {}
    coordinator, tag = await backed_up(scene)
    del scene.world.tables["empty"]
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.tables["empty"] == {}
