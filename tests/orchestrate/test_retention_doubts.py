"""Retention over three toy nodes: what is no good backup though its record says success."""

import asyncio

import pytest

from agent.repository.errors import AdoptionRefused
from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from agent.wire.results import ScrubResult
from coordinator.model.orders import BackupOrder, DeleteOrder, RestoreOrder, ScrubOrder
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.errors import DamageUncounted, PlaceUnscrubbed
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure, ToyNode
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import listed, ruled, run_ended, taken, until


async def test_what_a_scrub_found_damaged_counts_no_more(scene: Scene) -> None:
    """Promise: the last whole backup stays though damaged ones are newer; what a scrub that fails, or a node that is
    gone, doesn't say changes nothing; once a scrub finds them whole, they count again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(4, 0, -1), "there")
    await ruled(coordinator, "there", Rule(count=10))
    await run_ended(coordinator, "there")
    node = scene.nodes[1]

    async def scrubbed() -> None:
        await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))

    async def going() -> list[str]:
        return [one.tag for one in await coordinator.retention.preview(CLUSTER, "there") if one.goes]

    node.damage = ScrubResult(damaged=1, backups=tags[2:])
    await scrubbed()
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    assert await going() == tags[:1]
    node.damage = None
    node.failures[Kind.SCRUB] = [ToyFailure("storage_failed", "no answer")]
    await scrubbed()
    assert await going() == tags[:1]
    await scrubbed()
    assert await going() == tags[:3]


async def test_a_backup_that_may_still_be_cancelled_is_no_good_one_yet(scene: Scene) -> None:
    """Promise: while a backup goes on in a slow destination the quick one lists it, and retention deletes nothing for
    its sake: a cancel takes it from both."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.destination("slow")
    tags = await taken(coordinator, range(2, 0, -1), "there")
    for node in scene.nodes:
        node.gates[Kind.UPLOAD], node.begun[Kind.UPLOAD] = asyncio.Event(), asyncio.Event()
    order = BackupOrder(tag="new", time=int(unix_seconds()), keep=False, copies=[*copies("there"), *copies("slow")])
    request = await coordinator.orchestrator.start_backup(CLUSTER, order)

    async def states(place: str) -> dict[str, str]:
        return {one.tag: one.state for one in await coordinator.orchestrator.list_backups(CLUSTER, place)}

    async with asyncio.timeout(DEADLINE):
        for node in scene.nodes:
            await node.begun[Kind.UPLOAD].wait()
    for node in scene.nodes:
        assert (await states("there"))["new"] == "running"
        place = scene.world.place(node, node.destinations["there"][1])
        assert place is not None
        place.manifests["new", node.host_id] = {}  # as a real agent publishes what is through
    assert await states("there") == {**dict.fromkeys(tags, "success"), "new": "success"}
    assert (await states("slow"))["new"] == "running"
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])

    async def going() -> list[str]:
        return [one.tag for one in await coordinator.retention.preview(CLUSTER, "there") if one.goes]

    assert await going() == tags[:1]
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    assert (await coordinator.ended(request)).state is RequestState.SUCCESS
    counted = set(await going())  # unless the run that follows the backup was quicker
    assert set(await listed(coordinator, "there")) - counted == {"new"}


async def test_a_backup_that_lacks_tables_is_no_good_one_though_its_end_was_never_recorded(scene: Scene) -> None:
    """Promise: when the coordinator and its state are lost before the final record, the manifests alone tell that
    tables were left out: the backup is partial, and lets no whole one go."""
    lost = await scene.coordinator()
    await lost.destination("there")
    tags = await taken(lost, range(2, 0, -1), "there")
    for node in scene.nodes:
        node.gates[Kind.UPLOAD], node.begun[Kind.UPLOAD] = asyncio.Event(), asyncio.Event()
    order = BackupOrder(tag="new", time=int(unix_seconds()), keep=False, copies=copies("there"))
    await lost.orchestrator.start_backup(CLUSTER, order)
    lacking = []
    for node in scene.nodes:
        async with asyncio.timeout(DEADLINE):
            await node.begun[Kind.UPLOAD].wait()
        place = scene.world.place(node, node.destinations["there"][1])
        assert place is not None
        place.manifests["new", node.host_id] = {}  # as a real agent publishes, before its command has ended
        lacking.append(place.lacking)
    lacking[0].add(("new", scene.nodes[0].host_id))
    fresh = await scene.coordinator("fresh")
    await fresh.destination("there")
    states = {one.tag: one.state for one in await fresh.orchestrator.list_backups(CLUSTER, "there")}
    assert states == {**dict.fromkeys(tags, "success"), "new": "partial"}
    await fresh.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    await fresh.ended(await fresh.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert [one.tag for one in await fresh.retention.preview(CLUSTER, "there") if one.goes] == tags[:1]
    lacking[0].clear()
    assert [one.tag for one in await fresh.retention.preview(CLUSTER, "there") if one.goes] == tags
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()


async def test_nothing_goes_where_more_is_damaged_than_a_scrub_tells(scene: Scene) -> None:
    """Promise: where nobody can tell which backups are good, retention waits and says so, until a scrub told all."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(3, 0, -1), "there")
    scene.nodes[0].damage = ScrubResult(damaged=10_000, more_objects=True)  # not one backup is named
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    with pytest.raises(DamageUncounted, match=scene.nodes[0].host_id):
        await coordinator.retention.preview(CLUSTER, "there")
    await ruled(coordinator, "there", Rule(count=1))

    async def told() -> bool:
        note = (await coordinator.retention.notes(CLUSTER))["there"]
        return (note.error or {}).get("code") == "retention_waits"

    await until(told)
    assert await listed(coordinator, "there") == tags
    scene.nodes[0].damage = None
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    await run_ended(coordinator, "there")
    assert await listed(coordinator, "there") == tags[2:]


async def test_a_coordinator_without_its_memory_lets_nothing_go_unscrubbed(scene: Scene) -> None:
    """Promise: what was known of damage is lost with the coordinator's state, and so is who had looked: retention waits
    until each node has scrubbed the place, and then counts by what they found."""
    lost = await scene.coordinator()
    await lost.destination("there")
    tags = await taken(lost, range(3, 0, -1), "there")
    fresh = await scene.coordinator("fresh")
    await fresh.destination("there")
    await fresh.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    scene.nodes[1].damage = ScrubResult(damaged=1, backups=tags[2:])
    scene.nodes[2].failures[Kind.SCRUB] = [ToyFailure("storage_failed", "no answer")]
    for silent in ([node.host_id for node in scene.nodes], [scene.nodes[2].host_id]):
        with pytest.raises(PlaceUnscrubbed) as waits:
            await fresh.retention.preview(CLUSTER, "there")
        assert waits.value.fields["nodes"] == silent
        await fresh.ended(await fresh.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert [one.tag for one in await fresh.retention.preview(CLUSTER, "there") if one.goes] == tags[:1]


async def test_a_member_without_a_part_keeps_nothing_waiting(scene: Scene) -> None:
    """Promise: a node that came since, or has no agent, has stored nothing there, so that nobody has to look at it."""
    lost = await scene.coordinator()
    await lost.destination("there")
    tags = await taken(lost, range(2, 0, -1), "there")
    scene.world.nodes.append(ToyNode(scene.world, 4))
    fresh = await scene.coordinator("fresh")
    await fresh.destination("there")
    await fresh.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    await fresh.ended(await fresh.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert [one.tag for one in await fresh.retention.preview(CLUSTER, "there") if one.goes] == tags[:1]


async def test_what_a_coordinator_only_looked_at_is_not_of_its_own_making(scene: Scene) -> None:
    """Promise: neither a restore nor a delete's dry run tells it of damage: after them too every node has to scrub the
    place before anything goes; in a place that all see so has somebody the part of a node that left."""
    lost = await scene.coordinator()
    await lost.destination("there", LocalSettings(path="there", shared=True))
    tags = await taken(lost, range(3, 0, -1), "there")
    fresh = await scene.coordinator("fresh")
    await fresh.destination("there", LocalSettings(path="there", shared=True))
    await fresh.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    for tag in tags:
        await fresh.ended(await fresh.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there", dry_run=True)))
        await fresh.ended(await fresh.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there")))
    with pytest.raises(PlaceUnscrubbed):
        await fresh.retention.preview(CLUSTER, "there")
    await scene.agents[2].stop()
    left = scene.world.nodes.pop().host_id
    for node in scene.nodes:
        node.refused_adoptions = [AdoptionRefused("the ring isn't known")]
    await fresh.ended(await fresh.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    with pytest.raises(PlaceUnscrubbed) as waits:
        await fresh.retention.preview(CLUSTER, "there")
    assert waits.value.fields["nodes"] == [left]
    for node in scene.nodes:
        node.refused_adoptions = []
    await fresh.ended(await fresh.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert [one.tag for one in await fresh.retention.preview(CLUSTER, "there") if one.goes] == tags[:2]
