"""Schedules over three toy nodes: what is due becomes backups like a person's, one at a time."""

import asyncio

import msgspec

from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.model.schedules import ONCE
from coordinator.orchestrate.schedules.schedules import ScheduleTiming
from tests.cluster.toy_coordinator import CLUSTER, SCHEDULES, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.scheduled import HOUR, Clock, coordinator_by, due_now, run_ended, runs_of, until, until_true
from tests.orchestrate.test_store_trouble import FullDisk


async def test_what_is_due_is_backed_up_and_listed_under_the_schedules_id(scene: Scene) -> None:
    """Promise: a scheduled backup is one like another, with the schedule's id as its own and in its tag; the one before
    it goes by the schedule's rule of retention, and no other backup."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await coordinator.destination("there")
    by_hand, _ = await coordinator.backup()
    schedule = due_now(clock(), "there")
    rules = [KeptRule(CLUSTER, place, schedule.id, Rule(count=1)) for place in (ON_SERVER, "there")]
    await coordinator.store.retention.put(rules)
    await coordinator.schedules.add(schedule)
    first = await run_ended(coordinator, schedule)
    assert first.run is not None
    assert (first.run.state, first.missed, first.retries) == ("success", [], [])
    [request] = await runs_of(coordinator, schedule)
    assert request.tag == first.run.order.tag
    assert f"opscenter_{schedule.id}_" in str(request.tag)
    for place in (None, "there"):
        listed = await coordinator.orchestrator.list_backups(CLUSTER, place)
        assert {backup.backup_id for backup in listed if backup.tag == request.tag} == {schedule.id}
    clock.ahead += HOUR
    second = await run_ended(coordinator, schedule, 2)
    assert second.run is not None
    left = {by_hand, second.run.order.tag}

    async def gone() -> bool:
        listed = [await coordinator.orchestrator.list_backups(CLUSTER, place) for place in (None, "there")]
        return [{backup.tag for backup in backups} for backups in listed] == [left, left - {by_hand}]

    await until_true(gone)


async def test_nodes_that_are_down_are_told_as_a_run_does(scene: Scene) -> None:
    """Promise: without force the run's status names the node, and it begins, once, when the node is back in time; with
    force the backup is a partial one."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await scene.agents[2].stop()
    strict, forced = due_now(clock()), due_now(clock(), partial=True)
    await coordinator.schedules.add(strict)
    waits = await until(coordinator, strict, lambda known: known.run is not None and known.run.message != "")
    assert waits.run is not None
    assert waits.run.state == "starting"
    assert scene.nodes[2].address in waits.run.message
    await coordinator.schedules.add(forced)
    partial = await run_ended(coordinator, forced)
    assert partial.run is not None
    assert (partial.run.state, partial.run.partial, partial.retries) == ("error", True, [])
    await scene.agents[2].start()
    back = await run_ended(coordinator, strict)
    assert back.run is not None
    assert (back.run.state, back.run.request) == ("success", waits.run.request)


async def test_a_run_whose_nodes_come_too_late_is_refused(scene: Scene) -> None:
    """Promise: when half of the interval is over the run is given up with the reason that it had, and the next one is
    at its own time."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    await scene.agents[2].stop()
    schedule = due_now(clock())
    await coordinator.schedules.add(schedule)
    await until(coordinator, schedule, lambda known: known.run is not None and known.run.message != "")
    clock.ahead += HOUR / 2 + 5
    told = await until(coordinator, schedule, lambda known: known.run is not None and known.run.state == "refused")
    assert told.run is not None
    assert scene.nodes[2].address in told.run.message
    await scene.agents[2].start()
    clock.ahead += HOUR / 2
    back = await run_ended(coordinator, schedule)
    assert back.run is not None
    assert (back.run.state, back.run.due.at - told.run.due.at) == ("success", HOUR)


async def test_with_force_a_run_right_after_the_start_waits_for_all(scene: Scene) -> None:
    """Promise: agents that start later than the coordinator don't make its forced backups partial; who isn't there
    when the grace is over is gone on without."""
    for comes in (True, False):
        clock = Clock()
        await scene.agents[2].stop()
        timing = msgspec.structs.replace(SCHEDULES, grace=HOUR / 4)
        coordinator = await coordinator_by(scene, clock, timing)
        schedule = due_now(clock(), partial=True)
        await coordinator.schedules.add(schedule)
        waits = await until(coordinator, schedule, lambda known: known.run is not None and known.run.message != "")
        assert waits.run is not None
        assert "just started" in waits.run.message
        if comes:
            await scene.agents[2].start()
        else:
            clock.ahead += HOUR / 4
        ended = await run_ended(coordinator, schedule)
        assert ended.run is not None
        assert ended.run.partial is not comes
        await coordinator.schedules.remove(CLUSTER, schedule.id)
        await scene.stack.aclose()


async def test_the_second_of_a_schedule_waits_for_the_first(scene: Scene) -> None:
    """Promise: two backups of one schedule never run at once; another schedule's doesn't wait."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock)
    schedule, other = due_now(clock()), due_now(clock(), interval=7)
    gate = scene.nodes[0].gates[Kind.SNAPSHOT] = asyncio.Event()
    await coordinator.schedules.add(schedule)
    await scene.nodes[0].begun[Kind.SNAPSHOT].wait()
    await coordinator.schedules.add(other)
    clock.ahead += HOUR
    waiting = await until(coordinator, schedule, lambda known: known.waiting is not None)
    assert waiting.waiting is not None
    assert waiting.run is not None
    assert waiting.waiting.at == waiting.run.due.at + HOUR
    await asyncio.sleep(10 * 0.05)  # it is looked at again and again
    assert (len(await runs_of(coordinator, schedule)), len(await runs_of(coordinator, other))) == (1, 1)
    gate.set()
    await run_ended(coordinator, schedule, 2)
    first, second = await runs_of(coordinator, schedule)
    assert first.finished is not None
    assert second.started >= first.finished
    assert (first.state, second.state) == (RequestState.SUCCESS, RequestState.SUCCESS)


async def test_a_late_run_says_so_and_a_coordinator_of_later_knows_what_was_missed(scene: Scene) -> None:
    """Promise: after a stop the last missed run comes at once and tells how late it is; the ones before it are told as
    missed."""
    clock = Clock()
    schedule = due_now(clock())
    coordinator = await coordinator_by(scene, clock)
    await coordinator.schedules.add(schedule)
    await run_ended(coordinator, schedule)
    await scene.stack.aclose()
    clock.ahead += 5 * HOUR + 600
    again = await coordinator_by(scene, clock)
    told = await run_ended(again, schedule, 2)
    assert [(missed.count, missed.last - missed.first) for missed in told.missed] == [(4, 3 * HOUR)]
    request = (await runs_of(again, schedule))[-1]
    [warning] = request.result["warnings"]
    assert "late" in warning


async def test_a_schedule_for_once_runs_once(scene: Scene) -> None:
    """Promise: it stays, with how it went, and comes no second time."""
    clock = Clock()
    coordinator = await coordinator_by(scene, clock, ScheduleTiming(look=0.01))
    schedule = due_now(clock(), interval=ONCE)
    await coordinator.schedules.add(schedule)
    await run_ended(coordinator, schedule)
    clock.ahead += 400 * 24 * HOUR
    await asyncio.sleep(0.3)
    assert len(await runs_of(coordinator, schedule)) == 1


async def test_a_state_that_cant_be_written_keeps_a_run_waiting_and_loses_none(scene: Scene) -> None:
    """Promise: while the disk is full nothing begins of which nobody would know later; when it is free again the run
    comes, once."""
    FullDisk.full, clock = False, Clock()
    urls = [agent.url for agent in scene.agents]
    made = ToyCoordinator(scene.directory / "coordinator", urls, clock=clock, database=FullDisk, schedules=SCHEDULES)
    coordinator = await scene.stack.enter_async_context(made)
    schedule = due_now(clock() + HOUR)
    await coordinator.schedules.add(schedule)
    FullDisk.full = True
    clock.ahead += HOUR + 1
    await asyncio.sleep(0.5)
    assert await runs_of(coordinator, schedule) == []
    assert (await coordinator.schedules.get(CLUSTER, schedule.id)).version == 1
    FullDisk.full = False
    told = await run_ended(coordinator, schedule)
    assert told.run is not None
    assert (told.run.state, told.missed) == ("success", [])
