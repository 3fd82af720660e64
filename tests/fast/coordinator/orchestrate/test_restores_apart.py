"""Restores that meet: over the same tables, one after the other, and with backups in between."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import RestoreRunning
from coordinator.orchestrate.scope import common_tables
from tests.cluster.toy_coordinator import CLUSTER
from tests.fast.coordinator.orchestrate.conftest import Scene
from tests.fast.coordinator.orchestrate.test_restore_flow import backed_up, restored


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
