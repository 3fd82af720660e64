"""Two requests that put one backup to one place: undoing one would mark what the other has put."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.errors import TagInUse
from coordinator.model.orders import BackupOrder, SyncOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene


async def test_a_second_sync_of_a_tag_to_the_same_place_waits_for_the_first(scene: Scene) -> None:
    """A cancel of one never marks what the other was told to be whole; other places are free."""
    coordinator = await scene.coordinator()
    for name in ("there", "other"):
        await coordinator.destination(name)
    tag, _ = await coordinator.backup(keep=True, copies=[])
    scene.nodes[1].gates[Kind.SYNC] = asyncio.Event()
    first = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SYNC].wait(), 10)
    with pytest.raises(TagInUse) as caught:
        await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("other", "there")))
    assert caught.value.fields["request"] == first
    elsewhere = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("other")))
    scene.nodes[1].gates[Kind.SYNC].set()
    for request_id in (first, elsewhere):
        assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    again = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    assert (await coordinator.ended(again)).state is RequestState.SUCCESS


async def test_a_sync_of_a_backup_that_is_still_being_taken_is_refused(scene: Scene) -> None:
    """What the nodes hold of it is not whole yet, and the backup may put it to the same place."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].gates[Kind.UPLOAD] = asyncio.Event()
    backup = await coordinator.orchestrator.start_backup(
        CLUSTER, BackupOrder(tag="tag", time=1, keep=True, copies=copies("there"))
    )
    await asyncio.wait_for(scene.nodes[1].begun[Kind.UPLOAD].wait(), 10)
    with pytest.raises(TagInUse) as caught:
        await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder("tag", copies("there")))
    assert caught.value.fields["request"] == backup
    scene.nodes[1].gates[Kind.UPLOAD].set()
    assert (await coordinator.ended(backup)).state is RequestState.SUCCESS
