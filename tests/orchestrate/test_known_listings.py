"""What was listed before is summed up once, and shown as it stands now."""

import asyncio

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.orders import BackupOrder, DeleteOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.listing import DELETING
from coordinator.orchestrate.listings import Listings
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_backup_flow import all_but_one_copied
from tests.orchestrate.test_restore_flow import backed_up


async def test_a_backup_is_summed_up_anew_when_something_of_it_changed(scene: Scene) -> None:
    """Promise: a listing takes a backup from the one before as long as nothing of it differs; one that is being
    deleted, and one that has gone, is told as it stands."""
    coordinator, kept = await backed_up(scene)
    going, _ = await coordinator.backup(keep=False, copies=copies("there"))
    before = {each.tag: each for each in await coordinator.orchestrator.list_backups(CLUSTER, "there")}
    again = {each.tag: each for each in await coordinator.orchestrator.list_backups(CLUSTER, "there")}
    assert set(before) == {kept, going}
    assert all(again[tag] is before[tag] for tag in before)
    for node in scene.nodes:  # one mark, and it isn't listed
        node.gates[Kind.DELETE] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(going, "there"))
    under_way = {each.tag: each for each in await coordinator.orchestrator.list_backups(CLUSTER, "there")}
    assert under_way[kept] is before[kept]
    assert under_way[going].state == DELETING
    for node in scene.nodes:
        node.gates[Kind.DELETE].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == [before[kept]]
    assert {key[2] for key in coordinator.orchestrator._listings._known} == {kept}


async def test_however_little_is_kept_all_is_listed(scene: Scene) -> None:
    """Promise: what is kept of listings stays below its limit, and says nothing of what is listed."""
    coordinator, first = await backed_up(scene)
    second, _ = await coordinator.backup(keep=False, copies=copies("there"))
    listings = Listings(coordinator.orchestrator._around, coordinator.orchestrator.progress, most=0)
    for _ in range(2):
        assert {each.tag for each in await listings.backups(CLUSTER, "there")} == {first, second}
    assert listings._kept == 0


async def test_a_backup_of_one_destination_runs_until_its_sizes_are_known(scene: Scene) -> None:
    """Promise: while the end of a backup that goes nowhere else isn't noted there, the listing calls it running, and
    never a success of no bytes."""
    coordinator, request_id = await all_but_one_copied(scene)
    for node in scene.nodes:
        node.record_failures = [ToyFailure("destination_unavailable", "later") for _ in range(200)]
    scene.nodes[0].gates[Kind.UPLOAD].set()
    await scene.until(lambda: len([key for key in scene.world.places["there"].manifests if key[0] == "tag"]) == 3)
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert listed.state == "running"
    for node in scene.nodes:
        node.record_failures.clear()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert (listed.state, all(part.bytes for part in listed.keyspaces.values())) == ("success", True)


async def test_a_backup_that_is_through_at_one_of_its_places_has_its_size_there(scene: Scene) -> None:
    """Promise: while it is still copied elsewhere the listing of a place where it is through tells as many bytes as
    when all has ended, not none."""
    coordinator = await scene.coordinator()
    for place in ("there", "other"):
        await coordinator.destination(place, LocalSettings(path=place, shared=True))
    gate = scene.nodes[0].gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("tag", 5, keep=False, copies=copies("there", "other"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await scene.until(lambda: scene.world.count(Kind.UPLOAD) == 2)
    for node in scene.nodes:  # how it ended is noted late, at each place
        node.record_failures = [ToyFailure("destination_unavailable", "later") for _ in range(200)]
    gate.set()
    await scene.until(lambda: len(scene.world.places["there"].manifests) == 3)
    [under_way] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    request = await coordinator.store.requests.get(request_id)
    assert request is not None
    assert request.state is RequestState.RUNNING
    for node in scene.nodes:
        node.record_failures.clear()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    [ended] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert under_way.state == ended.state == "success"
    assert under_way.keyspaces == ended.keyspaces
    assert all(part.bytes for part in ended.keyspaces.values())
