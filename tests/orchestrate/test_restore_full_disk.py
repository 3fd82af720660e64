"""The coordinator's own disk is full, or broken, while a restore begins or is left: nothing of leaving is left out."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import Request, RequestState
from coordinator.store.database import Database, StoreFailed
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, restored

T = TypeVar("T")


class FullDisk(Database):
    """Refuses the next `refuse` writes of which the name has `only`; `refused` counts them. Once a fence was given, the
    next `refuse_reads` reads of a step are refused."""

    refuse = 0
    only = ""
    refused = 0
    refuse_reads = 0
    _fence_given = False

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self.refuse and self.only in function.__qualname__:
            self.refuse -= 1
            self.refused += 1
            raise StoreFailed("the coordinator's state can't be used: disk is full")
        written = await super().write(function)
        self._fence_given = self._fence_given or (self.refuse_reads > 0 and "next_fence" in function.__qualname__)
        return written

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self.refuse_reads and self._fence_given and ".step." in function.__qualname__:
            self.refuse_reads -= 1
            raise StoreFailed("the coordinator's state can't be used: disk I/O error")
        return await super().read(function)


async def backed_up(scene: Scene) -> tuple[ToyCoordinator, FullDisk, str]:
    """A coordinator, its disk, and the tag of a backup, with a view over its tables."""
    scene.world.views["shop", VIEW.name] = VIEW
    urls = [agent.url for agent in scene.agents]
    coordinator = ToyCoordinator(scene.directory / "coordinator", urls, database=FullDisk)
    await scene.stack.enter_async_context(coordinator)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    database = coordinator.store._database
    assert isinstance(database, FullDisk)
    return coordinator, database, tag


async def full_in(
    scene: Scene, coordinator: ToyCoordinator, disk: FullDisk, tag: str, kind: Kind, writes: int
) -> Request:
    """A restore whose coordinator can't write so many times from the moment when the first node does this."""
    gate = scene.nodes[0].gates[kind] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[0].begun[kind].wait(), 10)
    posted = coordinator.store.commands.of
    async with asyncio.timeout(10):
        while not any(each.accepted and each.kind is kind for each in await posted(request_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    disk.refuse = writes
    gate.set()
    request = await coordinator.ended(request_id)
    assert (disk.refuse, disk.refused) == (0, writes)
    assert (request.error or {}).get("code") == "store_failed", request
    return request


async def test_views_come_back_and_staging_goes_once_the_disk_has_room_again(scene: Scene) -> None:
    """Promise: a restore that breaks off because nothing can be written is undone as soon as something can: its message
    promises it, and nobody else would."""
    coordinator, disk, tag = await backed_up(scene)
    before = scene.world.rows()
    request = await full_in(scene, coordinator, disk, tag, Kind.DROP_VIEWS, 4)
    assert request.message.endswith("; no table was changed; views that were dropped are made again")
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert "owed_views" not in request.result
    assert not any(node.held for node in scene.nodes)
    assert scene.world.rows() == before


async def test_a_restore_whose_import_the_full_disk_ends_is_gone_on_with(scene: Scene) -> None:
    """Promise: what it had changed isn't forgotten: posted again it goes on, and truncates nothing a second time."""
    coordinator, disk, tag = await backed_up(scene)
    former = await full_in(scene, coordinator, disk, tag, Kind.IMPORT, 4)
    assert (former.result["resumable_job"], former.result["owed_views"]) == (former.id, [VIEW.statement])
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_views_that_were_made_are_not_called_owed(scene: Scene) -> None:
    """Promise: what breaks off after the views were made, in the cleaning, names none of them as owed."""
    coordinator, disk, tag = await backed_up(scene)
    request = await full_in(scene, coordinator, disk, tag, Kind.CLEAN, 1)
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert request.result["resumable_job"] == request.id
    assert "owed_views" not in request.result


async def test_a_restore_that_goes_on_waits_for_the_disk_as_it_begins(scene: Scene) -> None:
    """Promise: it neither fails for that nor forgets that it goes on with an earlier one, which would truncate anew."""
    coordinator, disk, tag = await backed_up(scene)
    scene.nodes[2].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    former = await restored(coordinator, tag)
    scene.nodes[2].failures.clear()
    disk.only, disk.refuse = "next_fence", 3
    again = await restored(coordinator, tag)
    assert disk.refused == 3
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_a_restore_that_goes_on_waits_until_it_can_read_how_far_it_had_come(scene: Scene) -> None:
    """Promise: a read that fails as it begins ends it no more than a write: it would end without its job, and the next
    one would truncate anew."""
    coordinator, disk, tag = await backed_up(scene)
    scene.nodes[2].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    former = await restored(coordinator, tag)
    scene.nodes[2].failures.clear()
    disk.refuse_reads = 3
    again = await restored(coordinator, tag)
    assert disk.refuse_reads == 0
    assert (again.state, again.result.get("job")) == (RequestState.SUCCESS, former.id), again
    assert scene.world.count(Kind.TRUNCATE) == 1
