"""Retention over three toy nodes: more is damaged than a scrub tells, by a node or in a place that is no more."""

import pytest

from agent.wire.destinations import LocalSettings
from agent.wire.results import ScrubResult
from coordinator.model.orders import DestinationOrder, ScrubOrder
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.errors import DamageUncounted
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import listed, taken, until


async def going(coordinator: ToyCoordinator) -> list[str]:
    """The tags that a run would let go now."""
    return [one.tag for one in await coordinator.retention.preview(CLUSTER, "there") if one.goes]


async def scrubbed(coordinator: ToyCoordinator) -> None:
    """Scrub the destination, to the end."""
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))


async def test_a_node_that_left_the_ring_stops_retention_only_for_what_it_has_a_part_in(scene: Scene) -> None:
    """Promise: nobody scrubs its part any more, so every backup with one counts as damaged, and those without let them
    go; while it is in the ring, up or down, it may yet tell, and nothing goes."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    await taken(coordinator, range(4, 2, -1), "there")
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    scene.nodes[2].damage = ScrubResult(damaged=10_000, more_objects=True)
    await scrubbed(coordinator)
    with pytest.raises(DamageUncounted, match=scene.nodes[2].host_id):
        await going(coordinator)
    await scene.agents[2].stop()
    with pytest.raises(DamageUncounted, match=scene.nodes[2].host_id):
        await going(coordinator)
    scene.world.nodes.pop()
    assert await going(coordinator) == []
    after = await taken(coordinator, range(1, 0, -1), "there")
    await coordinator.retention.ask(CLUSTER, "there")

    async def is_so() -> bool:
        return await listed(coordinator, "there") == after

    await until(is_so)


async def test_a_destination_that_is_made_anew_has_lost_nothing(scene: Scene) -> None:
    """Promise: what a scrub found is of the repository that it read, not of another one under the same name."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].damage = ScrubResult(damaged=10_000, more_objects=True)
    await scrubbed(coordinator)
    order = DestinationOrder("delete", "there")
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    await coordinator.ended(change.request_id)
    await coordinator.destination("there", LocalSettings(path="elsewhere"))
    tags = await taken(coordinator, range(2, 0, -1), "there")
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    assert await going(coordinator) == tags[:1]
