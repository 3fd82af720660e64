"""A scrub of a destination: on every node, once at a time, told in the activity."""

import asyncio

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from agent.wire.results import ScrubResult
from coordinator.model.activity import ActivityQuery
from coordinator.model.cluster import NamedNode
from coordinator.model.orders import ScrubOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.scheduled_scrubs import ScheduledScrubs, slot_of
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene

DAY = 86_400.0


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


async def test_what_a_node_stored_that_does_not_answer_is_not_called_whole(scene: Scene) -> None:
    """Promise: the others are read, and the message names the node of whose part nobody knows."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.backup(keep=False, copies=copies("there"))
    await scene.agents[2].stop()
    ended = await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there", True)))
    address = scene.nodes[2].address
    assert ended.message == f"2 objects were read, nothing is wrong; what {address} stored was not read"


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


async def test_all_damaged_backups_are_named(scene: Scene) -> None:
    """Promise: the tags of all nodes, each once, however few places the result has room for; none without damage."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[0].damage = ScrubResult(damaged=1, backups=[tag])
    scene.nodes[1].damage = ScrubResult(damaged=2, backups=["older", tag])
    ended = await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert ended.result["damaged_backups"] == sorted(["older", tag])
    scene.nodes[0].damage = scene.nodes[1].damage = None
    ended = await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert ended.result["damaged_backups"] == []


async def test_a_listing_names_whose_part_of_a_backup_is_damaged(scene: Scene) -> None:
    """Promise: a backup stands in the list of a place with the nodes whose newest scrub there found damage in it, the
    others and other places' don't; a clean scrub ends it."""
    coordinator = await scene.coordinator()
    for place in ("there", "elsewhere"):
        await coordinator.destination(place)
    tags = [(await coordinator.backup(copies=copies("there", "elsewhere")))[0] for _ in range(2)]
    lossy = scene.nodes[0]

    async def damaged(place: str | None) -> dict[str, list[NamedNode]]:
        return {one.tag: one.damaged for one in await coordinator.orchestrator.list_backups(CLUSTER, place)}

    whole: dict[str, list[NamedNode]] = {tag: [] for tag in tags}
    assert await damaged("there") == whole
    lossy.damage = ScrubResult(damaged=1, backups=tags[:1])
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert await damaged("there") == {**whole, tags[0]: [NamedNode(lossy.address, lossy.host_id)]}
    assert await damaged("elsewhere") == await damaged(None) == whole
    lossy.damage = None
    await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder("there")))
    assert await damaged("there") == whole


async def test_each_destination_is_scrubbed_once_in_its_slot(scene: Scene) -> None:
    """Promise: a new destination waits for its next slot, then it is scrubbed once a day, also by a coordinator that
    was started again; one-shot destinations are left alone."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    [place] = await coordinator.store.destinations.all(CLUSTER)
    scrubs = ScheduledScrubs(coordinator.store, coordinator.orchestrator, [CLUSTER], DAY)
    assert await scrubs.begin(place.made) == []
    [request] = await scrubs.begin(place.made + DAY)
    assert (await coordinator.ended(request)).state is RequestState.SUCCESS
    began = (await coordinator.ended(request)).started
    again = ScheduledScrubs(coordinator.store, coordinator.orchestrator, [CLUSTER], DAY)
    assert await again.begin(began) == []
    assert len(await again.begin(began + DAY)) == 1


def test_slots_spread_and_follow_each_other() -> None:
    """Promise: each slot is a day long, and a hundred destinations begin theirs at different hours."""
    hours = set()
    for number in range(100):
        slots = [slot_of(f"place {number}", hour * 3600.0, DAY) for hour in range(48)]
        changes = [hour for hour in range(1, 48) if slots[hour] != slots[hour - 1]]
        assert len(changes) == 2 or changes[0] in (23, 24)
        hours.add(changes[0])
    assert len(hours) > 15


async def test_the_part_of_a_node_that_left_is_read_by_another(scene: Scene) -> None:
    """Promise: where all nodes see the destination everything in it is read, whoever stored it, and what the adopter
    finds is told as of the node that left; in directories of each node its part has gone with it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("shared", LocalSettings(path="shared", shared=True))
    await coordinator.destination("own", LocalSettings(path="own"))
    await coordinator.backup(keep=False, copies=copies("shared", "own"))
    await scene.agents[2].stop()
    scene.world.nodes.pop()
    for place, objects in (("shared", 3), ("own", 2)):
        ended = await coordinator.ended(await coordinator.orchestrator.start_scrub(CLUSTER, ScrubOrder(place, True)))
        assert (ended.state, ended.result["objects_read"]) == (RequestState.SUCCESS, objects), ended.message
        assert ("not read" in ended.message) is (place == "own")
