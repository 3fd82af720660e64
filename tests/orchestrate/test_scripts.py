"""The scripts of a backup, before and after its snapshots: what runs where, and what their failures make of it."""

import asyncio
from typing import Any

import pytest

from agent.wire.commands import Kind, State
from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import ScriptsNotSupported
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

BOTH = {"pre_script": "freeze", "post_script": "notify"}
WORDS = "the script freeze ended with 7: the database is not ready"


def fails(scene: Scene, *numbers: int) -> None:
    """The next script on these nodes fails."""
    for number in numbers:
        scene.nodes[number].failures[Kind.SCRIPT] = [ToyFailure("script_failed", WORDS, exit=7)]


def runs(scene: Scene, tag: str) -> list[list[str]]:
    """When each node ran a script of the backup."""
    return [[when for when, of in node.scripts if of == tag] for node in scene.nodes]


async def begun(scene: Scene, coordinator: ToyCoordinator, gated: int = 3, **changes: Any) -> tuple[str, str]:
    """A backup whose script stands at its gate on the first nodes: its tag and request."""
    for node in scene.nodes[:gated]:
        node.gates[Kind.SCRIPT] = asyncio.Event()
    tag, at = await coordinator.store.requests.claim_tag(CLUSTER, "adhoc", int(unix_seconds()))
    order = BackupOrder(tag, at, **changes)
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    for node in scene.nodes:
        await asyncio.wait_for(node.begun[Kind.SCRIPT].wait(), 10)
    return tag, request_id


@pytest.mark.parametrize("keep", [False, True])
async def test_both_scripts_run_once_on_every_node(scene: Scene, keep: bool) -> None:
    """Promise: the one before any snapshot is taken, the other while all are there and nothing is copied."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=keep, copies=copies("there"), **BOTH)
    assert request.state is RequestState.SUCCESS, request
    assert runs(scene, tag) == [["pre", "post"]] * 3
    for node in scene.nodes:
        assert [kind for kind, _ in node.done] == [Kind.SCRIPT, Kind.SNAPSHOT, Kind.SCRIPT, Kind.UPLOAD]
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert listed.state == "success"
    parts = await coordinator.orchestrator.progress(request.id)
    assert {(part.state, part.phase, part.created) for part in parts} == {(RequestState.SUCCESS, "upload", True)}


async def test_a_backup_without_scripts_asks_for_none(scene: Scene) -> None:
    """Promise: also agents that don't know scripts take it."""
    for agent in scene.agents:
        agent.features = [Kind.SNAPSHOT, Kind.UPLOAD]
    coordinator = await scene.coordinator()
    _, request = await coordinator.backup()
    assert request.state is RequestState.SUCCESS
    assert scene.world.count(Kind.SCRIPT) == 0


@pytest.mark.parametrize("name", ["pre_script", "post_script"])
async def test_agents_that_know_no_scripts_are_named_before_anything_begins(scene: Scene, name: str) -> None:
    """Promise: an agent of an older release is told of in words, and nothing is done on any node."""
    scene.agents[1].features = [Kind.SNAPSHOT, Kind.UPLOAD]
    coordinator = await scene.coordinator()
    with pytest.raises(ScriptsNotSupported, match=rf"{scene.nodes[1].address} \(0\.1\.0\)") as refused:
        await coordinator.backup(**{name: "notify"})
    assert refused.value.fields["nodes"] == {scene.nodes[1].address: "0.1.0"}
    assert await coordinator.store.requests.find() == []
    assert not any(node.done or node.own.plans for node in scene.nodes)


@pytest.mark.parametrize("keep", [False, True])
async def test_a_script_that_fails_before_the_snapshot_ends_the_backup(scene: Scene, keep: bool) -> None:
    """Promise: no node takes a snapshot then, and the backup is listed as failed, with the script's own words."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    fails(scene, 1)
    tag, request = await coordinator.backup(keep=keep, copies=copies("there"), **BOTH)
    assert (request.state, request.partial) == (RequestState.ERROR, False)
    assert WORDS in request.message
    assert scene.nodes[1].address in request.message
    assert runs(scene, tag) == [["pre"], [], ["pre"]]
    assert scene.world.count(Kind.SNAPSHOT) == 0
    assert not any(node.snapshots for node in scene.nodes)
    for place in ["there", None] if keep else ["there"]:
        [listed] = await coordinator.orchestrator.list_backups(CLUSTER, place)
        assert listed.state == "failed"
    part = (await coordinator.orchestrator.progress(request.id))[1]
    assert part.state is RequestState.ERROR
    assert [error["code"] for error in part.errors] == ["script_failed"]


@pytest.mark.parametrize("keep", [False, True])
async def test_forced_the_backup_goes_on_without_the_node_whose_script_failed(scene: Scene, keep: bool) -> None:
    """Promise: that node counts as failed at every place, and the backup is partial: half of one is no success."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    fails(scene, 1)
    tag, request = await coordinator.backup(keep=keep, copies=copies("there"), partial=True, **BOTH)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert WORDS in request.message
    assert runs(scene, tag) == [["pre", "post"], [], ["pre", "post"]]
    assert [tag in node.snapshots for node in scene.nodes] == [keep, False, keep]
    for place in ["there", None] if keep else ["there"]:
        [listed] = await coordinator.orchestrator.list_backups(CLUSTER, place)
        assert (listed.state, [node.host_id for node in listed.missing]) == ("partial", [scene.nodes[1].host_id])
        assert listed.keyspaces["shop"].nodes == [scene.nodes[0].address, scene.nodes[2].address]


async def test_forced_a_script_that_fails_everywhere_ends_the_backup(scene: Scene) -> None:
    """Promise: a backup of no node is none."""
    coordinator = await scene.coordinator()
    fails(scene, 0, 1, 2)
    tag, request = await coordinator.backup(partial=True, **BOTH)
    assert (request.state, request.partial) == (RequestState.ERROR, False)
    assert scene.world.count(Kind.SNAPSHOT) == 0
    assert runs(scene, tag) == [[], [], []]
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, None)
    assert listed.state == "failed"


@pytest.mark.parametrize("keep", [False, True])
async def test_a_script_that_fails_after_the_snapshot_leaves_a_good_backup(scene: Scene, keep: bool) -> None:
    """Promise: what was backed up is whole, listed so and restorable; the request ends as partial, with the script's
    words, and so stands in the activity."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    fails(scene, 1)
    tag, request = await coordinator.backup(keep=keep, copies=copies("there"), post_script="notify")
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.message == f"The script after the snapshot failed on {scene.nodes[1].address}: {WORDS}"
    assert (request.error or {})["code"] == "nodes_failed"
    assert request.result["post_script"][scene.nodes[1].address]["fields"] == {"exit": 7}
    assert runs(scene, tag) == [["post"], [], ["post"]]
    for place in ["there", None] if keep else ["there"]:
        [listed] = await coordinator.orchestrator.list_backups(CLUSTER, place)
        assert (listed.state, listed.missing) == ("success", [])
    events = await coordinator.store.requests.events(CLUSTER)
    told = {event.destination["id"]: (event.status, event.partial) for event in events if event.tag == tag}
    assert told == dict.fromkeys(["there", ON_SERVER] if keep else ["there"], ("error", True))
    assert scene.world.count(Kind.UPLOAD) == 3
    part = (await coordinator.orchestrator.progress(request.id))[1]
    assert (part.state, part.created) == (RequestState.ERROR, True)
    assert [error["code"] for error in part.errors] == ["script_failed"]


async def test_two_failures_are_both_told(scene: Scene) -> None:
    """Promise: a copy that failed as well is not hidden behind the script, nor the script behind it."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    fails(scene, 1)
    scene.nodes[2].failures[Kind.UPLOAD] = [ToyFailure("storage_full", "no room there")]
    _, request = await coordinator.backup(keep=False, copies=copies("there"), post_script="notify")
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert "no room there" in request.message
    assert WORDS in request.message
    [listed] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert listed.state == "partial"


async def test_a_node_is_not_through_while_its_script_is_still_to_come(scene: Scene) -> None:
    """Promise: of a backup that stays on the nodes a node whose snapshot is taken is not done as long as another one's
    isn't."""
    coordinator = await scene.coordinator()
    scene.nodes[0].gates[Kind.SNAPSHOT] = asyncio.Event()
    tag, at = await coordinator.store.requests.claim_tag(CLUSTER, "adhoc", int(unix_seconds()))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder(tag, at, post_script="notify"))
    for _ in range(2000):
        parts = await coordinator.orchestrator.progress(request_id)
        if [part.rests for part in parts] == [False, True, True]:
            break
        await asyncio.sleep(0.01)
    assert [part.state for part in parts] == [RequestState.RUNNING] * 3
    scene.nodes[0].gates[Kind.SNAPSHOT].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_node_is_not_through_before_its_script_is(scene: Scene) -> None:
    """Promise: of a backup that stays on the nodes the snapshot is not the end; what is under way is said in words."""
    coordinator = await scene.coordinator()
    _, request_id = await begun(scene, coordinator, gated=1, post_script="notify")
    await scene.until(lambda: len(scene.nodes[1].scripts) == 1)
    for _ in range(2000):
        parts = await coordinator.orchestrator.progress(request_id)
        if [part.rests for part in parts] == [False, True, True]:
            break
        await asyncio.sleep(0.01)
    assert [part.state for part in parts] == [RequestState.RUNNING, RequestState.SUCCESS, RequestState.SUCCESS]
    assert {part.phase for part in parts} == {"post_script"}
    scene.nodes[0].gates[Kind.SCRIPT].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


@pytest.mark.parametrize("name", ["pre_script", "post_script"])
async def test_a_cancel_ends_the_scripts_and_leaves_nothing(scene: Scene, name: str) -> None:
    """Promise: the agents kill what runs at once; no snapshot stays, and nothing is listed."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    changes: dict[str, Any] = {"keep": True, "copies": copies("there"), name: "notify"}
    tag, request_id = await begun(scene, coordinator, **changes)
    await coordinator.orchestrator.cancel(request_id, force=False)
    assert (await coordinator.ended(request_id)).state is RequestState.CANCELLED
    for agent in scene.agents:
        states = [view.state for view in await agent.runner.views() if view.kind == Kind.SCRIPT]
        assert states == [State.CANCELLED]
    assert runs(scene, tag) == [[], [], []]
    assert not any(node.snapshots for node in scene.nodes)
    for place in ("there", None):
        assert await coordinator.orchestrator.list_backups(CLUSTER, place) == []


@pytest.mark.parametrize(("name", "listed"), [("pre_script", "failed"), ("post_script", "success")])
async def test_a_script_whose_agent_was_restarted_has_failed_and_is_not_run_again(
    scene: Scene, name: str, listed: str
) -> None:
    """Promise: nobody knows how far it came; that is told, and nobody begins it a second time."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    changes: dict[str, Any] = {"keep": False, "copies": copies("there"), name: "notify"}
    tag, request_id = await begun(scene, coordinator, gated=1, **changes)
    await scene.agents[0].stop()
    scene.nodes[0].gates[Kind.SCRIPT].set()
    await scene.agents[0].start()
    request = await coordinator.ended(request_id)
    assert (request.state, request.partial) == (RequestState.ERROR, name == "post_script")
    assert "the agent ended while script was running" in request.message
    when = name.removesuffix("_script")
    assert runs(scene, tag) == [[], [when], [when]]
    commands = [each for each in await coordinator.store.commands.of(request_id) if each.kind is Kind.SCRIPT]
    assert len(commands) == 3
    [found] = await coordinator.orchestrator.list_backups(CLUSTER, "there")
    assert found.state == listed


async def test_a_script_whose_agent_lost_its_state_is_not_run_again(scene: Scene) -> None:
    """Promise: an agent that doesn't know the command any more is not sent it once more."""
    coordinator = await scene.coordinator()
    _, request_id = await begun(scene, coordinator, gated=1, post_script="notify")
    await scene.agents[0].stop()
    for file in (scene.directory / "agent1").glob("journal.sqlite*"):
        file.unlink()
    await scene.agents[0].start()
    scene.nodes[0].gates[Kind.SCRIPT].set()
    request = await coordinator.ended(request_id)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert "lost its state during post_script" in request.message
    assert scene.nodes[0].scripts == []


async def test_a_script_that_nobody_waits_for_any_more_is_cancelled(scene: Scene) -> None:
    """Promise: an agent that comes back too late is told to end what it took up, instead of running it hours later."""
    coordinator = await scene.coordinator()
    blocked, waiting = scene.nodes[0], scene.agents[0]
    tag, request_id = await begun(scene, coordinator, gated=1, partial=True, pre_script="freeze")
    waiting.freeze()
    request = await coordinator.ended(request_id)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    waiting.thaw()
    for _ in range(2000):
        if not await coordinator.store.commands.cancels_owed():
            break
        await asyncio.sleep(0.01)
    blocked.gates[Kind.SCRIPT].set()
    states = [view.state for view in await waiting.runner.views() if view.kind == Kind.SCRIPT]
    assert states == [State.CANCELLED]
    assert runs(scene, tag) == [[], ["pre"], ["pre"]]
    assert tag not in blocked.snapshots


async def test_a_coordinator_that_is_started_anew_goes_on_behind_the_scripts(scene: Scene) -> None:
    """Promise: what ran is not run again, and what failed stays failed."""
    coordinator = await scene.coordinator()
    fails(scene, 2)
    tag, request_id = await begun(scene, coordinator, gated=1, post_script="notify")
    await scene.until(lambda: len(scene.nodes[1].scripts) == 1)
    await scene.stack.aclose()
    again = await scene.coordinator()
    scene.nodes[0].gates[Kind.SCRIPT].set()
    request = await again.ended(request_id)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert runs(scene, tag) == [["post"], ["post"], []]
    assert len([each for each in await again.store.commands.of(request_id) if each.kind is Kind.SCRIPT]) == 3


async def test_a_script_that_stands_in_a_queue_too_long_is_not_run(scene: Scene) -> None:
    """Promise: each script has a moment after which its agent doesn't begin it: a node that was away for hours, or is
    held up by another script, doesn't freeze a database for a backup that is over."""
    coordinator = await scene.coordinator()
    before = unix_seconds()
    _, request = await coordinator.backup(**BOTH)
    posted = [each for each in await coordinator.store.commands.of(request.id) if each.kind is Kind.SCRIPT]
    assert len(posted) == 6
    fence = coordinator.orchestrator._around.timing.fence
    assert all(each.not_after is not None and before < each.not_after <= unix_seconds() + fence for each in posted)
