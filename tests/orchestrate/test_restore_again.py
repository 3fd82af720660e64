"""A restore that stopped past the point of no return, sent again: it goes on where it stopped, and is finished."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import PastThePointOfReturn
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, add_rows, backed_up, restored


async def test_past_truncate_only_force_cancels_and_the_same_restore_goes_on(scene: Scene) -> None:
    """409 past_the_point_of_return; forced, it says how to finish; posted again it finishes without a second
    truncate."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    node = scene.nodes[1]
    node.gates[Kind.IMPORT] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(node.begun[Kind.IMPORT].wait(), 10)
    with pytest.raises(PastThePointOfReturn):
        await coordinator.orchestrator.cancel(request_id, force=False)
    await coordinator.orchestrator.cancel(request_id, force=True)
    [command] = [view.id for view in await scene.agents[1].runner.views() if view.kind == "import"]
    await scene.until(lambda: scene.agents[1].runner._live[command].stop_requested)
    node.gates.pop(Kind.IMPORT).set()
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED, request
    assert request.result["resumable_job"] == request_id
    again = await restored(coordinator, tag)
    assert again.id != request_id
    assert again.state is RequestState.SUCCESS, again
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1
    assert not any(each.held for each in scene.nodes)


async def test_a_truncate_of_more_tables_than_its_time_allows_goes_on_in_further_commands(scene: Scene) -> None:
    """Each goes on behind the last; a restore of hundreds of tables doesn't end with its tables empty."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    scene.nodes[0].failures[Kind.TRUNCATE] = [ToyFailure("too_late", "its time has passed") for _ in range(6)]
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
    assert scene.world.rows() == before


async def test_a_refused_cancel_says_whether_tables_were_changed(scene: Scene) -> None:
    """While the truncate is under way nobody knows; afterwards they were."""
    coordinator, tag = await backed_up(scene)
    truncating, importing = (scene.nodes[0], Kind.TRUNCATE), (scene.nodes[1], Kind.IMPORT)
    for node, kind in (truncating, importing):
        node.gates[kind] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    for (node, kind), told in ((truncating, "doesn't know yet what became of it"), (importing, "has changed tables")):
        await asyncio.wait_for(node.begun[kind].wait(), 10)
        with pytest.raises(PastThePointOfReturn, match=told):
            await coordinator.orchestrator.cancel(request_id, force=False)
        node.gates[kind].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_node_that_cant_import_is_named_and_the_same_restore_finishes_it(scene: Scene) -> None:
    """After the point of return the others go on; views are owed; the same order again imports only what is left."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    scene.nodes[1].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    request = await restored(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert list(request.error["fields"]["nodes"]) == [scene.nodes[1].address]
    assert request.result["owed_views"] == [VIEW.statement]
    scene.nodes[1].failures.clear()
    again = await restored(coordinator, tag)
    assert again.state is RequestState.SUCCESS, again
    assert scene.world.rows() == before
    assert scene.world.count(Kind.IMPORT) == 3
    assert scene.world.count(Kind.TRUNCATE) == 1
    assert scene.world.views == {("shop", VIEW.name): VIEW}


async def test_in_which_order_tables_and_nodes_are_named_makes_no_other_restore(scene: Scene) -> None:
    """Promise: while it runs the answer is its id; after it stopped, its job goes on, and what was imported isn't
    emptied once more."""
    coordinator, tag = await backed_up(scene)
    before = scene.world.rows()
    first, second, node = scene.nodes
    orders = [
        RestoreOrder(tag, "there", {"shop": RestoreTables(tables, truncate=True)}, excluded_nodes=nodes, force=True)
        for tables, nodes in (
            (["orders", "users"], [first.address, second.address]),
            (["users", "orders"], [second.address, first.address]),
        )
    ]
    node.gates[Kind.IMPORT] = asyncio.Event()
    node.failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full")]
    ids = [await coordinator.orchestrator.start_restore(CLUSTER, order) for order in orders]
    assert ids == [ids[0]] * 2
    node.gates.pop(Kind.IMPORT).set()
    assert (await coordinator.ended(ids[0])).result["resumable_job"] == ids[0]
    again = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, orders[1]))
    assert again.result["job"] == ids[0]
    assert scene.world.count(Kind.TRUNCATE) == 1
    assert scene.world.rows()[node.host_id] == before[node.host_id]


async def test_a_node_whose_check_finds_too_little_imports_when_the_same_restore_is_sent_again(scene: Scene) -> None:
    """Only that node fetches, imports and is checked again; nothing is truncated twice, and what was cleaned stays so.
    Views are made last of all, for an import doesn't fill them."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    node = scene.nodes[1]
    node.failures[Kind.CHECK] = [ToyFailure("counts_differ", "not what the backup has")]
    request = await restored(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert request.error["fields"]["nodes"][node.address]["code"] == "counts_differ"
    assert node.address not in request.result["imported"]
    assert request.result["owed_views"] == [VIEW.statement]
    assert not scene.world.views
    assert [each.held != {} for each in scene.nodes] == [False, True, False]
    node.rows["shop", "orders"].clear()
    again = await restored(coordinator, tag)
    assert again.state is RequestState.SUCCESS, again
    assert scene.world.rows() == before
    assert len(again.result["imported"]) == 3
    assert [sum(kind is Kind.IMPORT for kind, _ in each.done) for each in scene.nodes] == [1, 2, 1]
    assert [sum(kind is Kind.FETCH for kind, _ in each.done) for each in scene.nodes] == [1, 2, 1]
    assert scene.world.count(Kind.TRUNCATE) == 1
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert not any(each.held for each in scene.nodes)


async def test_a_stopped_restore_that_is_sent_again_by_force_is_judged_anew(scene: Scene) -> None:
    """A table that changed after the first verdict stops the restore; `force_schema` of the second call counts, views
    and tables that the first call was going to make are made, and nothing is truncated twice."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    del scene.world.tables["shop"]["users"]
    for node in scene.nodes:
        del node.rows["shop", "users"]
        node.failures[Kind.SCHEMA] = [ToyFailure("schema_differs", "shop.users differs") for _ in range(3)]
    stopped = await restored(coordinator, tag)
    assert stopped.state is RequestState.ERROR
    assert scene.world.count(Kind.TRUNCATE) == 1
    for node in scene.nodes:
        node.failures.clear()
        node.rows["shop", "users"] = {"of other columns"}
    scene.world.tables["shop"]["users"] = "11111111-1111-1111-1111-111111111111"
    scene.world.columns["shop", "users"] = "b text"
    forced = await restored(coordinator, tag, force_schema=True)
    assert forced.state is RequestState.SUCCESS, forced
    assert scene.world.columns == {}
    assert scene.world.rows() == before
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_a_stopped_restore_that_is_sent_again_by_force_leaves_a_lost_node_out(scene: Scene) -> None:
    """Without `force` it would wait for that node's agent for ever; with it the others are restored, and the node is
    named."""
    coordinator, tag = await backed_up(scene)
    add_rows(scene)
    del scene.world.tables["shop"]["users"]
    for node in scene.nodes:
        del node.rows["shop", "users"]
        node.failures[Kind.SCHEMA] = [ToyFailure("no_room", "stopped here") for _ in range(3)]
    assert (await restored(coordinator, tag)).state is RequestState.ERROR
    for node in scene.nodes:
        node.failures.clear()
    await scene.agents[2].stop()
    plain = await restored(coordinator, tag)
    assert plain.state is RequestState.ERROR
    forced = await restored(coordinator, tag, force=True)
    assert (forced.state, forced.partial) == (RequestState.ERROR, True), forced
    assert forced.result["nodes_not_restored"] == [scene.nodes[2].address]
    assert sorted(forced.result["imported"]) == sorted(node.address for node in scene.nodes[:2])
    assert scene.world.count(Kind.TRUNCATE) == 1
