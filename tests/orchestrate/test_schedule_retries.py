"""Destinations that a scheduled backup did not reach are copied to later, from where it holds."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import RequestState
from coordinator.model.schedules import Schedule
from coordinator.orchestrate.schedules.schedules import ScheduleTiming
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, SCHEDULES, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.scheduled import HOUR, Clock, coordinator_by, due_now, run_ended, syncs, until

LATER = ScheduleTiming(look=0.05, retry_delay=3 * HOUR)


def no_room(scene: Scene, kind: Kind, times: int = 1) -> None:
    """The next copies of one node fail so often."""
    scene.nodes[1].failures[kind] = [ToyFailure("storage_failed", "no room") for _ in range(times)]


async def failed_once(scene: Scene, clock: Clock, timing: ScheduleTiming) -> tuple[ToyCoordinator, Schedule]:
    """A schedule whose first backup is on the nodes and not in its destination."""
    coordinator = await coordinator_by(scene, clock, timing)
    await coordinator.destination("there")
    no_room(scene, Kind.UPLOAD)
    schedule = due_now(clock(), "there")
    await coordinator.schedules.add(schedule)
    known = await run_ended(coordinator, schedule)
    assert known.run is not None
    assert (known.run.state, known.run.partial) == ("error", True)
    assert [(retry.destinations, retry.source, retry.attempts) for retry in known.retries] == [(["there"], None, 0)]
    return coordinator, known


async def test_a_destination_that_failed_is_copied_to_from_the_nodes(scene: Scene) -> None:
    """Promise: once there is room again the backup is whole in the destination, by syncs that the activity shows, and
    nothing is tried any more."""
    coordinator, schedule = await failed_once(scene, Clock(), SCHEDULES)
    no_room(scene, Kind.SYNC)
    await until(coordinator, schedule, lambda known: known.retries == [])
    first, second = await syncs(coordinator)
    assert (first.state, second.state) == (RequestState.ERROR, RequestState.SUCCESS)
    assert "attempt 2 of 3" in second.result["warnings"][0]
    assert schedule.run is not None
    listed = {backup.tag: backup for backup in await coordinator.orchestrator.list_backups(CLUSTER, "there")}
    backup = listed[schedule.run.order.tag]
    assert (backup.state, backup.missing, backup.backup_id) == ("success", [], schedule.id)
    events = await coordinator.store.requests.events(CLUSTER)
    assert [(event.destination["id"], event.status) for event in events] == [
        (ON_SERVER, "success"),
        ("there", "error"),
        ("there", "error"),
        ("there", "success"),
    ]


async def test_after_three_attempts_it_is_given_up(scene: Scene) -> None:
    """Promise: what never works is tried three times and no more."""
    coordinator, schedule = await failed_once(scene, Clock(), SCHEDULES)
    no_room(scene, Kind.SYNC, 10)
    await until(coordinator, schedule, lambda known: known.retries == [])
    await asyncio.sleep(10 * SCHEDULES.retry_delay)
    assert [request.state for request in await syncs(coordinator)] == [RequestState.ERROR] * 3


async def test_a_newer_backup_that_reaches_it_is_enough(scene: Scene) -> None:
    """Promise: what a newer backup of the schedule brought there is not copied again, over a restart too."""
    clock = Clock()
    _, schedule = await failed_once(scene, clock, LATER)
    await scene.stack.aclose()
    coordinator = await coordinator_by(scene, clock, LATER)
    assert (await coordinator.schedules.get(CLUSTER, schedule.id)).retries == schedule.retries
    clock.ahead += HOUR
    known = await run_ended(coordinator, schedule, 2)
    assert known.run is not None
    assert (known.run.state, known.retries) == ("success", [])
    clock.ahead += 2 * HOUR
    await run_ended(coordinator, schedule, 3)
    assert await syncs(coordinator) == []


@pytest.mark.parametrize("what", ["snapshot", "destination"])
async def test_what_is_gone_is_not_tried(scene: Scene, what: str) -> None:
    """Promise: where nothing is left to copy from, or nowhere to copy to, the attempts end."""
    clock = Clock()
    coordinator, schedule = await failed_once(scene, clock, LATER)
    assert schedule.run is not None
    if what == "snapshot":
        await coordinator.ended(
            await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(schedule.run.order.tag))
        )
    else:
        # As by an earlier release, which let go of what a schedule names.
        await coordinator.store.destinations.remove(CLUSTER, "there")
    clock.ahead += LATER.retry_delay + 1
    await until(coordinator, schedule, lambda known: known.retries == [])
    assert await syncs(coordinator) == []


async def test_another_destination_is_the_source_where_nothing_is_kept_on_the_nodes(scene: Scene) -> None:
    """Promise: of two destinations the one that has the backup gives it to the one that hasn't."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await coordinator.destination("here")
    await coordinator.destination("there")
    scene.nodes[1].full.add("there")
    schedule = due_now(clock(), "here", "there", keep=False)
    await coordinator.schedules.add(schedule)
    known = await run_ended(coordinator, schedule)
    assert [(retry.destinations, retry.source) for retry in known.retries] == [(["there"], "here")]
    scene.nodes[1].full.clear()
    await until(coordinator, schedule, lambda known: known.retries == [])
    [sync] = await syncs(coordinator)
    assert (sync.state, sync.spec["source"]) == (RequestState.SUCCESS, "here")


async def test_what_holds_nowhere_is_not_tried(scene: Scene) -> None:
    """Promise: without a copy that is whole there is nothing to copy from; the next run is another one's."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await coordinator.destination("there")
    no_room(scene, Kind.UPLOAD)
    schedule = due_now(clock(), "there", keep=False)
    await coordinator.schedules.add(schedule)
    known = await run_ended(coordinator, schedule)
    assert known.run is not None
    assert (known.run.state, known.retries) == ("error", [])


async def test_a_backup_that_lacks_a_node_is_copied_again_as_it_is(scene: Scene) -> None:
    """Promise: with force a destination that failed is copied to though no place has the backup whole, and an attempt
    that brought all there is to bring is the last."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await coordinator.destination("there")
    await scene.agents[2].stop()
    no_room(scene, Kind.UPLOAD)
    schedule = due_now(clock(), "there", partial=True)
    await coordinator.schedules.add(schedule)
    known = await run_ended(coordinator, schedule)
    assert [(each.destinations, each.source, each.parts) for each in known.retries] == [(["there"], None, 2)]
    await until(coordinator, schedule, lambda known: known.retries == [])
    [sync] = await syncs(coordinator)
    assert sync.result["destinations"]["there"]["parts"] == 2


async def test_a_failed_script_hides_no_destination_that_failed(scene: Scene) -> None:
    """Promise: where the script after the snapshot failed, the destination that lacks the backup is copied to, and the
    one that has it is not."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await coordinator.destination("here")
    await coordinator.destination("there")
    scene.nodes[1].full.add("there")
    scene.nodes[0].failures[Kind.SCRIPT] = [ToyFailure("script_failed", "it said no")]
    schedule = due_now(clock(), "here", "there")
    job = msgspec.structs.replace(schedule.job, post_script="notify")
    await coordinator.schedules.add(msgspec.structs.replace(schedule, job=job))
    known = await run_ended(coordinator, schedule)
    assert known.run is not None
    assert (known.run.state, known.run.partial) == ("error", True)
    assert [(each.destinations, each.source) for each in known.retries] == [(["there"], None)]
    scene.nodes[1].full.clear()
    await until(coordinator, schedule, lambda known: known.retries == [])
    assert [sync.state for sync in await syncs(coordinator)][-1] is RequestState.SUCCESS


async def test_who_cancels_an_attempt_is_not_asked_again(scene: Scene) -> None:
    """Promise: a person's cancel ends the attempts; no other one comes an hour later."""
    coordinator = await coordinator_by(scene, Clock())
    await coordinator.destination("there")
    no_room(scene, Kind.UPLOAD)
    scene.nodes[0].gates[Kind.SYNC] = asyncio.Event()
    schedule = due_now(Clock()(), "there")
    await coordinator.schedules.add(schedule)
    await run_ended(coordinator, schedule)
    await asyncio.wait_for(scene.nodes[0].begun[Kind.SYNC].wait(), 10)
    [sync] = await syncs(coordinator)
    await coordinator.orchestrator.cancel(sync.id, force=False)
    assert (await coordinator.ended(sync.id)).state is RequestState.CANCELLED
    del scene.nodes[0].gates[Kind.SYNC]
    await asyncio.sleep(5 * SCHEDULES.retry_delay)
    assert (await coordinator.schedules.get(CLUSTER, schedule.id)).retries == []
    assert len(await syncs(coordinator)) == 1


async def test_a_destination_that_left_the_job_is_not_copied_to(scene: Scene) -> None:
    """Promise: who takes a destination out of a schedule's job finds no later copies in it."""
    clock = Clock()
    coordinator, schedule = await failed_once(scene, clock, LATER)
    job = msgspec.structs.replace(schedule.job, copies=[])
    await coordinator.schedules.change(CLUSTER, schedule.id, schedule.timetable, job, {})
    clock.ahead += LATER.retry_delay + 1
    await until(coordinator, schedule, lambda known: known.retries == [])
    assert await syncs(coordinator) == []
