"""What the nodes' own backups are called while the request that takes them goes on, over three toy nodes."""

import asyncio

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import taken


async def test_a_snapshot_that_may_be_taken_anew_is_listed_as_running(scene: Scene) -> None:
    """Promise: on the nodes a backup is none yet while its copy to a destination goes on, though every node has its
    snapshot: a cancel takes those too, and retention must not count it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("slow")
    [before] = await taken(coordinator, range(2, 1, -1), ON_SERVER)
    for node in scene.nodes:
        node.gates[Kind.UPLOAD], node.begun[Kind.UPLOAD] = asyncio.Event(), asyncio.Event()
    order = BackupOrder(tag="new", time=int(unix_seconds()), keep=True, copies=copies("slow"))
    request = await coordinator.orchestrator.start_backup(CLUSTER, order)
    async with asyncio.timeout(DEADLINE):
        for node in scene.nodes:
            await node.begun[Kind.UPLOAD].wait()
    assert all("new" in node.snapshots for node in scene.nodes)

    async def states() -> dict[str, str]:
        return {one.tag: one.state for one in await coordinator.orchestrator.list_backups(CLUSTER, None)}

    assert await states() == {before: "success", "new": "running"}
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    assert (await coordinator.ended(request)).state is RequestState.SUCCESS
    assert await states() == {before: "success", "new": "success"}
