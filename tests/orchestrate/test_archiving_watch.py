"""Nodes that don't archive as they should are told of and enrolled; segments that no backup needs go."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER, LocalSettings
from coordinator.model.activity import ActivityQuery
from coordinator.model.orders import ArchivingOrder, DeleteOrder, LogCopy, TrimLogsOrder
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.orchestrate.archiving.nodes import NEVER_TOLD
from coordinator.orchestrate.archiving.trim import MARGIN_SECONDS
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_archiving import ON, archiving, restarts


async def alarms(coordinator: ToyCoordinator, count: int) -> list[Request]:
    """The alarms, once there are so many."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await coordinator.store.requests.find(kind=RequestKind.ARCHIVING_LOST)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def without(coordinator: ToyCoordinator) -> dict[str, str]:
    """Address → why, of the nodes that don't archive."""
    nodes = (await coordinator.archiving.status(CLUSTER)).nodes
    return {node.address: node.without for node in nodes if node.without}


async def looks(coordinator: ToyCoordinator, count: int = 4) -> None:
    """Wait for some looks."""
    await asyncio.sleep(0.1 * count)


async def test_a_node_that_lost_the_setting_is_told_of_once(scene: Scene) -> None:
    """Promise: a properties file that was put back by hand is in `nodes_without`, and one alarm says so: an event, and
    a request that has ended; it is told again only when it was right meanwhile. Nobody restarts it."""
    coordinator = await archiving(scene)
    scene.agents[1].log.file = ""
    address = scene.nodes[1].address
    [alarm] = await alarms(coordinator, 1)
    assert [*await without(coordinator)] == [address]
    assert (alarm.state, alarm.error and [*alarm.error["fields"]["nodes"]]) == (RequestState.ERROR, [address])
    assert address in alarm.message
    [event] = await coordinator.store.requests.events(CLUSTER, ActivityQuery(newest_first=True, count=1))
    assert (event.request, event.type, event.status) == (alarm.id, "archiving", "error")
    await looks(coordinator)
    assert len(await alarms(coordinator, 1)) == 1
    assert [bool(node.without) for node in coordinator.archiving.seen(CLUSTER)] == [False, True, False]
    again = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
    assert (again.state, await without(coordinator)) == (RequestState.SUCCESS, {})
    await looks(coordinator)
    scene.agents[1].log.file = ""
    assert len(await alarms(coordinator, 2)) == 2
    assert restarts(scene) == [1, 1, 1]


async def test_an_alarm_outlives_the_coordinator_that_told_it(scene: Scene) -> None:
    """Promise: another life doesn't tell the same again."""
    first = ToyCoordinator(scene.directory / "coordinator", [agent.url for agent in scene.agents])
    async with first as coordinator:
        await coordinator.destination("there")
        await coordinator.ended(await coordinator.archiving.start(CLUSTER, ON))
        scene.agents[1].log.file = ""
        await alarms(coordinator, 1)
        await looks(coordinator)
    coordinator = await scene.coordinator()
    await looks(coordinator)
    assert len(await alarms(coordinator, 1)) == 1


async def test_a_coordinator_that_lost_its_state_watches_by_what_the_agents_say(scene: Scene) -> None:
    """Promise: archiving that nobody ordered here is watched all the same: who lost it is told of, by what most of the
    agents follow, whichever comes first. Nothing is freed, for the backups that need it aren't known."""
    await archiving(scene)
    await scene.stack.aclose()
    coordinator = await scene.coordinator("anew")
    await looks(coordinator)
    assert [node.state for node in coordinator.archiving.seen(CLUSTER)] == ["on"] * 3
    assert await without(coordinator) == {}
    first = scene.agents[0].log
    assert first.order is not None
    kept, first.order = first.order, msgspec.structs.replace(first.order, targets=[], keep=True)
    [alarm] = await alarms(coordinator, 1)
    assert [*await without(coordinator)] == [scene.nodes[0].address]
    assert "it doesn't archive to there" in alarm.message
    first.order = kept
    await scene.until(lambda: not any(node.without for node in coordinator.archiving.seen(CLUSTER)))
    await looks(coordinator, 20)
    assert await coordinator.store.requests.find(kind=RequestKind.TRIM_LOGS) == []
    await coordinator.ended(await coordinator.archiving.start(CLUSTER, ArchivingOrder(False)))
    assert (await coordinator.archiving.status(CLUSTER)).enabled is False


async def test_a_node_that_is_down_as_the_coordinator_starts_is_no_stranger(scene: Scene) -> None:
    """Promise: its agent remembers whose it is: no node is told to have no agent, and nobody is told of twice."""
    coordinator = await archiving(scene)
    await scene.stack.aclose()
    scene.nodes[1].up = False
    coordinator = await scene.coordinator()
    nodes = (await coordinator.archiving.status(CLUSTER)).nodes
    assert [(node.address, node.without) for node in nodes] == [(node.address, "") for node in scene.nodes]


async def test_one_that_was_away_when_it_was_switched_off_is_the_odd_one_out(scene: Scene) -> None:
    """Promise: at a coordinator that lost its state, too, the few that archive still are told of, not the many that
    don't."""
    await archiving(scene)
    for agent in scene.agents[1:]:
        agent.log.order = agent.log.order and msgspec.structs.replace(agent.log.order, enabled=False)
        agent.log.file = agent.log.runs = ""
    await scene.stack.aclose()
    coordinator = await scene.coordinator("anew")
    [alarm] = await alarms(coordinator, 1)
    assert [*await without(coordinator)] == [scene.nodes[0].address]
    assert "its agent was not told that archiving is off" in alarm.message
    last = scene.agents[0].log
    last.order = last.order and msgspec.structs.replace(last.order, enabled=False)
    last.file = last.runs = ""
    # What is measured goes by this look, and not by an earlier one.
    await scene.until(lambda: [node.state for node in coordinator.archiving.seen(CLUSTER)] == ["off"] * 3)
    assert await without(coordinator) == {}


async def test_nodes_that_are_restarted_for_it_are_no_alarm(scene: Scene) -> None:
    """Promise: while archiving is being switched, nobody is told of nodes that don't archive yet."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    gate = scene.nodes[0].gates[Kind.RESTART] = asyncio.Event()
    request = await coordinator.archiving.start(CLUSTER, ON)
    await scene.nodes[0].begun[Kind.RESTART].wait()
    await looks(coordinator)
    assert (await coordinator.archiving.status(CLUSTER)).request == request
    assert len(await without(coordinator)) == 3
    gate.set()
    await coordinator.ended(request)
    await looks(coordinator)
    assert await coordinator.store.requests.find(kind=RequestKind.ARCHIVING_LOST) == []


async def test_a_node_that_joins_is_enrolled_when_so_ordered(scene: Scene) -> None:
    """Promise: with `enroll` a node that was never told is told and restarted, the others aren't; without an agent it
    is named, and nobody is restarted."""
    order = ArchivingOrder(True, [LogCopy("there")], enroll=True)
    coordinator = await archiving(scene, order)
    newcomer = scene.agents[2].log
    newcomer.order, newcomer.file, newcomer.runs = None, "", ""
    await alarms(coordinator, 1)
    await scene.until(lambda: restarts(scene) == [1, 1, 2])
    for request in await coordinator.store.requests.find(kind=RequestKind.ARCHIVING):
        await coordinator.ended(request.id)
    assert await without(coordinator) == {}
    await scene.agents[2].stop()
    await looks(coordinator)
    assert [*await without(coordinator)] == [scene.nodes[2].address]
    assert restarts(scene) == [1, 1, 2]


async def test_a_node_is_enrolled_as_soon_as_it_can_be(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: neither a node whose agent doesn't answer nor one that is still joining makes the next one wait: each is
    enrolled at the first look at which it can be told, and named until then."""
    timing = msgspec.structs.replace(TIMING, enroll_again=10_000.0)
    coordinator = await scene.coordinator(timing=timing)
    await coordinator.destination("there")
    order = ArchivingOrder(True, [LogCopy("there")], enroll=True)
    await coordinator.ended(await coordinator.archiving.start(CLUSTER, order))
    node, newcomer = scene.nodes[2], scene.agents[2]
    await newcomer.stop()
    newcomer.log.order, newcomer.log.file, newcomer.log.runs = None, "", ""
    await alarms(coordinator, 1)
    await looks(coordinator)
    member = node.member
    monkeypatch.setattr(node, "member", lambda: msgspec.structs.replace(member(), state="JOINING"))
    await newcomer.start()
    await scene.until(lambda: coordinator.archiving.seen(CLUSTER)[2].without == NEVER_TOLD)
    await looks(coordinator)
    assert [*await without(coordinator)] == [node.address]
    assert restarts(scene) == [1, 1, 1]
    assert len(await coordinator.store.requests.find(kind=RequestKind.ARCHIVING)) == 1
    monkeypatch.setattr(node, "member", member)
    await scene.until(lambda: restarts(scene) == [1, 1, 2])
    for request in await coordinator.store.requests.find(kind=RequestKind.ARCHIVING):
        await coordinator.ended(request.id)
    assert await without(coordinator) == {}


async def trimmed(coordinator: ToyCoordinator, count: int = 1) -> Request:
    """The newest request that freed segments, ended, once there are so many."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await coordinator.store.requests.find(kind=RequestKind.TRIM_LOGS)
            if len(found) >= count:
                return await coordinator.ended(found[-1].id)
            await asyncio.sleep(0.05)


async def test_segments_go_with_the_oldest_backup(scene: Scene) -> None:
    """Promise: what was closed before the oldest kept backup of any place, less a margin, goes from every place after a
    backup was deleted; what a kept one needs stays, also where that one lies elsewhere."""
    coordinator = await archiving(scene, ArchivingOrder(True, [LogCopy("there")], keep=True))
    await coordinator.destination("other")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    kept, _ = await coordinator.backup(keep=False, copies=copies("other"))
    listed = await coordinator.orchestrator.list_backups(CLUSTER, "other")
    [at] = [backup.time for backup in listed if backup.tag == kept]
    old = at - MARGIN_SECONDS - 100
    for agent in scene.agents:
        agent.log.segments = {"there": [old, at + 1], ON_SERVER: [old, at - 60, at + 1]}
    await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there")))
    request = await trimmed(coordinator)
    assert (request.state, request.result["bytes_freed"]) == (RequestState.SUCCESS, 600)
    assert request.result["oldest_backup"] == kept
    assert scene.agents[0].log.segments == {"there": [at + 1], ON_SERVER: [at - 60, at + 1]}


async def test_nothing_goes_while_a_place_cannot_be_seen(scene: Scene) -> None:
    """Promise: a place that can't be listed, or an agent that doesn't answer, keeps every segment; so does the lack of
    any backup."""
    coordinator = await archiving(scene)
    log = scene.agents[0].log
    log.segments = {"there": [1.0]}
    order = TrimLogsOrder(["there"])

    async def trim() -> Request:
        make = coordinator.orchestrator.make
        return await coordinator.ended(await make(RequestKind.TRIM_LOGS, CLUSTER, order, None, ["there"]))

    assert (await trim()).state is RequestState.SUCCESS
    await coordinator.destination("shared", LocalSettings(path="shared", shared=True))
    await coordinator.backup(keep=False, copies=copies("shared"))
    for node in scene.nodes:
        node.unreadable = ToyFailure("storage_unavailable", "the store is away")
    request = await trim()
    assert (request.error or {})["code"] == "logs_stay"
    for node in scene.nodes:
        node.unreadable = None
    await scene.agents[2].stop()
    assert ((await trim()).error or {})["code"] == "logs_stay"
    assert log.segments == {"there": [1.0]}
    await scene.agents[2].start()
    assert (await trim()).state is RequestState.SUCCESS
    assert log.segments == {"there": []}


async def test_a_node_that_still_archives_is_named(scene: Scene) -> None:
    """Promise: a node that was away when archiving was switched off is told of until it doesn't archive any more."""
    coordinator = await archiving(scene)
    await scene.agents[2].stop()
    forced = ArchivingOrder(False, partial=True)
    request = await coordinator.ended(await coordinator.archiving.start(CLUSTER, forced))
    assert (request.state, restarts(scene)) == (RequestState.SUCCESS, [2, 2, 1])
    await scene.agents[2].start()
    assert [*await without(coordinator)] == [scene.nodes[2].address]
    await alarms(coordinator, 1)
    again = await coordinator.ended(await coordinator.archiving.start(CLUSTER, ArchivingOrder(False)))
    assert (again.state, restarts(scene), await without(coordinator)) == (RequestState.SUCCESS, [2, 2, 2], {})
