"""Destinations that job schedules name: they stay as long as a schedule does, and removals that are sent twice."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from coordinator.model.errors import DestinationInUse, NoSuchDestination
from coordinator.model.orders import Copy, DeleteOrder, DestinationOrder
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule
from coordinator.model.schedules import Schedule
from coordinator.orchestrate.errors import DestinationScheduled
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.scheduled import HOUR, due_now

GONE = DestinationOrder("delete", "there")


def daily(*places: str) -> Schedule:
    """A schedule that begins nothing as long as a test takes."""
    return due_now(unix_seconds() + HOUR, *places)


async def removal(coordinator: ToyCoordinator) -> str:
    """The request that removes `there`."""
    return (await coordinator.orchestrator.start_destination_change(CLUSTER, GONE)).request_id


async def changed(coordinator: ToyCoordinator, schedule: Schedule, *places: str) -> None:
    """Let its job name these destinations."""
    job = msgspec.structs.replace(schedule.job, copies=[Copy(place) for place in places])
    await coordinator.schedules.change(CLUSTER, schedule.id, schedule.timetable, job, {})


def held_delete(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Two events: an agent was told to forget a destination, and it may."""
    told, may, agent = asyncio.Event(), asyncio.Event(), scene.agents[0]
    own = agent.delete

    async def delete(destination_id: str) -> None:
        told.set()
        await may.wait()
        await own(destination_id)

    monkeypatch.setattr(agent, "delete", delete)
    return told, may


async def test_a_destination_that_schedules_name_is_not_removed(scene: Scene) -> None:
    """Promise: the refusal names the schedules, and nothing is changed; once they are changed or deleted it can go."""
    coordinator = await scene.coordinator()
    for place in ("there", "other"):
        await coordinator.destination(place)
    first, second = daily("there", "other"), daily("there")
    for schedule in (first, second, daily("other")):
        await coordinator.schedules.add(schedule)
    with pytest.raises(DestinationScheduled) as refused:
        await removal(coordinator)
    assert refused.value.fields["schedules"] == [first.id, second.id]
    assert (refused.value.status, refused.value.retry) == (409, "never")
    assert all("there" in node.destinations for node in scene.nodes)
    await changed(coordinator, first, "other")
    await coordinator.schedules.remove(CLUSTER, second.id)
    assert (await coordinator.ended(await removal(coordinator))).state is RequestState.SUCCESS
    assert not any("there" in node.destinations for node in scene.nodes)


async def test_a_delete_of_a_backup_leaves_the_settings_that_schedules_name(scene: Scene) -> None:
    """Promise: with `remove_destination` the backup goes, the settings stay, and the request names the schedules."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    schedule = daily("there")
    await coordinator.schedules.add(schedule)
    order = DeleteOrder(tag, "there", remove_destination=True)
    ended = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, order))
    assert (ended.state, ended.partial) == (RequestState.ERROR, True)
    assert ended.error is not None
    assert (ended.error["code"], ended.error["fields"]["schedules"]) == ("destination_scheduled", [schedule.id])
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []


async def test_no_schedule_comes_to_name_what_is_being_removed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: while the agents are being told that a destination goes, and afterwards, neither a new schedule nor a
    changed one can name it; a schedule that doesn't name it anew can be changed all the same."""
    coordinator = await scene.coordinator()
    for place in ("there", "other"):
        await coordinator.destination(place)
    other = daily("other")
    await coordinator.schedules.add(other)
    told, may = held_delete(scene, monkeypatch)
    request = await removal(coordinator)
    await asyncio.wait_for(told.wait(), 10)
    with pytest.raises(DestinationInUse):
        await coordinator.schedules.add(daily("there"))
    with pytest.raises(DestinationInUse):
        await changed(coordinator, other, "other", "there")
    may.set()
    await coordinator.ended(request)
    with pytest.raises(NoSuchDestination):
        await coordinator.schedules.add(daily("there"))
    assert [each.job for each in await coordinator.schedules.all(CLUSTER)] == [other.job]
    await coordinator.store.destinations.remove(CLUSTER, "other")  # as an earlier release let it go
    await coordinator.schedules.change(CLUSTER, other.id, other.timetable, other.job, {"type": "backup"})


async def test_a_removal_sees_the_schedule_that_is_just_being_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a removal that comes between a schedule's look whether the destination is there and its write waits for
    the write, and is refused."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    writing, may = asyncio.Event(), asyncio.Event()
    put = coordinator.store.schedules.put

    async def slow(schedule: Schedule, rules: Sequence[KeptRule] = ()) -> bool:
        writing.set()
        await may.wait()
        return await put(schedule, rules)

    monkeypatch.setattr(coordinator.store.schedules, "put", slow)
    adding = asyncio.create_task(coordinator.schedules.add(daily("there")))
    await asyncio.wait_for(writing.wait(), 10)
    removing = asyncio.create_task(removal(coordinator))
    for _ in range(100):  # as far as it can come without the write: each of its looks takes one of these at most
        await coordinator.store.schedules.of(CLUSTER)
    may.set()
    await adding
    with pytest.raises(DestinationScheduled):
        await removing


async def test_a_removal_that_is_sent_twice_is_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: while it runs the same removal again answers its id; of what is removed it says that there is no such
    destination."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    told, may = held_delete(scene, monkeypatch)
    request = await removal(coordinator)
    await asyncio.wait_for(told.wait(), 10)
    assert await removal(coordinator) == request
    may.set()
    assert (await coordinator.ended(request)).state is RequestState.SUCCESS
    with pytest.raises(NoSuchDestination):
        await removal(coordinator)
