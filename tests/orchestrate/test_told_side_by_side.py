"""Agents are told of a destination, and of its end, side by side: one that hangs holds up only itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agent.wire.destinations import DestinationView, LocalSettings, PutDestination
from coordinator.model.orders import DestinationOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import DestinationRefused
from tests.cluster.toy_agent import ToyAgent
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_destination_changes import update


class Together:
    """None of the calls of a round goes on before all agents are in it."""

    def __init__(self, agents: list[ToyAgent]) -> None:
        self._count = len(agents)
        self._came = 0
        self._all = asyncio.Event()

    async def wait(self) -> None:
        self._came += 1
        if self._came == self._count:
            self._all.set()
        await self._all.wait()


def deleting(agent: ToyAgent, together: Together) -> Callable[[str], Coroutine[Any, Any, None]]:
    own = agent.delete

    async def delete(destination_id: str) -> None:
        await together.wait()
        await own(destination_id)

    return delete


def putting(agent: ToyAgent, together: Together) -> Callable[[str, PutDestination], Coroutine[Any, Any, Any]]:
    own = agent.put

    async def put(destination_id: str, request: PutDestination) -> DestinationView:
        await together.wait()
        return await own(destination_id, request)

    return put


async def test_all_agents_forget_a_destination_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its secrets are gone from those that answer, whichever doesn't."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    together = Together(scene.agents)
    for agent in scene.agents:
        monkeypatch.setattr(agent, "delete", deleting(agent, together))
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
    request = await coordinator.ended(change.request_id)
    assert request.state is RequestState.SUCCESS, request
    assert not any(node.destinations for node in scene.nodes)


async def test_all_agents_give_back_at_once_what_was_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that one agent can't use stay on none, and nothing is left to be mended at the next start."""
    coordinator = await scene.coordinator()
    together = Together(scene.agents)
    for agent in scene.agents:
        monkeypatch.setattr(agent, "delete", deleting(agent, together))
    with pytest.raises(DestinationRefused):
        await coordinator.destination("there", LocalSettings("broken"))
    assert not any(node.destinations for node in scene.nodes)
    assert await coordinator.store.values.get(f"destination changes of {CLUSTER}") == {}


async def test_all_agents_are_told_of_an_update_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that lost it since it was proven are taught it anew."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    together = Together(scene.agents)
    for agent in scene.agents:
        monkeypatch.setattr(agent, "put", putting(agent, together))
    tell = coordinator.orchestrator._tell_agents

    async def lost(*given: Any) -> str:
        for agent in scene.agents:
            agent.node.destinations.pop("there")
            monkeypatch.setattr(agent, "put", putting(agent, again))
        return await tell(*given)

    again = Together(scene.agents)
    monkeypatch.setattr(coordinator.orchestrator._changes, "_make", lost)
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, update("there", throttle=5))
    request = await coordinator.ended(change.request_id)
    assert request.state is RequestState.SUCCESS, request
    assert {node.destinations["there"][1] for node in scene.nodes} == {LocalSettings("there", False, 5)}
