"""A backup that was taken without a member of the ring, copied to another destination."""

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.orders import BackupOrder, ScrubOrder
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.errors import PlaceUnscrubbed
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import DAY, taken
from tests.orchestrate.test_sync_sources import synced


@pytest.mark.parametrize("back", [True, False])
async def test_a_copy_of_a_backup_without_a_member_is_no_good_one(scene: Scene, back: bool) -> None:
    """Promise: it is partial where it comes from, so it is where it is copied to, whether that member is back or not;
    it names the member, and lets no whole backup go there."""
    coordinator = await scene.coordinator()
    for name in ("there", "other"):
        await coordinator.destination(name, LocalSettings(path=name, shared=True))
    [whole] = await taken(coordinator, range(3, 2, -1), "other")
    away = scene.nodes[2].host_id
    await scene.agents[2].stop()
    order = BackupOrder(tag="new", time=int(unix_seconds()) - DAY, keep=False, copies=copies("there"), partial=True)
    request = await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    if back:
        await scene.agents[2].start()
    request = await synced(coordinator, "new")
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert [one["host_id"] for one in request.result["missing_nodes"]] == [away]
    states = {one.tag: one.state for one in await coordinator.orchestrator.list_backups(CLUSTER, "other")}
    assert states == {whole: "success", "new": "partial"}
    await coordinator.store.retention.put([KeptRule(CLUSTER, "other", "", Rule(count=1))])
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("other")))
    if back:
        assert [one.tag for one in await coordinator.retention.preview(CLUSTER, "other") if one.goes] == []
    else:  # it is in the ring, and has not looked at what it may have there
        with pytest.raises(PlaceUnscrubbed):
            await coordinator.retention.preview(CLUSTER, "other")


async def test_what_is_whole_there_stays_so(scene: Scene) -> None:
    """Promise: a backup that is whole in a destination is copied there once more: that a node which left, or one that
    fails now, copies nothing takes nothing from its record, for their parts are there already; the failure is told."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.destination("other", LocalSettings(path="other", shared=True))
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    assert (await synced(coordinator, tag)).state is RequestState.SUCCESS
    await scene.agents[2].stop()
    scene.world.nodes.pop()
    again = await synced(coordinator, tag)
    assert (again.state, again.partial) == (RequestState.SUCCESS, False)
    scene.nodes[0].failures[Kind.SYNC] = [ToyFailure("object_damaged", "here are none to put in their place")]
    again = await synced(coordinator, tag)
    assert (again.state, again.partial, "none to put" in again.message) == (RequestState.ERROR, True, True)
    states = {one.tag: one.state for one in await coordinator.orchestrator.list_backups(CLUSTER, "other")}
    assert states == {tag: "success"}
    del scene.world.places["other"].manifests[tag, scene.nodes[0].host_id]
    scene.nodes[0].failures[Kind.SYNC] = [ToyFailure("storage_failed", "no answer")]
    assert (await synced(coordinator, tag)).state is RequestState.ERROR
    states = {one.tag: one.state for one in await coordinator.orchestrator.list_backups(CLUSTER, "other")}
    assert states == {tag: "partial"}


async def test_what_one_place_holds_says_nothing_of_another(scene: Scene) -> None:
    """Promise: a node that fails is no success where it never had its part, though another of the sync's places has."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    for name in ("other", "third"):
        await coordinator.destination(name, LocalSettings(path=name, shared=True))
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    assert (await synced(coordinator, tag, "other")).state is RequestState.SUCCESS
    scene.nodes[0].failures[Kind.SYNC] = [ToyFailure("storage_failed", "no answer")]
    assert (await synced(coordinator, tag, "other", "third")).state is RequestState.ERROR
    found = {}
    for name in ("other", "third"):
        [one] = await coordinator.orchestrator.list_backups(CLUSTER, name)
        found[name] = one.state
    assert found == {"other": "success", "third": "partial"}
