"""Deletes that a person cancels: before the first mark nothing is deleted, after it the cancel is refused."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from agent.commands.runner import JobSpec, RunnerTiming
from agent.model.job import JobContext, Outcome
from agent.wire.commands import Kind, State
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import PastThePointOfReturn
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_cancels import _cancelled_while_down as cancelled_while_down
from tests.orchestrate.test_deletes import listed


async def backed_up(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator and the tag of a backup that is in `there` and on the nodes."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    return coordinator, tag


@pytest.mark.parametrize("place", [None, "there"])
@pytest.mark.parametrize("force", [False, True])
async def test_a_cancel_after_a_mark_is_refused(scene: Scene, place: str | None, force: bool) -> None:
    """Promise: no delete ends cancelled whose backup is gone: forced or not, it is told that it is deleted."""
    coordinator, tag = await backed_up(scene)
    last = scene.nodes[2]
    last.gates[Kind.DELETE] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place))

    await told(coordinator, request_id, lambda commands: any(each.state is State.SUCCESS for each in commands))
    with pytest.raises(PastThePointOfReturn) as refused:
        await coordinator.orchestrator.cancel(request_id, force=force)
    assert f"{tag} is deleted" in refused.value.message
    assert ("its space goes with the next sweep" in refused.value.message) == (place is not None)
    last.gates.pop(Kind.DELETE).set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_cancel_before_any_node_was_told_deletes_nothing(scene: Scene) -> None:
    """Promise: while it is still looked up who takes part, a cancel ends the delete, and says that nothing is gone."""
    coordinator, tag = await backed_up(scene)
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    for agent in scene.agents:
        agent.freeze()
    await coordinator.orchestrator.cancel(request_id, force=False)
    for agent in scene.agents:
        agent.thaw()
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED
    assert request.message.endswith("; nothing was deleted")
    assert await listed(coordinator.orchestrator, "there") == [(tag, "success", [])]


async def test_a_cancel_calls_queued_marks_back(scene: Scene) -> None:
    """Promise: a delete that waits at its agents behind another one can be cancelled, and its backup stays whole."""
    coordinator, tag = await backed_up(scene)
    other, _ = await coordinator.backup(keep=False, copies=copies("there"))
    for node in scene.nodes:
        node.gates[Kind.DELETE] = asyncio.Event()
    first = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(other, "there"))
    await asyncio.gather(*(asyncio.wait_for(node.begun[Kind.DELETE].wait(), 10) for node in scene.nodes))
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await told(coordinator, request_id, lambda commands: bool(commands) and all(each.accepted for each in commands))
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED
    assert request.message.endswith("; nothing was deleted")
    for node in scene.nodes:
        node.gates.pop(Kind.DELETE).set()
    assert (await coordinator.ended(first)).state is RequestState.SUCCESS
    assert await listed(coordinator.orchestrator, "there") == [(tag, "success", [])]


async def test_a_cancel_that_crosses_the_first_mark_tells_that_the_backup_is_gone(scene: Scene) -> None:
    """Promise: taken just before a node told that it is done, the cancel doesn't end `cancelled`: it says what is gone,
    and the same DELETE sent again frees the rest."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[2].gates[Kind.DELETE] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await scene.until(lambda: scene.world.count(Kind.DELETE) == 2)
    run = coordinator.orchestrator._requests.running(request_id)
    assert run is not None
    run.cancelled.set()
    scene.nodes[2].gates.pop(Kind.DELETE).set()
    request = await coordinator.ended(request_id)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    assert request.error["code"] == "past_the_point_of_return"
    assert scene.nodes[0].address in request.message
    assert await listed(coordinator.orchestrator, "there") == []
    again = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    assert (await coordinator.ended(again)).state is RequestState.SUCCESS


@pytest.mark.parametrize("done", [False, True])
async def test_a_delete_cancelled_while_the_coordinator_was_down_tells_what_became_of_it(
    scene: Scene, done: bool
) -> None:
    """Promise: the next life calls back what agents still queue, and a mark that was put meanwhile is told, never
    passed over as undone."""
    coordinator, tag = await backed_up(scene)
    other, _ = await coordinator.backup(keep=False, copies=copies("there"))
    for node in scene.nodes:
        node.gates[Kind.DELETE] = asyncio.Event()
    await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(other, "there"))
    await asyncio.gather(*(asyncio.wait_for(node.begun[Kind.DELETE].wait(), 10) for node in scene.nodes))
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await told(coordinator, request_id, lambda commands: bool(commands) and all(each.accepted for each in commands))
    await cancelled_while_down(scene, request_id)
    if done:
        for node in scene.nodes:
            node.gates.pop(Kind.DELETE).set()
        await scene.until(lambda: scene.world.count(Kind.DELETE) == 6)
    again = await scene.coordinator()
    request = await again.ended(request_id)
    if done:
        assert (request.state, request.partial) == (RequestState.ERROR, True)
        assert f"{tag} is deleted" in request.message
        assert await listed(again.orchestrator, "there") == []
        return
    assert request.state is RequestState.CANCELLED
    assert request.message.endswith("; nothing was deleted")
    for node in scene.nodes:
        node.gates.pop(Kind.DELETE).set()
    assert (tag, "success", []) in await listed(again.orchestrator, "there")


@pytest.mark.parametrize("place", [None, "there"])
@pytest.mark.parametrize("done", [False, True])
async def test_a_running_delete_that_ends_cancelled_is_looked_after(
    scene: Scene, place: str | None, done: bool
) -> None:
    """Promise: an agent can't take a mark back, or a snapshot that it has cleared: that its command ended `cancelled`
    doesn't mean that the backup is still there, so it is looked for before anybody is told."""
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:
        hold_deletes(scene, node.number, do_it=done and node is scene.nodes[0])
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place))
    await shown(coordinator, request_id, State.WAITING)
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    ends = [view.state for agent in scene.agents for view in await agent.runner.views() if view.kind == Kind.DELETE]
    assert ends == [State.CANCELLED] * 3
    if not done:
        assert request.state is RequestState.CANCELLED
        assert request.message.endswith("; nothing was deleted")
        assert await listed(coordinator.orchestrator, place) == [(tag, "success", [])]
        return
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert f"{tag} is deleted" in request.message
    assert f"the cancel came when {scene.nodes[0].address} had done it" in request.message


async def test_a_delete_that_does_not_end_when_it_is_cancelled_may_yet_be_done(scene: Scene) -> None:
    """Promise: of an agent that hears the cancel and goes on it isn't said that it deleted nothing."""
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, cancel=0.2))
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    for agent in scene.agents:
        agent.runner._patience = RunnerTiming(cancel=0.05)
    let_go = asyncio.Event()
    for node in scene.nodes:
        hold_deletes(scene, node.number, do_it=False, deaf_until=let_go)
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await shown(coordinator, request_id, State.WAITING)
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    let_go.set()
    assert request.state is RequestState.CANCELLED
    everybody = ", ".join(node.address for node in scene.nodes)
    assert request.message.endswith(f"; whether it is deleted on {everybody} is not known")


@pytest.mark.parametrize("silent", [False, True], ids=["never arrived", "silent"])
async def test_only_an_agent_that_answers_can_tell_that_it_never_got_the_delete(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Promise: a command that an agent doesn't know, and was cancelled, deletes nothing; of one that gives no answer
    that isn't said."""
    coordinator, tag = await backed_up(scene)
    sending = asyncio.Event()

    async def on_its_way(command: object) -> None:
        sending.set()
        await asyncio.Event().wait()

    for agent in coordinator.fleet.registry.agents(CLUSTER):
        monkeypatch.setattr(agent.client, "post_command", on_its_way)
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await asyncio.wait_for(sending.wait(), 10)
    if silent:
        await scene.agents[1].stop()
    await coordinator.orchestrator.cancel(request_id, force=False)
    request = await coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED
    of_it = f"whether it is deleted on {scene.nodes[1].address} is not known"
    assert request.message.endswith(f"; {of_it if silent else 'nothing was deleted'}")


def hold_deletes(scene: Scene, number: int, *, do_it: bool, deaf_until: asyncio.Event | None = None) -> None:
    """A node's deletes say that they wait, for ever, once they have done it or are just about to; a cancel ends them,
    or doesn't before `deaf_until`."""
    runner = scene.agents[number - 1].runner
    lane, toy = runner._jobs[Kind.DELETE].lane, runner._jobs[Kind.DELETE].run

    async def job(context: JobContext) -> Outcome:
        await context.stages.enter("marking")
        if do_it:
            await toy(context)
        context.waiting({"code": "waiting_for_destination", "message": "no answer"})
        try:
            await asyncio.Event().wait()
        finally:
            if deaf_until is not None:
                await deaf_until.wait()
        raise AssertionError

    runner._jobs[Kind.DELETE] = JobSpec(lane, job)


async def shown(coordinator: ToyCoordinator, request_id: str, state: State) -> None:
    """Return once all of the request's commands are said to be in that state."""
    async with asyncio.timeout(10):
        while True:
            commands = await coordinator.store.commands.of(request_id)
            lives = [coordinator.fleet.reports.live(each.id) for each in commands]
            if lives and all(live is not None and live.state is state for live in lives):
                return
            await asyncio.sleep(0.005)


async def told(coordinator: ToyCoordinator, request_id: str, true: Callable[[list[PostedCommand]], bool]) -> None:
    """Return once the coordinator has noted so much of the request's commands."""
    async with asyncio.timeout(10):
        while not true(await coordinator.store.commands.of(request_id)):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.005)
