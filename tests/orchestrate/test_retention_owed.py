"""The sweep that retention owes where one of its deletes failed half-way."""

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.orders import BackupOrder, SyncOrder
from coordinator.model.requests import RequestKind, RequestState
from coordinator.model.retention import KeptRule, Rule
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import DAY, listed, run_ended, until


async def test_an_owed_sweep_deletes_no_backup_that_was_brought_back(scene: Scene) -> None:
    """Promise: one node's sweep failed, the others' took the last traces, and a person copied the backup back: it stays
    as long as a rule lets it, and the space is freed by another sweep."""
    coordinator = await scene.coordinator()
    for name in ("there", "off"):
        await coordinator.destination(name, LocalSettings(path=name, shared=True))
    for day in (2, 1):
        time = int(unix_seconds()) - day * DAY
        order = BackupOrder(tag=f"day-{day}", time=time, keep=False, copies=copies("there", "off"))
        request = await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))
        assert request.state is RequestState.SUCCESS
    scene.nodes[0].failures[Kind.SWEEP] = [ToyFailure("destination_full", "no room for the intent") for _ in range(500)]
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    await coordinator.retention.ask(CLUSTER, "there")

    async def tried() -> bool:
        deletes = await coordinator.store.requests.find(kind=RequestKind.DELETE)
        return any(one.state is RequestState.ERROR for one in deletes)

    await until(tried)
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=9))])  # it was mistyped

    async def ended() -> bool:
        running = await coordinator.store.requests.find(kind=RequestKind.DELETE, state=RequestState.RUNNING)
        return not running

    await until(ended)
    place = scene.world.places["there"]
    place.marks.discard("day-2")
    place.plans.pop("day-2", None)
    place.records.pop("day-2", None)
    for node in scene.nodes:
        place.manifests.pop(("day-2", node.host_id), None)
    brought = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder("day-2", copies("there"), source="off"))
    assert (await coordinator.ended(brought)).state is RequestState.SUCCESS
    scene.nodes[0].failures[Kind.SWEEP] = []
    await coordinator.retention.ask(CLUSTER, "there")
    await run_ended(coordinator, "there")
    assert await listed(coordinator, "there") == ["day-2", "day-1"]
