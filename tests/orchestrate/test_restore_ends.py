"""How a restore ends that doesn't end well: what it tells, undoes and keeps; and clocks that differ."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.restore.restore import RestoreFlow
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, TIMING, copies
from tests.orchestrate import test_sent_once
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, backed_up, restored


async def test_a_forced_cancel_tells_what_is_in(scene: Scene) -> None:
    """Of the nodes that had finished, and of the one that was stopped after its running batch."""
    coordinator, tag = await backed_up(scene)
    slow = scene.nodes[1]
    slow.gates[Kind.IMPORT] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(slow.begun[Kind.IMPORT].wait(), 10)
    await scene.until(lambda: scene.world.count(Kind.IMPORT) == 2)
    await coordinator.orchestrator.cancel(request_id, force=True)
    [command] = [view.id for view in await scene.agents[1].runner.views() if view.kind == "import"]
    await scene.until(lambda: scene.agents[1].runner._live[command].stop_requested)
    slow.gates.pop(Kind.IMPORT).set()
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED, request
    assert sorted(request.result["imported"]) == [scene.nodes[0].address, scene.nodes[2].address]
    assert request.result["imported_in_part"] == {slow.address: {"shop": {"orders": 1}}}


@pytest.mark.parametrize(("step", "past"), [("_pass_the_point_of_return", False), ("_make_schema", True)])
async def test_what_nobody_foresaw_is_left_like_any_other_error(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str, past: bool
) -> None:
    """Before the point of no return views come back and nothing fetched stays; after it the job can be gone on with."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)

    async def broken(*_: object) -> None:
        raise ValueError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(RestoreFlow, step, broken)
        request = await restored(coordinator, tag)
    assert request.state is RequestState.ERROR
    assert "a mistake" in request.message
    assert ("no table was changed" in request.message) == (not past)
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert any(node.held for node in scene.nodes) == past
    assert request.result.get("resumable_job") == (request.id if past else None)
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS


@pytest.mark.parametrize("ahead", [45.0, -45.0])
async def test_what_must_not_begin_after_a_moment_is_told_by_the_agents_own_clock(scene: Scene, ahead: float) -> None:
    """A clock that differs by more than the whole time neither makes every command too late, nor lets one come after
    its time."""
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, fence=20.0))
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[0].clock_ahead = ahead
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    [truncate] = [each for each in await coordinator.store.commands.of(request.id) if each.kind is Kind.TRUNCATE]
    assert truncate.not_after is not None
    # How long the answer that told the agent's time was under way is not known to the second.
    assert truncate.posted + ahead < truncate.not_after <= truncate.posted + ahead + 21.0


async def test_a_clock_that_is_far_off_is_refused_before_anything_is_done(scene: Scene) -> None:
    """Named with its node, and lifted by nothing."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[2].clock_ahead = -90.0
    request = await restored(coordinator, tag, force=True)
    assert request.state is RequestState.ERROR
    assert request.error is not None
    [refusal] = request.error["fields"]["refusals"]
    assert (refusal["code"], refusal["lifted_by"]) == ("clock_skewed", None)
    assert refusal["fields"]["node"] == scene.nodes[2].address


async def test_snapshots_are_not_said_to_be_kept_where_cassandra_makes_none(scene: Scene) -> None:
    """auto_snapshot: false everywhere: said before, and nothing is called owed afterwards."""
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:
        node.auto_snapshot = False
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert any("auto_snapshot is off" in warning for warning in request.result["warnings"])
    assert not any("clearsnapshot" in warning for warning in request.result["warnings"])


async def test_a_request_that_only_waited_tries_nothing_as_it_leaves(scene: Scene) -> None:
    """Promise: cancelled while it waits for what the former request of its job had sent, it ends at once, and names the
    views that are owed still; to make them it would wait for the same agent."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await test_sent_once.backed_up(scene, test_sent_once.BRIEF)
    for node in scene.nodes[1:]:
        node.failures[Kind.CREATE_VIEWS] = [ToyFailure("cql_failed", "no") for _ in range(5)]
    order = RestoreOrder(tag, destination="there", truncate=True)
    former = await test_sent_once.left_behind(scene, coordinator, Kind.TRUNCATE, order)
    assert former.result["owed_views"] == [VIEW.statement]
    await scene.stack.aclose()
    coordinator = await scene.coordinator(timing=test_sent_once.PATIENT)
    waiting = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await test_sent_once.says_that_it_waits(scene, coordinator, waiting, scene.nodes[0].address)
    await coordinator.orchestrator.cancel(waiting, force=True)
    request = await coordinator.ended(waiting)
    assert (request.state, request.result["resumable_job"]) == (RequestState.CANCELLED, former.id)
    assert request.result["owed_views"] == [VIEW.statement]
    assert await coordinator.store.commands.of(waiting) == []
