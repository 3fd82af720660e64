"""A truncate or DDL whose outcome isn't known: whoever works on the same tables next waits for it, whatever was
cancelled, forced or restarted in between."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from agent.wire.commands import Kind, PostCommand
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import RestoreRunning
from coordinator.orchestrate.timing import Timing
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, restored

PATIENT = msgspec.structs.replace(TIMING, cancel=0.3, force_margin=600.0)
"""Nobody goes on without an agent before ten minutes are over, in vain is waited for it 0.3 s."""
BRIEF = msgspec.structs.replace(PATIENT, fence=1.0, force_margin=0.3)
NAMED = {"shop": RestoreTables(truncate=True), "many": RestoreTables(truncate=True)}
"""The same tables, asked for by name: another restore, a job of its own."""


async def backed_up(scene: Scene, timing: Timing) -> tuple[ToyCoordinator, str]:
    coordinator = await scene.coordinator(timing=timing)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    return coordinator, tag


async def left_behind(scene: Scene, coordinator: ToyCoordinator, kind: Kind, order: RestoreOrder) -> Request:
    """A restore that was cancelled by force while the first agent, frozen since, was about to do this."""
    scene.nodes[0].gates[kind] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[0].begun[kind].wait(), 10)
    scene.agents[0].freeze()
    await coordinator.orchestrator.cancel(request_id, force=True)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED
    return request


async def told_first(coordinator: ToyCoordinator, request_id: str, kind: Kind = Kind.TRUNCATE) -> list[PostedCommand]:
    """The request's commands of that kind, to the first node."""
    commands = await coordinator.store.commands.of(request_id)
    return [each for each in commands if each.kind is kind and each.host_id.endswith("1")]


async def told_first_that(
    coordinator: ToyCoordinator,
    request_id: str,
    true: Callable[[PostedCommand], bool],
    kind: Kind = Kind.TRUNCATE,
) -> None:
    """Return once that is true of a command to the first node."""
    while True:
        if any(true(each) for each in await told_first(coordinator, request_id, kind)):
            return
        await asyncio.sleep(0.02)


async def says_that_it_waits(scene: Scene, coordinator: ToyCoordinator, request_id: str, address: str) -> None:
    """The running request names the agent, and what it isn't known of."""
    async with asyncio.timeout(10):
        while True:
            request = await coordinator.store.requests.get(request_id)
            assert request is not None
            assert request.state is RequestState.RUNNING, request
            if f"waits for the agent of {address}" in request.message:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", [Kind.TRUNCATE, Kind.SCHEMA])
@pytest.mark.parametrize("keyspaces", [None, NAMED], ids=["the same job", "another job"])
async def test_nothing_is_imported_while_a_cancelled_truncate_may_still_come(
    scene: Scene, kind: Kind, keyspaces: dict[str, RestoreTables] | None
) -> None:
    """Cancelled by force and posted again by force while its agent is frozen: nobody truncates in its place and nobody
    imports; woken up it does what it was told, and only then all rows come back, and stay."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene, PATIENT)
    if kind is Kind.SCHEMA:
        scene.world.columns["shop", "orders"] = "of other columns"
    anew = kind is Kind.SCHEMA
    former = RestoreOrder(tag, destination="there", truncate=True, force_schema=anew)
    await left_behind(scene, coordinator, kind, former)
    done = scene.world.count(Kind.TRUNCATE)
    forced = RestoreOrder(tag, destination="there", truncate=True, keyspaces=keyspaces, force=True, force_schema=anew)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, forced)
    await says_that_it_waits(scene, coordinator, request_id, scene.nodes[0].address)
    await asyncio.sleep(TIMING.agent_return)  # longer than any other command would be waited for
    assert (scene.world.count(Kind.TRUNCATE), scene.world.count(Kind.IMPORT)) == (done, 0)
    scene.nodes[0].gates.pop(kind).set()
    scene.agents[0].thaw()
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before
    assert scene.world.columns == {}


async def left_unsent(scene: Scene, coordinator: ToyCoordinator, tag: str) -> PostedCommand:
    """The truncate of a restore that was cancelled by force while its agent was away: it may not have arrived."""
    scene.nodes[1].gates[Kind.FETCH] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    async with asyncio.timeout(10):
        await scene.nodes[1].begun[Kind.FETCH].wait()
        await told_first_that(coordinator, request_id, lambda each: each.state.terminal, Kind.FETCH)
        await scene.agents[0].stop()
        scene.nodes[1].gates.pop(Kind.FETCH).set()
        await told_first_that(coordinator, request_id, lambda each: not each.accepted)
    await coordinator.orchestrator.cancel(request_id, force=True)
    assert (await coordinator.ended(request_id)).state is RequestState.CANCELLED
    await scene.agents[0].start()
    [left] = await told_first(coordinator, request_id)
    assert not left.accepted
    return left


async def test_a_post_that_arrives_late_is_waited_for_too(scene: Scene) -> None:
    """The agent that is back again doesn't know the truncate yet; it gets it, and does it, a moment later."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene, PATIENT)
    left = await left_unsent(scene, coordinator, tag)
    again = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there", truncate=True))
    await says_that_it_waits(scene, coordinator, again, scene.nodes[0].address)
    agent = await coordinator.fleet.registry.agent_of(CLUSTER, left.host_id)
    late = PostCommand(
        id=left.id,
        kind=left.kind,
        arguments=msgspec.Raw(msgspec.json.encode(left.arguments)),
        job=left.request,
        phase=left.phase,
        fence=left.fence,
        not_after=left.not_after,
    )
    await agent.client.post_command(late)
    request = await coordinator.ended(again)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_a_post_that_never_arrived_is_waited_for_until_its_time_has_passed(scene: Scene) -> None:
    """Past `not_after` the agent would refuse it, so that no force is needed."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene, msgspec.structs.replace(PATIENT, fence=2.0))
    left = await left_unsent(scene, coordinator, tag)
    request = await restored(coordinator, tag)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before
    assert left.not_after is not None
    assert all(each.posted > left.not_after for each in await coordinator.store.commands.of(request.id))


async def test_only_force_goes_on_without_an_earlier_truncate_and_not_before_the_margin(scene: Scene) -> None:
    """With the agent gone for good: not before the deadline and the margin; the outcome is noted as unknown and told,
    nobody else truncates, and who comes next needn't wait again."""
    coordinator, tag = await backed_up(scene, BRIEF)
    order = RestoreOrder(tag, destination="there", truncate=True)
    former = await left_behind(scene, coordinator, Kind.TRUNCATE, order)
    request = await restored(coordinator, tag, force=True)
    assert (request.state, request.partial) == (RequestState.ERROR, True), request
    *_, left = await told_first(coordinator, former.id)
    assert all(
        each.posted >= left.posted + BRIEF.fence + BRIEF.force_margin
        for each in await coordinator.store.commands.of(request.id)
    )
    assert await coordinator.store.requests.step(former.id, "truncated") == {"outcome": "unknown"}
    assert any("without knowing" in warning for warning in request.result["warnings"])
    assert (scene.world.count(Kind.TRUNCATE), scene.world.count(Kind.IMPORT)) == (0, 2)
    other = RestoreOrder(tag, destination="there", keyspaces={"many": RestoreTables()}, force=True)
    again = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, other))
    assert not any("without knowing" in warning for warning in again.result["warnings"])


async def test_waiting_for_an_earlier_truncate_can_be_cancelled_and_gone_on_with(scene: Scene) -> None:
    """Promise: the job stays, and so does what is open. Sent again with force meanwhile it isn't answered with the id
    of the one without, which would wait for ever: cancel that first, as its message says."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene, PATIENT)
    order = RestoreOrder(tag, destination="there", truncate=True)
    former = await left_behind(scene, coordinator, Kind.TRUNCATE, order)
    forced = msgspec.structs.replace(order, force=True)
    second = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await says_that_it_waits(scene, coordinator, second, scene.nodes[0].address)
    waiting = await coordinator.store.requests.get(second)
    assert waiting is not None
    assert "cancel this (with force), send it with force" in waiting.message
    with pytest.raises(RestoreRunning, match=r"cancel it \(with force\)"):
        await coordinator.orchestrator.start_restore(CLUSTER, forced)
    await coordinator.orchestrator.cancel(second, force=True)
    ended = await coordinator.ended(second)
    assert (ended.state, ended.result["resumable_job"]) == (RequestState.CANCELLED, former.id)
    third = await coordinator.orchestrator.start_restore(CLUSTER, forced)
    await says_that_it_waits(scene, coordinator, third, scene.nodes[0].address)
    scene.nodes[0].gates.pop(Kind.TRUNCATE).set()
    scene.agents[0].thaw()
    assert (await coordinator.ended(third)).state is RequestState.SUCCESS
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_an_agent_that_nobody_finds_after_a_restart_is_waited_for_as_well(scene: Scene) -> None:
    """The coordinator is started again with another address of the agent that truncates, where nobody answers: without
    force nothing goes on; with the right one it does."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene, PATIENT)
    scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
    [command] = [each for each in await coordinator.store.commands.of(request_id) if each.kind is Kind.TRUNCATE]
    async with asyncio.timeout(10):
        while not command.accepted:
            await asyncio.sleep(0.02)
            [command] = [each for each in await coordinator.store.commands.of(request_id) if each.kind is Kind.TRUNCATE]
    await scene.stack.aclose()
    right = [agent.url for agent in scene.agents]
    nobody = f"http://{scene.nodes[0].address}:9"
    async with ToyCoordinator(scene.directory / "coordinator", [nobody, *right[1:]], timing=PATIENT) as lost:
        await asyncio.sleep(TIMING.agent_return * 2)
        waiting = await lost.store.requests.get(request_id)
        assert waiting is not None
        assert waiting.state is RequestState.RUNNING
        assert scene.world.count(Kind.IMPORT) == 0
    scene.nodes[0].gates.pop(Kind.TRUNCATE).set()
    async with ToyCoordinator(scene.directory / "coordinator", right, timing=PATIENT) as found:
        request = await found.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1


@pytest.mark.parametrize("force", [False, True])
async def test_views_come_back_by_another_agent_when_the_one_that_drops_them_is_gone(scene: Scene, force: bool) -> None:
    """Cancelled while its agent, frozen, was dropping them: past the deadline and the margin another one is told, and
    the request ends."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene, BRIEF)
    scene.nodes[0].gates[Kind.DROP_VIEWS] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(scene.nodes[0].begun[Kind.DROP_VIEWS].wait(), 10)
    scene.agents[0].freeze()
    scene.world.views.clear()  # it had come so far
    await coordinator.orchestrator.cancel(request_id, force=force)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED, request
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    commands = await coordinator.store.commands.of(request_id)
    *_, dropped = [each for each in commands if each.kind is Kind.DROP_VIEWS]
    made, *_ = [each for each in commands if each.kind is Kind.CREATE_VIEWS and each.host_id != dropped.host_id]
    assert made.posted >= dropped.posted + BRIEF.fence + BRIEF.force_margin
