"""A few nodes of a backup copy at a time, all of them take their snapshots together."""

import asyncio
from collections.abc import Callable

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder, SyncOrder
from coordinator.model.requests import RequestState
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


async def limited(scene: Scene, at_once: int) -> ToyCoordinator:
    """A coordinator that lets so many nodes copy at a time, with a destination."""
    urls = [agent.url for agent in scene.agents]
    made = ToyCoordinator(scene.directory / "coordinator", urls, uploads_at_once=at_once)
    return await scene.stack.enter_async_context(made)


async def begun(coordinator: ToyCoordinator) -> str:
    """The request of a backup to the destination."""
    tag, at = await coordinator.store.requests.claim_tag(CLUSTER, "adhoc", int(unix_seconds()))
    order = BackupOrder(tag, at, keep=False, copies=copies("there"))
    return await coordinator.orchestrator.start_backup(CLUSTER, order)


def copying(scene: Scene, kind: Kind = Kind.UPLOAD) -> list[int]:
    """The nodes that copy, or have copied."""
    return [node.number for node in scene.nodes if node.begun[kind].is_set()]


async def stays(true: Callable[[], bool]) -> None:
    """It is so for some time."""
    for _ in range(20):
        await asyncio.sleep(0.02)
        assert true()


async def test_one_node_copies_after_the_other(scene: Scene) -> None:
    """Promise: with `uploads_at_once` of 1 the snapshots are taken on all nodes, and the second node begins to copy
    when the first has ended; who waits says so; over a restart of the coordinator too; at the end all is there."""
    coordinator = await limited(scene, 1)
    await coordinator.destination("there")
    for node in scene.nodes:
        node.gates[Kind.UPLOAD] = asyncio.Event()
    request = await begun(coordinator)
    await scene.until(lambda: copying(scene) == [1])
    assert all(node.snapshots for node in scene.nodes)
    await stays(lambda: copying(scene) == [1])
    parts = await coordinator.orchestrator.progress(request)
    assert [bool(part.waiting) for part in parts] == [False, True, True]
    assert "turn" in parts[1].waiting
    scene.nodes[0].gates[Kind.UPLOAD].set()
    await scene.until(lambda: copying(scene) == [1, 2])
    await scene.stack.aclose()
    again = await limited(scene, 1)
    await stays(lambda: copying(scene) == [1, 2])
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    assert (await again.ended(request)).state is RequestState.SUCCESS
    assert copying(scene) == [1, 2, 3]


@pytest.mark.parametrize("at_once", [0, 3])
async def test_without_a_limit_all_copy_together(scene: Scene, at_once: int) -> None:
    """Promise: by default nobody waits for another."""
    coordinator = await limited(scene, at_once)
    await coordinator.destination("there")
    for node in scene.nodes:
        node.gates[Kind.UPLOAD] = asyncio.Event()
    request = await begun(coordinator)
    await scene.until(lambda: copying(scene) == [1, 2, 3])
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    await coordinator.ended(request)


async def test_a_cancel_ends_who_waits_for_its_turn(scene: Scene) -> None:
    """Promise: nodes whose turn never came are asked for nothing but to clear their snapshot."""
    coordinator = await limited(scene, 1)
    await coordinator.destination("there")
    scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    request = await begun(coordinator)
    await scene.until(lambda: copying(scene) == [1])
    await coordinator.orchestrator.cancel(request, force=False)
    assert (await coordinator.ended(request)).state is RequestState.CANCELLED
    assert copying(scene) == [1]
    assert not any(node.snapshots for node in scene.nodes)


async def test_a_sync_copies_in_turn_too(scene: Scene) -> None:
    """Promise: the limit is one of copying, whichever request does it."""
    coordinator = await limited(scene, 1)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup()
    for node in scene.nodes:
        node.gates[Kind.SYNC] = asyncio.Event()
    request = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
    await scene.until(lambda: copying(scene, Kind.SYNC) == [1])
    await stays(lambda: copying(scene, Kind.SYNC) == [1])
    for node in scene.nodes:
        node.gates[Kind.SYNC].set()
    assert (await coordinator.ended(request)).state is RequestState.SUCCESS
