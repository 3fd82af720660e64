"""Settings that are forgotten stay so: a change that is under way doesn't bring them, and their secrets, back."""

import asyncio

import pytest

from agent.wire.destinations import DestinationView, LocalSettings, PutDestination
from coordinator.model.errors import DestinationInUse, NoSuchDestination
from coordinator.model.orders import BackupOrder, DeleteOrder, DestinationOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import DestinationRefused
from coordinator.orchestrate.places import Places
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_destination_changes import SlowCheck, changed, update


async def test_a_delete_does_not_remove_settings_that_are_being_changed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys or limits: the delete is refused, and can be sent again when the change is done."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    slow = SlowCheck(scene.agents[2], "there", monkeypatch)
    changing = asyncio.create_task(changed(coordinator, update("there", throttle=5)))
    await asyncio.wait_for(slow.begun.wait(), 10)
    order = DeleteOrder(tag, "there", remove_destination=True)
    with pytest.raises(DestinationInUse, match="being changed"):
        await coordinator.orchestrator.start_delete(CLUSTER, order)
    slow.go.set()
    await changing
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
    assert request.state is RequestState.SUCCESS, request
    assert await coordinator.store.destinations.all(CLUSTER) == []
    assert not any(node.destinations for node in scene.nodes)


@pytest.mark.parametrize("path", ["there", "broken"])
async def test_a_destination_that_is_gone_when_its_change_was_proven_stays_gone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Whether the new settings were good or bad: the agents give them back."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    slow = SlowCheck(scene.agents[2], path, monkeypatch)
    changing = asyncio.create_task(coordinator.orchestrator.start_destination_change(CLUSTER, update(path, throttle=5)))
    await asyncio.wait_for(slow.begun.wait(), 10)
    await coordinator.store.destinations.remove(CLUSTER, "there")
    slow.go.set()
    with pytest.raises(NoSuchDestination if path == "there" else DestinationRefused):
        await changing
    assert await coordinator.store.destinations.all(CLUSTER) == []
    assert not any(node.destinations for node in scene.nodes)


async def test_a_one_shot_destination_is_forgotten_after_its_change(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup to it ends when that is done, and leaves its settings nowhere."""
    coordinator = await scene.coordinator()
    asked = asyncio.Event()
    users = Places.users

    async def watched(places: Places, destination_id: str, but: str = "") -> list[str]:
        if but:
            asked.set()
        return await users(places, destination_id, but)

    monkeypatch.setattr(Places, "users", watched)
    order = DestinationOrder("add", "there", LocalSettings("there"), one_shot=True)
    await changed(coordinator, order)
    slow = SlowCheck(scene.agents[2], "there", monkeypatch)
    changing = asyncio.create_task(
        changed(coordinator, DestinationOrder("update", "there", LocalSettings("there", False, 5), one_shot=True))
    )
    await asyncio.wait_for(slow.begun.wait(), 10)
    backup = await coordinator.orchestrator.start_backup(
        CLUSTER, BackupOrder(tag="tag", time=1, keep=False, copies=copies("there"))
    )
    await asyncio.wait_for(asked.wait(), 10)
    for _ in range(200):  # long enough for it to be forgotten, if nothing kept it from that
        await asyncio.sleep(0.001)
    slow.go.set()
    await changing
    assert (await coordinator.ended(backup)).state is RequestState.SUCCESS
    assert await coordinator.store.destinations.all(CLUSTER) == []
    assert not any(node.destinations for node in scene.nodes)


async def test_settings_of_which_the_agents_are_being_told_are_not_deleted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent that is told last would hold them for ever."""
    coordinator = await scene.coordinator()
    agent = scene.agents[2]
    await coordinator.destination("there")
    begun, go = asyncio.Event(), asyncio.Event()
    own = agent.put

    async def put(destination_id: str, request: PutDestination) -> DestinationView:
        if begun.is_set() or "there" in agent.node.destinations:
            return await own(destination_id, request)
        begun.set()
        await go.wait()
        return await own(destination_id, request)

    monkeypatch.setattr(agent, "put", put)
    proven = asyncio.Event()
    view = agent.view

    def lost(destination_id: str) -> DestinationView:
        if proven.is_set():
            proven.clear()
            agent.node.destinations.pop("there", None)
        return view(destination_id)

    monkeypatch.setattr(agent, "view", lost)
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, update("there", throttle=5))
    proven.set()
    await asyncio.wait_for(begun.wait(), 10)
    with pytest.raises(DestinationInUse, match="being told") as caught:
        await coordinator.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
    assert caught.value.fields["request"] == change.request_id
    go.set()
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    await changed(coordinator, DestinationOrder("delete", "there"))
    assert not any(node.destinations for node in scene.nodes)
