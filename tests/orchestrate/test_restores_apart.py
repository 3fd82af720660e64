"""Restores that meet: over the same tables, one after the other, and with backups in between."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import pytest

from agent.wire.commands import Kind
from coordinator.fleet.errors import DuplicateHostId
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import RestoreRunning
from coordinator.orchestrate.scope import common_tables
from coordinator.orchestrate.side_by_side import one_error
from coordinator.store.database import Database, StoreFailed
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, backed_up, restored

T = TypeVar("T")


class FullDisk(Database):
    """A database that can't write the next time when it is told so."""

    fail_next = False

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self.fail_next:
            self.fail_next = False
            raise StoreFailed("the disk is full")
        return await super().write(function)


def only(keyspace: str, *tables: str) -> dict[str, RestoreTables]:
    return {keyspace: RestoreTables([*tables], truncate=True)}


async def test_two_restores_never_change_the_same_table_at_once(scene: Scene) -> None:
    """409 restore_running names the request; another table may be restored meanwhile, and this one afterwards."""
    coordinator, tag = await backed_up(scene)
    gate = scene.nodes[0].gates[Kind.FETCH] = asyncio.Event()
    first = asyncio.create_task(restored(coordinator, tag, keyspaces=only("shop", "orders")))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.FETCH].wait(), 10)
    [running] = await coordinator.store.requests.find(state=RequestState.RUNNING)
    everything = RestoreOrder(tag, destination="there", truncate=True)
    with pytest.raises(RestoreRunning) as refused:
        await coordinator.orchestrator.start_restore(CLUSTER, everything)
    assert (refused.value.code, refused.value.status) == ("restore_running", 409)
    assert (refused.value.fields["request"], refused.value.fields["tables"]) == (running.id, ["shop.orders"])
    other = RestoreOrder(tag, destination="there", keyspaces=only("shop", "users"))
    other_id = await coordinator.orchestrator.start_restore(CLUSTER, other)
    gate.set()
    assert (await first).state is RequestState.SUCCESS
    assert (await coordinator.ended(other_id)).state is RequestState.SUCCESS
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS


async def test_what_a_restore_has_emptied_does_not_wait_for_what_another_one_fetches(scene: Scene) -> None:
    """A fetch may take hours: the import of tables that are empty by now goes past it."""
    coordinator, tag = await backed_up(scene)
    truncating = scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
    scene.nodes[0].begun[Kind.TRUNCATE].clear()
    first = asyncio.create_task(restored(coordinator, tag, keyspaces=only("shop", "orders")))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
    for node in scene.nodes:
        node.gates[Kind.FETCH] = asyncio.Event()
        node.begun[Kind.FETCH].clear()
    other = RestoreOrder(tag, destination="there", keyspaces=only("shop", "users"))
    other_id = await coordinator.orchestrator.start_restore(CLUSTER, other)
    truncating.set()
    for node in scene.nodes:
        await asyncio.wait_for(node.begun[Kind.FETCH].wait(), 10)
    assert (await asyncio.wait_for(first, 10)).state is RequestState.SUCCESS
    for node in scene.nodes:
        node.gates[Kind.FETCH].set()
    assert (await coordinator.ended(other_id)).state is RequestState.SUCCESS


async def test_a_backup_taken_during_a_restore_of_its_tables_says_so(scene: Scene) -> None:
    """The warning names the restore; a backup of other tables has none."""
    coordinator, tag = await backed_up(scene)
    gate = scene.nodes[0].gates[Kind.FETCH] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag, keyspaces=only("shop", "orders")))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.FETCH].wait(), 10)
    [running] = await coordinator.store.requests.find(state=RequestState.RUNNING)
    _, warned = await coordinator.backup(keyspaces={"shop": []})
    _, quiet = await coordinator.backup(keyspaces={"many": []})
    assert warned.state is quiet.state is RequestState.SUCCESS
    [warning] = warned.result["warnings"]
    assert running.id in warning
    assert "shop.orders" in warning
    assert "warnings" not in quiet.result
    gate.set()
    assert (await restore).state is RequestState.SUCCESS


def test_tables_that_two_requests_share_are_named() -> None:
    """A keyspace without tables is shared as a whole."""
    assert common_tables({"a": ["x", "y"], "b": ["z"]}, {"a": ["y", "x"], "c": []}) == ["a.x", "a.y"]
    assert common_tables({"a": []}, {"a": ["x"]}) == ["a"]
    assert common_tables({"a": ["x"]}, {"a": ["y"]}) == []


async def test_views_that_could_not_be_made_are_made_by_the_same_restore_again(scene: Scene) -> None:
    """Only the views failed: the same restore goes on with its job, imports nothing twice, and makes them."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    speaker = scene.nodes[0]
    speaker.failures[Kind.CREATE_VIEWS] = [ToyFailure("cql_failed", "no") for _ in range(5)]
    request = await restored(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.result["owed_views"] == [VIEW.statement]
    assert request.result["resumable_job"] == request.id
    assert scene.world.views == {}
    speaker.failures.clear()
    again = await restored(coordinator, tag)
    assert again.state is RequestState.SUCCESS, again
    assert "owed_views" not in again.result
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert scene.world.rows() == before
    assert (scene.world.count(Kind.TRUNCATE), scene.world.count(Kind.IMPORT)) == (1, 3)


async def test_a_stopped_restore_is_not_gone_on_with_after_another_changed_its_tables(scene: Scene) -> None:
    """What it had truncated and imported is no longer what is there: a new job begins from the start, and says why."""
    coordinator, tag = await backed_up(scene)
    before = scene.world.rows()
    scene.nodes[1].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    stopped = await restored(coordinator, tag)
    assert stopped.result["resumable_job"] == stopped.id
    scene.nodes[1].failures.clear()
    between = await restored(coordinator, tag, keyspaces=only("shop", "orders"))
    assert between.state is RequestState.SUCCESS, between
    for node in scene.nodes:
        node.rows["shop", "orders"].add("later")
    again = await restored(coordinator, tag)
    assert again.state is RequestState.SUCCESS, again
    assert "job" not in again.result
    assert any(between.id in warning for warning in again.result["warnings"])
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 3


async def test_a_stopped_restore_is_gone_on_with_after_another_changed_other_tables(scene: Scene) -> None:
    """Nothing of it was touched: no second truncate."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[1].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    stopped = await restored(coordinator, tag, keyspaces=only("shop", "orders"))
    scene.nodes[1].failures.clear()
    assert (await restored(coordinator, tag, keyspaces=only("shop", "users"))).state is RequestState.SUCCESS
    again = await restored(coordinator, tag, keyspaces=only("shop", "orders"))
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, stopped.id)
    assert scene.world.count(Kind.TRUNCATE) == 2


async def test_a_restore_is_undone_when_the_coordinators_own_disk_fails_for_a_moment(scene: Scene) -> None:
    """The error of the store comes out as itself, so that what was fetched is removed again."""
    urls = [agent.url for agent in scene.agents]
    coordinator = await scene.stack.enter_async_context(
        ToyCoordinator(scene.directory / "coordinator", urls, database=FullDisk)
    )
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    gate = scene.nodes[0].gates[Kind.FETCH] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.FETCH].wait(), 10)
    database = coordinator.store._database
    assert isinstance(database, FullDisk)
    database.fail_next = True
    gate.set()
    request = await restore
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert request.error["code"] == "store_failed"
    assert not any(node.held for node in scene.nodes)
    assert scene.world.count(Kind.TRUNCATE) == 0


async def test_a_node_that_only_force_left_out_makes_the_restore_partial(scene: Scene) -> None:
    """Never success: it is named as an error, and the same restore later is a new one that takes it along."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    away = scene.nodes[2]
    for node in scene.nodes:
        node.rows["shop", "orders"].clear()
    await scene.agents[2].stop()
    order = RestoreOrder(tag, destination="there", force=True)
    request = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))
    assert (request.state, request.partial) == (RequestState.ERROR, True), request
    assert request.error is not None
    assert {node: error["code"] for node, error in request.error["fields"]["nodes"].items()} == {
        away.address: "node_left_out"
    }
    assert request.result["nodes_not_restored"] == [away.address]
    await scene.agents[2].start()
    again = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))
    assert again.state is RequestState.SUCCESS, again
    assert scene.world.rows() == before


async def test_of_a_fan_out_one_error_comes_out_as_itself() -> None:
    """What is expected loses its group; what nobody foresaw stays as it came."""
    with pytest.raises(DuplicateHostId), one_error():
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(DuplicateHostId("two agents")))
    with pytest.raises(ExceptionGroup), one_error():
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(ValueError("unforeseen")))


async def _raise(error: Exception) -> None:
    raise error
