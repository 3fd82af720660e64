"""A coordinator that lost its whole state, and is told of a destination again: the activity of the backups there."""

import asyncio

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings, S3Settings
from coordinator.model.activity import ActivityEvent
from coordinator.model.destinations import Destination
from coordinator.model.orders import Copy, DeleteOrder, DestinationOrder, ScrubOrder
from coordinator.model.requests import RequestKind, RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.errors import PlaceUnscrubbed
from coordinator.orchestrate.rebuilding import id_of
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene

BUCKET = S3Settings(path="bucket", access_key="A", access_secret="s")


async def told(coordinator: ToyCoordinator, place: str) -> dict[str, ActivityEvent]:
    """Tag → its entry for a destination."""
    events = await coordinator.store.requests.events(CLUSTER)
    found = {event.tag: event for event in events if event.destination["id"] == place and event.type == "backup"}
    assert len(found) == sum(event.destination["id"] == place and event.type == "backup" for event in events)
    return found


async def a_life(scene: Scene, name: str, place: str, settings: LocalSettings | S3Settings) -> ToyCoordinator:
    """A coordinator of an empty state, to which the destination is added, through to its end."""
    coordinator = await scene.coordinator(name)
    order = DestinationOrder("add", place, settings)
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    return coordinator


@pytest.mark.parametrize("settings", [BUCKET, LocalSettings(path="each")], ids=["bucket", "directories of the nodes"])
async def test_the_activity_has_the_backups_of_before_as_far_as_the_destination_tells(
    scene: Scene, settings: LocalSettings | S3Settings
) -> None:
    """Promise: tag, time, end, tables, nodes and bytes of each backup are back, marked as rebuilt; a deleted one isn't,
    nor one that lies elsewhere."""
    first = await a_life(scene, "first", "there", settings)
    whole, ended = await first.backup(copies=[Copy("there")], backup_id="nightly", keep=False)
    scene.nodes[1].failures[Kind.UPLOAD] = [ToyFailure("disk_full", "no room")]
    part, _ = await first.backup(copies=[Copy("there")], keyspaces={"shop": ["orders"]}, keep=False)
    gone, _ = await first.backup(copies=[Copy("there")], keep=False)
    await first.ended(await first.orchestrator.start_delete(CLUSTER, DeleteOrder(gone, "there")))
    await first.backup(keep=True)
    before = await told(first, "there")
    assert {tag: event.rebuilt for tag, event in before.items()} == dict.fromkeys([whole, part, gone], False)
    listed = {each.tag: each for each in await first.orchestrator.list_backups(CLUSTER, "there")}

    second = await a_life(scene, "second", "again", settings)
    after = await told(second, "again")
    assert {*after} == {whole, part}
    assert not await told(second, ON_SERVER)
    for tag, event in after.items():
        was = before[tag]
        assert event.event_time == pytest.approx(was.event_time, abs=60)  # the one of the tag, the other of the request
        assert (event.status, event.partial, event.rebuilt) == (was.status, was.partial, True)
        request = await second.store.requests.get(event.request)
        assert request is not None
        assert (request.kind, request.tag) == (RequestKind.REBUILT, tag)
        assert request.keyspaces == {name: part.tables for name, part in listed[tag].keyspaces.items()}
        assert request.result["rebuilt"]["bytes"] == sum(part.bytes for part in listed[tag].keyspaces.values()) > 0
        states = {node.address: "success" for node in scene.nodes}
        if tag == part:
            states[scene.nodes[1].address] = "failed"
        assert {address: each["state"] for address, each in request.result["rebuilt"]["nodes"].items()} == states
    request = await second.store.requests.get(after[whole].request)
    assert request is not None
    assert (request.spec["backup_id"], request.finished is not None) == ("nightly", True)
    assert request.finished == pytest.approx(ended.finished, abs=60)


async def test_its_ids_stay_and_what_the_state_has_is_left_alone(scene: Scene) -> None:
    """Promise: however often a state is lost, and however the destination is called then, a backup's request has the
    same id; a coordinator that knows the backups adds and changes nothing, also after the destination was removed and
    named again."""
    first = await a_life(scene, "first", "there", BUCKET)
    tag, _ = await first.backup(copies=[Copy("there")], keep=False)
    ids = []
    for life in ("second", "third"):
        coordinator = await a_life(scene, life, life, BUCKET)
        ids.append((await told(coordinator, life))[tag].request)
    assert ids[0] == ids[1]

    before = await first.store.requests.events(CLUSTER)
    forget = await first.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
    await first.ended(forget.request_id)
    again = await first.orchestrator.start_destination_change(CLUSTER, DestinationOrder("add", "new", BUCKET))
    request = await first.ended(again.request_id)
    assert await first.store.requests.events(CLUSTER) == before
    assert request.message == "known to all agents"

    second = await scene.coordinator("fourth")
    for order in (DestinationOrder("add", "x", BUCKET), DestinationOrder("update", "x", BUCKET)):
        change = await second.orchestrator.start_destination_change(CLUSTER, order)
        await second.ended(change.request_id)
    assert len(await second.store.requests.events(CLUSTER)) == 1
    await second.ended(await second.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "x")))
    assert (await told(second, "x"))[tag].deleted_at is not None


async def test_retention_counts_what_was_rebuilt_for_nothing(scene: Scene) -> None:
    """Promise: a rule that is given anew deletes none of the former backups because their activity is back: no run is
    due for them, and none goes before every node has scrubbed the destination."""
    first = await a_life(scene, "first", "there", BUCKET)
    for _ in range(3):
        await first.backup(copies=[Copy("there")], keep=False)
    second = await a_life(scene, "second", "again", BUCKET)
    await second.store.retention.put([KeptRule(CLUSTER, "again", "", Rule(count=1))])
    with pytest.raises(PlaceUnscrubbed):
        await second.retention.preview(CLUSTER, "again")
    await asyncio.sleep(0.3)
    notes = await second.retention.notes(CLUSTER)
    assert [note.after for note in notes.values()] in ([], [[]])
    assert len(await second.orchestrator.list_backups(CLUSTER, "again")) == 3


async def test_nothing_goes_of_a_schedule_that_was_lost(scene: Scene) -> None:
    """Promise: backups of a schedule that the new state doesn't know stay, whatever wider rule is given anew, and
    although all is scrubbed: how long they were to be kept was lost. Those by hand go by the rule; and those of the
    schedule do in the state that took them, and where its id has a rule."""
    first = await a_life(scene, "first", "there", BUCKET)
    nightly = [(await first.backup(copies=[Copy("there")], keep=False, backup_id="nightly"))[0] for _ in range(2)]
    by_hand = [(await first.backup(copies=[Copy("there")], keep=False))[0] for _ in range(2)]
    second = await a_life(scene, "second", "again", BUCKET)
    for coordinator, place in ((first, "there"), (second, "again")):
        await coordinator.store.retention.put([KeptRule(CLUSTER, place, "", Rule(count=1))])
    await second.ended(await second.orchestrator.start_scrub(CLUSTER, ScrubOrder("again", whole=True)))
    assert {one.tag for one in await first.retention.preview(CLUSTER, "there") if one.goes} == {nightly[0], by_hand[0]}
    verdicts = {one.tag: one for one in await second.retention.preview(CLUSTER, "again")}
    assert {tag for tag, one in verdicts.items() if one.goes} == {by_hand[0]}
    assert "schedule isn't known" in verdicts[nightly[0]].why
    await second.store.retention.put([KeptRule(CLUSTER, "again", "nightly", Rule(count=1))])
    assert {one.tag for one in await second.retention.preview(CLUSTER, "again") if one.goes} == {nightly[0], by_hand[0]}


async def test_a_destination_that_can_not_be_listed_is_added_all_the_same(scene: Scene) -> None:
    """Promise: what can't be seen now is told as a warning, and is added when the destination is changed again."""
    first = await a_life(scene, "first", "there", BUCKET)
    tag, _ = await first.backup(copies=[Copy("there")], keep=False)
    for node in scene.nodes:
        node.unreadable = ToyFailure("storage_denied", "not now")
    second = await a_life(scene, "second", "again", BUCKET)
    [request] = await second.store.requests.find(kind=RequestKind.DESTINATION)
    assert ["not now" in text for text in request.result["warnings"]] == [True]
    assert await told(second, "again") == {}
    for node in scene.nodes:
        node.unreadable = None
    order = DestinationOrder("update", "again", BUCKET)
    change = await second.orchestrator.start_destination_change(CLUSTER, order)
    await second.ended(change.request_id)
    assert [*await told(second, "again")] == [tag]


async def test_a_backup_that_may_be_under_way_elsewhere_is_left_out(scene: Scene) -> None:
    """Promise: while another coordinator's backup is written and its record says so, or can't be read, nothing is told
    of its end, for that would stay; once each node's part is there it is added, whatever can be read of the record."""
    first = await a_life(scene, "first", "there", BUCKET)
    gate = scene.nodes[1].gates[Kind.UPLOAD] = asyncio.Event()
    running = asyncio.create_task(first.backup(copies=[Copy("there")], keep=False))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.UPLOAD].wait(), 10)
    [held] = scene.world.places.values()
    second = await a_life(scene, "second", "again", BUCKET)
    assert await told(second, "again") == {}
    held.unread.update(held.records)
    assert len(held.unread) == 1
    order = DestinationOrder("update", "again", BUCKET)
    await second.ended((await second.orchestrator.start_destination_change(CLUSTER, order)).request_id)
    assert await told(second, "again") == {}
    gate.set()
    assert (await running)[1].state is RequestState.SUCCESS
    await second.ended((await second.orchestrator.start_destination_change(CLUSTER, order)).request_id)
    [event] = (await told(second, "again")).values()
    assert (event.status, event.partial) == ("success", False)


async def test_a_node_whose_agent_is_silent_has_lost_nothing(scene: Scene) -> None:
    """Promise: where each node has a part of its own, what is told of a silent node's is what the record says: it
    isn't missing, and its bytes are counted."""
    settings = LocalSettings(path="each")
    first = await a_life(scene, "first", "there", settings)
    tag, _ = await first.backup(copies=[Copy("there")], keep=False)
    [listed] = await first.orchestrator.list_backups(CLUSTER, "there")
    await scene.agents[2].stop()
    second = await scene.coordinator("second")
    order = DestinationOrder("add", "again", settings)
    change = await second.orchestrator.start_destination_change(CLUSTER, order)
    await second.ended(change.request_id)
    request = await second.store.requests.get((await told(second, "again"))[tag].request)
    assert request is not None
    nodes = request.result["rebuilt"]["nodes"]
    assert {address: node["state"] for address, node in nodes.items()} == {
        node.address: "success" for node in scene.nodes
    }
    whole = sum(part.bytes for part in listed.keyspaces.values())
    assert request.result["rebuilt"]["bytes"] == sum(node["bytes"] for node in nodes.values()) == whole


def test_ids_are_made_of_what_never_changes() -> None:
    """Promise: the id of a backup's request is a function of repository, cluster in it, and tag, for ever."""
    place = Destination("d", CLUSTER, BUCKET, 1, "repository-1", "cluster-1")
    assert id_of(place, "tag-1") == "39314f6d-f1cd-56e3-986c-52a5e1551be7"
