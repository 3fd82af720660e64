"""Whoever tells of what happens is woken when it does, not at the next regular look."""

import asyncio

from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestKind, RequestState
from coordinator.model.retention import KeptRule, Rule
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_archiving import archiving


async def woken(coordinator: ToyCoordinator) -> None:
    """Return once there is news; then it is news no more."""
    async with asyncio.timeout(DEADLINE):
        await coordinator.news.wait()
    coordinator.news.clear()


async def test_a_beginning_and_an_end_are_news(scene: Scene) -> None:
    """Promise: once each, when it is durable."""
    coordinator = await scene.coordinator()
    coordinator.news.clear()
    order = BackupOrder(tag="tag", time=1)
    name = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await woken(coordinator)
    await woken(coordinator)
    request = await coordinator.store.requests.get(name)
    assert request is not None
    assert request.state is RequestState.SUCCESS


async def test_a_node_that_does_not_archive_is_news(scene: Scene) -> None:
    """Promise: the alarm of a look is told at once."""
    coordinator = await archiving(scene)
    coordinator.news.clear()
    scene.agents[1].log.file = ""
    await woken(coordinator)
    assert await coordinator.store.requests.find(kind=RequestKind.ARCHIVING_LOST)


async def test_the_end_of_a_run_of_retention_is_news(scene: Scene) -> None:
    """Promise: one that ended well; one that failed says since when, and goes on saying so while it fails again."""
    coordinator = await scene.coordinator()
    _, backup = await coordinator.backup()
    assert backup.state is RequestState.SUCCESS
    await coordinator.store.retention.put([KeptRule(CLUSTER, ON_SERVER, "", Rule(count=5))])
    await coordinator.retention.ask(CLUSTER, ON_SERVER)
    coordinator.news.clear()
    await woken(coordinator)
    note = (await coordinator.retention.notes(CLUSTER))[ON_SERVER]
    assert note.ended
    assert not note.failed
    await scene.agents[1].stop()
    await coordinator.retention.ask(CLUSTER, ON_SERVER)
    await woken(coordinator)
    failed = (await coordinator.retention.notes(CLUSTER))[ON_SERVER]
    assert failed.failed >= note.ended
    await woken(coordinator)
    again = (await coordinator.retention.notes(CLUSTER))[ON_SERVER]
    assert (again.failed, again.begun > failed.begun) == (failed.failed, True)
