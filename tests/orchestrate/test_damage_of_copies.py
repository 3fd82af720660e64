"""What is known to be damaged in two destinations that hold the same repository."""

import asyncio
import copy

import pytest

from agent.wire.destinations import LocalSettings
from agent.wire.results import ScrubResult
from coordinator.model.orders import ScrubOrder
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.damage import KnownDamage, NodeDamage
from coordinator.orchestrate.errors import PlaceUnscrubbed
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import taken


async def copied(scene: Scene, coordinator: ToyCoordinator) -> list[str]:
    """Two backups in `there`, the newer one damaged by its scrub; `copy` holds them in bytes of its own."""
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    tags = await taken(coordinator, range(2, 0, -1), "there")
    scene.world.places["copy"] = copy.deepcopy(scene.world.places["there"])
    await coordinator.destination("copy", LocalSettings(path="copy", shared=True))
    for place in ("there", "copy"):
        await coordinator.store.retention.put([KeptRule(CLUSTER, place, "", Rule(count=1))])
    scene.nodes[0].damage = ScrubResult(damaged=1, backups=tags[1:])
    await scrubbed(coordinator, "there")
    scene.nodes[0].damage = None
    return tags


async def scrubbed(coordinator: ToyCoordinator, place: str) -> None:
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder(place)))


async def going(coordinator: ToyCoordinator, place: str) -> list[str]:
    return [one.tag for one in await coordinator.retention.preview(CLUSTER, place) if one.goes]


async def test_a_clean_scrub_of_a_copy_clears_nothing_of_the_original(scene: Scene) -> None:
    """Promise: that one of two copies is whole says nothing of the other: its last whole backup stays, until a scrub of
    it finds all whole."""
    coordinator = await scene.coordinator()
    tags = await copied(scene, coordinator)
    await scrubbed(coordinator, "copy")
    assert await going(coordinator, "there") == []
    assert await going(coordinator, "copy") == []
    await scrubbed(coordinator, "there")
    assert await going(coordinator, "there") == tags[:1]


async def test_what_a_removed_destination_lost_is_cleared_by_the_one_in_its_place(scene: Scene) -> None:
    """Promise: settings that are put anew know what the former ones' scrubs found, and a scrub of theirs ends it: what
    stands there is looked at by nobody else any more."""
    coordinator = await scene.coordinator()
    tags = await copied(scene, coordinator)
    await coordinator.store.destinations.remove(CLUSTER, "there")
    with pytest.raises(PlaceUnscrubbed):
        await going(coordinator, "copy")
    await scrubbed(coordinator, "copy")
    assert await going(coordinator, "copy") == tags[:1]


async def test_two_scrubs_that_end_at_once_are_both_kept(scene: Scene) -> None:
    """Promise: none is written over what another one has just told."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    place = await coordinator.store.destinations.get(CLUSTER, "there")
    assert place is not None
    turn = asyncio.Lock()
    hosts = [node.host_id for node in scene.nodes]
    kept = [KnownDamage(coordinator.store, place, turn) for _ in hosts]
    await asyncio.gather(*(one.put(host, ScrubResult(backups=[host])) for one, host in zip(kept, hosts, strict=True)))
    assert await kept[0].by_node() == {host: NodeDamage([host]) for host in hosts}


async def test_damage_of_a_node_that_left_is_that_nodes(scene: Scene) -> None:
    """Promise: what another agent finds wrong in its part makes the backup no good one, and the reader's own clean
    scrub clears nothing of it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    tags = await taken(coordinator, range(2, 0, -1), "there")
    await scene.agents[2].stop()
    gone = scene.world.nodes.pop()
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    for node in scene.nodes:  # whoever adopts it
        node.adopted_damage = ScrubResult(damaged=1, backups=tags[1:])
    await scrubbed(coordinator, "there")
    assert await going(coordinator, "there") == []
    place = await coordinator.store.destinations.get(CLUSTER, "there")
    assert place is not None
    assert await KnownDamage(coordinator.store, place, asyncio.Lock()).by_node() == {gone.host_id: NodeDamage(tags[1:])}
