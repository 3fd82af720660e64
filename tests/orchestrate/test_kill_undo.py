"""kill -9 of the coordinator while a restore that fails is undone: no later life goes forward over what was undone."""

import asyncio
import shutil

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal
from tests.orchestrate.test_restore_flow import VIEW, backed_up, restored

FAILING = [Kind.FETCH, Kind.DROP_VIEWS]
DEATHS = [(Kind.FETCH, (9, 4, 1)), (Kind.DROP_VIEWS, (15, 8, 1))]
"""Writes, counted from the last one back: that it leaves is noted, then while it is undone, and before its end. All of
them are in tests/long."""


async def trouble(scene: Scene, kind: Kind) -> None:
    """The first node's Cassandra goes away in the phase, and is back as soon as the coordinator undoes."""
    node = scene.nodes[0]
    await node.begun[kind].wait()
    node.up = False
    if kind is Kind.DROP_VIEWS:
        scene.world.views.clear()  # it had come so far
    node.gates.pop(kind).set()
    undone = [each.begun[Kind.CLEAN] for each in scene.nodes] + [node.begun[Kind.CREATE_VIEWS]]
    waits = [asyncio.create_task(event.wait()) for event in undone]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    node.up = True


class Undone:
    """A backup with wrong rows over it, and restores of it that fail in a phase."""

    def __init__(self, scene: Scene, kind: Kind, tag: str) -> None:
        self._scene = scene
        self._kind = kind
        self._tag = tag
        self._number = 0

    async def killed(self, mortal: Mortal, deaths: list[tuple[int, bool]]) -> dict[str, object]:
        """How the restore ended whose coordinator died so, when nothing was changed and nothing stays."""
        scene, kind = self._scene, self._kind
        self._number += 1
        state = scene.directory / f"restore{self._number}"
        shutil.copytree(scene.directory / "coordinator", state)
        scene.world.views["shop", VIEW.name] = VIEW
        for node in scene.nodes:
            node.up = True
            for event in node.begun.values():
                event.clear()
        before = scene.world.rows()
        speaker = scene.nodes[0]
        speaker.gates[kind] = asyncio.Event()
        speaker.failures[kind] = [ToyFailure("cassandra_unavailable", "away")]
        troubling = asyncio.create_task(trouble(scene, kind))
        order = {"tag": self._tag, "destination": "there", "truncate": True}
        urls = [agent.url for agent in scene.agents]
        answer = await mortal.carry_out(state, urls, "restore", order, deaths)
        await asyncio.wait_for(troubling, 10)
        assert (answer["state"], answer["events"]) == ("error", ["error"]), (deaths, answer)
        assert "no table was changed" in answer["message"], (deaths, answer)
        assert scene.world.count(Kind.TRUNCATE) == 0, (deaths, answer)
        assert scene.world.rows() == before, (deaths, answer)
        assert scene.world.views == {("shop", VIEW.name): VIEW}, (deaths, answer)
        assert not any(node.held for node in scene.nodes), (deaths, answer)
        shutil.rmtree(state)
        return answer


async def failing(scene: Scene, kind: Kind) -> Undone:
    """What the restores of the test are made of."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await scene.stack.aclose()
    for node in scene.nodes:
        node.rows["shop", "orders"] = {"wrong"}
    return Undone(scene, kind, tag)


@pytest.mark.parametrize(("kind", "deaths"), DEATHS)
async def test_a_restore_that_is_killed_while_it_is_undone_stays_undone(
    scene: Scene, kind: Kind, deaths: tuple[int, ...]
) -> None:
    """Promise: once the undoing has begun it is finished, also when the node that failed is back by then: the tables
    keep their rows, the views are there, and nothing that was fetched stays."""
    undone = await failing(scene, kind)
    async with Mortal() as mortal:
        whole = (await undone.killed(mortal, []))["writes"]
        assert isinstance(whole, int)
        for number in deaths:
            answer = await undone.killed(mortal, [(whole - number, True)])
            assert answer["lives"] == 2, (number, answer)


async def test_a_restart_breaks_off_no_undoing_that_is_under_way(scene: Scene) -> None:
    """Promise: a node that was removing what it had fetched when the coordinator was restarted removes all of it."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[0].failures[Kind.FETCH] = [ToyFailure("not_enough_space", "full")]
    slow = scene.nodes[2]
    gate = slow.gates[Kind.CLEAN] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(slow.begun[Kind.CLEAN].wait(), 10)
    await scene.stack.aclose()
    coordinator = await scene.coordinator()
    await scene.until(lambda: not any(node.held for node in scene.nodes[:2]))
    asyncio.get_running_loop().call_later(0.3, gate.set)
    request = await coordinator.ended(request_id)
    assert request.message.endswith("full; no table was changed"), request
    assert not slow.held
    assert "warnings" not in request.result


async def test_a_restore_that_stopped_past_the_point_of_no_return_goes_no_further_after_a_restart(scene: Scene) -> None:
    """Promise: restarted while the views are made again, it doesn't truncate beneath them, though the node that could
    not be told to is back: that is left to the same restore, posted again."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    speaker = scene.nodes[0]
    truncating, making = (
        speaker.gates.setdefault(kind, asyncio.Event()) for kind in (Kind.TRUNCATE, Kind.CREATE_VIEWS)
    )
    speaker.failures[Kind.TRUNCATE] = [ToyFailure("cassandra_unavailable", "away")]
    order = RestoreOrder(tag, destination="there", truncate=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(speaker.begun[Kind.TRUNCATE].wait(), 10)
    speaker.up = False
    truncating.set()
    await asyncio.wait_for(speaker.begun[Kind.CREATE_VIEWS].wait(), 10)
    await scene.stack.aclose()
    speaker.up = True
    coordinator = await scene.coordinator()
    asyncio.get_running_loop().call_later(0.3, making.set)
    request = await coordinator.ended(request_id)
    assert (request.state, request.result["resumable_job"]) == (RequestState.ERROR, request_id), request
    assert scene.world.count(Kind.TRUNCATE) == 0
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, request_id), again
    assert scene.world.rows() == before
    assert scene.world.views == {("shop", VIEW.name): VIEW}
