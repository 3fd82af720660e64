"""Orders are judged side by side: one that waits for a hung store holds up no other, and none misses another."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from agent.wire.backups import BackupView, Plan
from agent.wire.destinations import LocalSettings
from coordinator.model.errors import DestinationInUse, NoSuchDestination, TagInUse
from coordinator.model.orders import BackupOrder, DeleteOrder, DestinationOrder, RestoreOrder, RestoreTables, SyncOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import RestoreRunning
from tests.cluster.toy_agent import ToyBackups
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, DEADLINES, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene


class HungStore:
    """The store behind `there` as one agent sees it: what is asked of a backup there is answered once `go` is set.
    `waiting`: how many orders have asked so far."""

    def __init__(self, scene: Scene, patch: pytest.MonkeyPatch) -> None:
        self.go = asyncio.Event()
        self.waiting = 0
        own = ToyBackups.get

        async def get(backups: ToyBackups, tag: str, destination: str | None) -> BackupView:
            view = await own(backups, tag, destination)
            if destination == "there" and backups._node is scene.nodes[2]:
                self.waiting += 1
                await self.go.wait()
            return view

        patch.setattr(ToyBackups, "get", get)


Begin = Callable[[ToyCoordinator, str], Awaitable[str]]


async def ready(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator with a backup on the nodes and at `there`."""
    patient = msgspec.structs.replace(DEADLINES, listing=2 * DEADLINE)
    urls = [agent.url for agent in scene.agents]
    coordinator = await scene.stack.enter_async_context(ToyCoordinator(scene.directory / "c", urls, deadlines=patient))
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=True, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request
    return coordinator, tag


def delete(coordinator: ToyCoordinator, tag: str) -> Awaitable[str]:
    return coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))


def sync(coordinator: ToyCoordinator, tag: str) -> Awaitable[str]:
    return coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))


def restore(coordinator: ToyCoordinator, tag: str) -> Awaitable[str]:
    return coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there", truncate=True))


@pytest.mark.parametrize("order", [delete, sync, restore])
async def test_an_order_that_waits_for_a_hung_store_holds_up_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, order: Begin
) -> None:
    """Others begin and end, also those at whose end a one-shot destination is forgotten."""
    coordinator, tag = await ready(scene)
    hung = HungStore(scene, monkeypatch)
    judged = asyncio.ensure_future(order(coordinator, tag))
    await scene.until(lambda: hung.waiting == 1)
    async with asyncio.timeout(DEADLINE):
        change = await coordinator.orchestrator.start_destination_change(
            CLUSTER, DestinationOrder("add", "once", LocalSettings("once"), one_shot=True)
        )
        assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
        _, request = await coordinator.backup(keep=False, copies=copies("once"))
    assert request.state is RequestState.SUCCESS, request
    assert [known.id for known in await coordinator.store.destinations.all(CLUSTER)] == ["there"]
    assert not judged.done()
    hung.go.set()
    assert (await coordinator.ended(await judged)).state is RequestState.SUCCESS


@pytest.mark.parametrize("order", [delete, restore])
async def test_equal_orders_that_are_judged_at_once_are_one_request(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, order: Begin
) -> None:
    """Whoever asks twice is told the same id."""
    coordinator, tag = await ready(scene)
    hung = HungStore(scene, monkeypatch)
    judged = [asyncio.ensure_future(order(coordinator, tag)) for _ in range(3)]
    await scene.until(lambda: hung.waiting == 3)
    hung.go.set()
    [request_id] = set(await asyncio.gather(*judged))
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_of_two_restores_of_one_table_that_are_judged_at_once_one_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both truncating would empty what the other has imported."""
    coordinator, tag = await ready(scene)
    hung = HungStore(scene, monkeypatch)
    orders = [
        RestoreOrder(tag, "there", keyspaces={"shop": RestoreTables(tables, truncate=True)})
        for tables in ([], ["orders"])
    ]
    judged = [asyncio.ensure_future(coordinator.orchestrator.start_restore(CLUSTER, each)) for each in orders]
    await scene.until(lambda: hung.waiting == 2)
    hung.go.set()
    await asyncio.wait(judged)
    [refused] = [each for each in judged if each.exception() is not None]
    [begun] = [each for each in judged if each is not refused]
    assert isinstance(refused.exception(), RestoreRunning)
    assert (await coordinator.ended(begun.result())).state is RequestState.SUCCESS


async def test_an_order_sees_what_began_while_it_was_judged(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup with the tag; the end of its destination."""
    coordinator, tag = await ready(scene)
    hung = HungStore(scene, monkeypatch)
    judged = [asyncio.ensure_future(order(coordinator, tag)) for order in (delete, sync)]
    await scene.until(lambda: hung.waiting == 2)
    monkeypatch.undo()
    judgement, put_plan = asyncio.Event(), ToyBackups.put_plan

    async def put_once_they_are_judged(backups: ToyBackups, tag: str, destination: str | None, plan: Plan) -> None:
        await judgement.wait()
        await put_plan(backups, tag, destination, plan)

    monkeypatch.setattr(ToyBackups, "put_plan", put_once_they_are_judged)
    backup = BackupOrder(tag, 1, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, backup)
    hung.go.set()
    for each in judged:
        with pytest.raises(TagInUse):
            await each
    judgement.set()
    assert (await coordinator.ended(request_id)).state is RequestState.ERROR, "the tag was taken"


async def test_what_an_order_needs_may_be_forgotten_while_it_is_judged(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, rather than begun with a destination that isn't known."""
    coordinator, tag = await ready(scene)
    hung = HungStore(scene, monkeypatch)
    judged = asyncio.ensure_future(restore(coordinator, tag))
    await scene.until(lambda: hung.waiting == 1)
    gone = await coordinator.orchestrator.start_destination_change(CLUSTER, DestinationOrder("delete", "there"))
    assert (await coordinator.ended(gone.request_id)).state is RequestState.SUCCESS
    hung.go.set()
    with pytest.raises((NoSuchDestination, DestinationInUse)):
        await judged
