"""A scrub of a destination: on every node, once at a time, told in the activity."""

import asyncio

from agent.wire.commands import Kind
from coordinator.model.activity import ActivityQuery
from coordinator.model.orders import ScrubOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene


async def test_every_node_reads_what_it_stored(scene: Scene) -> None:
    """Promise: the sums and the age of the oldest unread byte are the request's result, and the activity has it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.backup(keep=False, copies=copies("there"))
    request = await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there", True))
    ended = await coordinator.ended(request)
    assert ended.state is RequestState.SUCCESS
    assert ended.result["objects_read"] == 3
    assert ended.result["oldest_unread_seconds"] == 3.0
    [event] = await coordinator.store.requests.events(CLUSTER, ActivityQuery(type="scrub"))
    assert (event.request, event.tag, event.status, event.destination["id"]) == (request, "", "success", "there")


async def test_a_scrub_of_the_same_place_is_that_one(scene: Scene) -> None:
    """Promise: asked for again while it runs it is not begun again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[1].gates[Kind.SCRUB] = asyncio.Event()
    first = await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there"))
    assert await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")) == first
    scene.nodes[1].gates[Kind.SCRUB].set()
    assert (await coordinator.ended(first)).state is RequestState.SUCCESS


async def test_a_node_that_finds_damage_is_named(scene: Scene) -> None:
    """Promise: what one node finds ends the request as an error with its reason, and the others' counts stay."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[0].failures[Kind.SCRUB] = [ToyFailure("repository_damaged", "1 objects are damaged")]
    ended = await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert (ended.state, ended.partial) == (RequestState.ERROR, True)
    assert "1 objects are damaged" in ended.message
    assert ended.result["objects_read"] == 2
