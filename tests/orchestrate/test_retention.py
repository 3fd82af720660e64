"""Retention over three toy nodes: what a rule lets go is deleted like a person's delete, and nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings
from coordinator.model.errors import TagInUse
from coordinator.model.orders import BackupOrder, DeleteOrder, DestinationOrder, RestoreOrder
from coordinator.model.requests import RequestKind, RequestState
from coordinator.model.retention import KeptRule, RetentionNote, Rule
from coordinator.orchestrate.errors import RetentionWaits
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

DAY = 86_400
LAST_WEEK = range(8, 0, -1)
"""Days ago, oldest first."""


async def taken(coordinator: ToyCoordinator, days: range, place: str) -> list[str]:
    """Backups of so many days ago at a place; their tags, oldest first."""
    tags, now = [], int(unix_seconds())
    for day in days:
        tag = f"day-{day}"
        order = BackupOrder(
            tag=tag,
            time=now - day * DAY,
            keep=place == ON_SERVER,
            copies=[] if place == ON_SERVER else copies(place),
        )
        request = await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))
        assert request.state is RequestState.SUCCESS
        tags.append(tag)
    return tags


async def ruled(coordinator: ToyCoordinator, place: str, rule: Rule) -> None:
    """The rule for every backup there, and a run."""
    await coordinator.store.retention.put([KeptRule(CLUSTER, place, "", rule)])
    await coordinator.retention.ask(CLUSTER, place)


async def listed(coordinator: ToyCoordinator, place: str) -> list[str]:
    """The tags that are listed, oldest first."""
    found = await coordinator.orchestrator.list_backups(CLUSTER, None if place == ON_SERVER else place)
    return [backup.tag for backup in sorted(found, key=lambda each: each.time)]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Return once it is true; fails when that takes too long."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if await true():
                return
            await asyncio.sleep(0.02)


async def run_ended(coordinator: ToyCoordinator, place: str) -> RetentionNote:
    """How the run that was asked for went, once it has ended well."""

    async def over() -> bool:
        note = (await coordinator.retention.notes(CLUSTER)).get(place, RetentionNote(asked=True))
        return not note.asked

    await until(over)
    return (await coordinator.retention.notes(CLUSTER))[place]


@pytest.mark.parametrize("place", [ON_SERVER, "there"])
async def test_what_is_too_old_goes_from_its_place_only(scene: Scene, place: str) -> None:
    """Promise: backups older than the age are deleted on every node, each as a delete in the activity that says why;
    one sweep per node frees all of them; another place keeps its own."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.destination("elsewhere")
    tags = await taken(coordinator, LAST_WEEK, place)
    other, _ = await coordinator.backup(keep=False, copies=copies("elsewhere"))
    swept = scene.world.count(Kind.SWEEP)
    await ruled(coordinator, place, Rule(age=3))
    note = await run_ended(coordinator, place)
    assert note.deleted == tags[:4]
    assert await listed(coordinator, place) == tags[4:]
    assert await listed(coordinator, "elsewhere") == [other]
    deletes = await coordinator.store.requests.find(kind=RequestKind.DELETE)
    assert [request.tag for request in deletes] == tags[:4]
    why = "it is more than 3 days older than the newest good one"
    assert {request.result["retention"] for request in deletes} == {why}
    assert all(why in request.message for request in deletes)
    events = [event for event in await coordinator.store.requests.events(CLUSTER) if event.type == "delete"]
    assert [(event.tag, event.status) for event in events] == [(tag, "success") for tag in tags[:4]]
    assert scene.world.count(Kind.SWEEP) - swept == (0 if place == ON_SERVER else 3)
    if place == ON_SERVER:
        assert all(set(node.snapshots) == set(tags[4:]) for node in scene.nodes)


async def test_a_run_follows_each_backup_that_ends_well(scene: Scene) -> None:
    """Promise: a rule by count holds as soon as the next backup is there, without being asked; a failed one deletes
    nothing."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(4, 1, -1), "there")
    await ruled(coordinator, "there", Rule(count=2))
    assert (await run_ended(coordinator, "there")).deleted == tags[:1]
    scene.nodes[1].failures[Kind.UPLOAD] = [ToyFailure("storage_failed", "no room")]
    _, failed = await coordinator.backup(keep=False, copies=copies("there"))
    assert failed.state is RequestState.ERROR
    await coordinator.retention.ask(CLUSTER, "there")
    assert (await run_ended(coordinator, "there")).deleted == []
    new, _ = await coordinator.backup(keep=False, copies=copies("there"))

    async def followed() -> bool:
        return tags[1] not in await listed(coordinator, "there")

    await until(followed)
    assert await listed(coordinator, "there") == [tags[2], failed.tag, new]


async def test_a_preview_deletes_nothing_and_says_why(scene: Scene) -> None:
    """Promise: the dry run names what would go, with the reasons that the run then has."""
    coordinator = await scene.coordinator()
    tags = await taken(coordinator, LAST_WEEK, ON_SERVER)
    await ruled(coordinator, ON_SERVER, Rule(count=9))
    await run_ended(coordinator, ON_SERVER)
    await coordinator.store.retention.put([KeptRule(CLUSTER, ON_SERVER, "adhoc", Rule(count=6))])
    told = await coordinator.retention.preview(CLUSTER, ON_SERVER)
    assert [verdict.tag for verdict in told if verdict.goes] == tags[:2]
    assert await listed(coordinator, ON_SERVER) == tags
    await coordinator.retention.ask(CLUSTER, ON_SERVER)
    assert (await run_ended(coordinator, ON_SERVER)).deleted == tags[:2]


async def test_a_new_rule_waits_for_the_next_backup(scene: Scene) -> None:
    """Promise: who mistyped a rule has until the next backup, or the time of the day, to see and mend it; the backup
    that ended before it is no reason for a run, and no run is told to have begun."""
    coordinator = await scene.coordinator()
    tags = await taken(coordinator, range(4, 0, -1), ON_SERVER)
    await coordinator.store.retention.put([KeptRule(CLUSTER, ON_SERVER, "", Rule(count=2))])
    note = await run_ended(coordinator, ON_SERVER)
    assert (note.begun, note.ended, note.deleted) == (0.0, 0.0, [])
    await asyncio.sleep(20 * TIMING.retention_look)  # it is looked at again and again
    assert (await run_ended(coordinator, ON_SERVER)).begun == 0.0
    assert await listed(coordinator, ON_SERVER) == tags
    new, _ = await coordinator.backup()

    async def followed() -> bool:
        return await listed(coordinator, ON_SERVER) == [tags[3], new]

    await until(followed)


async def test_what_a_restore_needs_stays(scene: Scene) -> None:
    """Promise: neither the backup of a running restore goes, nor that of one that stopped after it emptied tables."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(5, 0, -1), "there")
    scene.nodes[1].gates[Kind.FETCH] = asyncio.Event()
    scene.nodes[1].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    order = RestoreOrder(tags[0], "there", truncate=True)
    restore = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[1].begun[Kind.FETCH].wait(), DEADLINE)
    await ruled(coordinator, "there", Rule(count=2))
    assert (await run_ended(coordinator, "there")).deleted == tags[1:3]
    scene.nodes[1].gates[Kind.FETCH].set()
    assert (await coordinator.ended(restore)).state is RequestState.ERROR
    await coordinator.retention.ask(CLUSTER, "there")
    assert (await run_ended(coordinator, "there")).deleted == []
    [kept] = [one for one in await coordinator.retention.preview(CLUSTER, "there") if one.tag == tags[0]]
    assert kept.why == f"the restore {restore} stopped half-way and needs it to go on"
    scene.nodes[1].failures.clear()
    again = await coordinator.orchestrator.start_restore(CLUSTER, order)
    assert (await coordinator.ended(again)).state is RequestState.SUCCESS
    await coordinator.retention.ask(CLUSTER, "there")
    assert (await run_ended(coordinator, "there")).deleted == tags[:1]


async def test_an_error_is_told_and_tried_again(scene: Scene) -> None:
    """Promise: a delete that fails keeps no other from going, is told with its cause, and is done by a later try; a
    sweep that failed is sent again."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings(path="there", shared=True))
    tags = await taken(coordinator, range(4, 0, -1), "there")
    scene.nodes[2].failures[Kind.SWEEP] = [ToyFailure("storage_failed", "the store is away")]
    for node in scene.nodes:
        node.failures[Kind.DELETE] = [ToyFailure("storage_failed", "the store is away")]
    await ruled(coordinator, "there", Rule(count=1))
    errors = set()

    async def over() -> bool:
        note = (await coordinator.retention.notes(CLUSTER))["there"]
        errors.add((note.error or {}).get("code"))
        return not note.asked

    await until(over)
    assert errors == {None, "retention_failed"}
    assert await listed(coordinator, "there") == tags[3:]
    assert not [key for held in scene.world.places.values() for key in held.manifests if key[0] != tags[3]]


async def test_what_lies_on_every_node_waits_for_every_agent(scene: Scene) -> None:
    """Promise: while an agent is away nothing goes from a place where each node has its own part; it is told who, and
    goes once the agent is back."""
    coordinator = await scene.coordinator()
    tags = await taken(coordinator, range(3, 0, -1), ON_SERVER)
    await scene.agents[1].stop()
    with pytest.raises(RetentionWaits, match=r"127\.0\.80\.2"):
        await coordinator.retention.preview(CLUSTER, ON_SERVER)
    await ruled(coordinator, ON_SERVER, Rule(count=1))

    async def told() -> bool:
        note = (await coordinator.retention.notes(CLUSTER))[ON_SERVER]
        return (note.error or {}).get("code") == "retention_waits"

    await until(told)
    assert await coordinator.store.requests.find(kind=RequestKind.DELETE) == []
    await scene.agents[1].start()
    await run_ended(coordinator, ON_SERVER)
    assert await listed(coordinator, ON_SERVER) == tags[2:]


async def test_the_daily_run_comes_without_a_backup(scene: Scene) -> None:
    """Promise: once a day each place that has a rule is looked at; a coordinator that was down makes up for it."""
    coordinator = await scene.coordinator()
    tags = await taken(coordinator, range(3, 0, -1), ON_SERVER)
    await ruled(coordinator, ON_SERVER, Rule(count=3))
    begun = (await run_ended(coordinator, ON_SERVER)).begun
    await coordinator.store.retention.put([KeptRule(CLUSTER, ON_SERVER, "", Rule(count=2))])
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    later = ToyCoordinator(scene.directory / "coordinator", urls, clock=lambda: unix_seconds() + DAY)
    async with later:

        async def again() -> bool:
            note = (await later.retention.notes(CLUSTER))[ON_SERVER]
            return note.begun > begun and not note.asked

        await until(again)
        assert await listed(later, ON_SERVER) == tags[1:]


async def test_a_destination_that_is_forgotten_takes_its_rules_along(scene: Scene) -> None:
    """Promise: no rule waits for another place that gets the id."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    rules = [KeptRule(CLUSTER, place, "", Rule(count=2)) for place in ("there", ON_SERVER)]
    await coordinator.store.retention.put(rules)
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    assert await coordinator.store.retention.of(CLUSTER) == rules[1:]


@pytest.mark.parametrize("gate", [Kind.DELETE, Kind.SWEEP])
async def test_a_run_whose_coordinator_stops_half_way_goes_on(scene: Scene, gate: Kind) -> None:
    """Promise: cut off in a delete, or in the last one's sweep, the next life ends it: what the rules let go is gone
    with its space, no more is, and each backup was deleted by one request."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(5, 0, -1), "there")
    scene.nodes[1].gates[gate] = asyncio.Event()
    scene.nodes[1].begun[gate].clear()
    await ruled(coordinator, "there", Rule(count=2))
    await asyncio.wait_for(scene.nodes[1].begun[gate].wait(), DEADLINE)
    await scene.stack.aclose()
    scene.nodes[1].gates[gate].set()
    again = await scene.coordinator()
    await run_ended(again, "there")
    assert await listed(again, "there") == tags[3:]
    deletes = await again.store.requests.find(kind=RequestKind.DELETE)
    assert [request.tag for request in deletes] == tags[:3]
    assert {key[0] for held in scene.world.places.values() for key in held.manifests} == {*tags[3:]}


async def test_a_rule_that_is_taken_back_while_the_coordinator_is_down_saves_the_rest(scene: Scene) -> None:
    """Promise: a restarted run judges anew: only the delete that was under way is ended."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(5, 0, -1), "there")
    scene.nodes[1].gates[Kind.DELETE] = asyncio.Event()
    await ruled(coordinator, "there", Rule(count=2))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.DELETE].wait(), DEADLINE)
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=9))])
    await scene.stack.aclose()
    scene.nodes[1].gates[Kind.DELETE].set()
    again = await scene.coordinator()
    await run_ended(again, "there")
    assert await listed(again, "there") == tags[1:]
    assert {key[0] for held in scene.world.places.values() for key in held.manifests} == {*tags[1:]}


async def test_a_coordinator_whose_clock_jumped_lets_nothing_on_the_nodes_go(scene: Scene) -> None:
    """Promise: where no store tells a time, the agents' clocks bound ours, also right after a backup was taken and
    named by the wrong one."""
    coordinator = await scene.coordinator()
    tags = await taken(coordinator, range(3, 0, -1), ON_SERVER)
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    async with ToyCoordinator(scene.directory / "ahead", urls, clock=lambda: unix_seconds() + 365 * DAY) as ahead:
        order = BackupOrder("of-next-year", int(unix_seconds()) + 365 * DAY)
        wrong = await ahead.ended(await ahead.orchestrator.start_backup(CLUSTER, order))
        assert wrong.state is RequestState.SUCCESS
        await ruled(ahead, ON_SERVER, Rule(age=30))
        assert (await run_ended(ahead, ON_SERVER)).deleted == []
        assert await listed(ahead, ON_SERVER) == [*tags, "of-next-year"]


async def test_a_persons_delete_meets_that_of_retention(scene: Scene) -> None:
    """Promise: one that frees the space as well is the same request; one that leaves it to a later sweep is named."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tags = await taken(coordinator, range(3, 0, -1), "there")
    scene.nodes[1].gates[Kind.DELETE] = asyncio.Event()
    await ruled(coordinator, "there", Rule(count=1))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.DELETE].wait(), DEADLINE)
    with pytest.raises(TagInUse):
        await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tags[0], "there"))
    scene.nodes[1].gates[Kind.DELETE].set()
    scene.nodes[1].gates[Kind.SWEEP] = asyncio.Event()
    await asyncio.wait_for(scene.nodes[1].begun[Kind.SWEEP].wait(), DEADLINE)
    same = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tags[1], "there"))
    scene.nodes[1].gates[Kind.SWEEP].set()
    assert (await run_ended(coordinator, "there")).deleted == tags[:2]
    assert same in [request.id for request in await coordinator.store.requests.find(kind=RequestKind.DELETE)]
    assert len(await coordinator.store.requests.find(kind=RequestKind.DELETE)) == 2
