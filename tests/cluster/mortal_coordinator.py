"""A coordinator in processes of its own that kill themselves with SIGKILL at a chosen durable write.

`python -m tests.cluster.mortal_coordinator` reads one JSON object per line, {state, urls, order, kind, deaths}, carries
the order out in as many lives as it takes (with `forget` each death takes the state along), and answers a line with how
the request ended and how many lives it took.
Each life is a forked process: the imports are paid for once, the death is a real one.
"""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent.wire.point_in_time import JobDocument
from coordinator.model.orders import (
    ArchivingOrder,
    BackupOrder,
    DestinationOrder,
    PointInTimeOrder,
    RestoreOrder,
    SyncOrder,
)
from coordinator.model.requests import RequestKind
from coordinator.model.retention import KeptRule, Rule
from coordinator.model.schedules import Schedule
from coordinator.orchestrate.archiving.setting import setting_of
from coordinator.orchestrate.point_in_time.found_jobs import written
from coordinator.orchestrate.schedules.runs import is_over
from coordinator.store.database import Database
from kit.errors import HelenusError
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, ToyCoordinator

T = TypeVar("T")


class FatalDatabase(Database):
    """Dies with -9 at the write number `die_at` (from 1): just before it, or just after it is durable."""

    die_at = 0
    after = False
    writes = 0

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        FatalDatabase.writes += 1
        fatal = FatalDatabase.writes == FatalDatabase.die_at
        if fatal and not FatalDatabase.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await super().write(function)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


async def live(state: Path, urls: list[str], kind: str, order: dict[str, Any], *, again: bool) -> dict[str, Any]:
    """Begin the order, unless an earlier life did, and see it to its end."""
    async with ToyCoordinator(state, urls, database=FatalDatabase) as coordinator:
        if kind == "destination":
            return await change(coordinator, order, again)
        if kind == "archiving":
            return await archive(coordinator, order)
        if kind == "pit":
            return await go_back(coordinator, order)
        if kind == "schedule":
            return await follow(coordinator, msgspec.convert(order, Schedule))
        if kind == "retention":
            return await retain(coordinator, order["place"], order["count"])
        known = await coordinator.store.requests.find(tag=order["tag"])
        wanted = [request for request in known if request.kind == kind]
        if wanted:
            request_id = wanted[-1].id
        elif kind == "backup":
            request_id = await coordinator.orchestrator.start_backup(CLUSTER, msgspec.convert(order, BackupOrder))
        elif kind == "sync":
            request_id = await coordinator.orchestrator.start_sync(CLUSTER, msgspec.convert(order, SyncOrder))
        else:
            request_id = await coordinator.orchestrator.start_restore(CLUSTER, msgspec.convert(order, RestoreOrder))
        request = await coordinator.ended(request_id)
        events = await coordinator.store.requests.events(CLUSTER)
        mine = [event.status for event in events if event.request == request_id]
        return {"state": request.state, "message": request.message, "events": mine, "requests": len(wanted)}


async def change(coordinator: ToyCoordinator, order: dict[str, Any], again: bool) -> dict[str, Any]:
    """Change a destination, in the first life only, and see every request of that sort to its end."""
    if not again:
        await coordinator.orchestrator.start_destination_change(CLUSTER, msgspec.convert(order, DestinationOrder))
    requests = await coordinator.store.requests.find(kind=RequestKind.DESTINATION)
    states = [(await coordinator.ended(request.id)).state for request in requests]
    kept = await coordinator.store.destinations.get(CLUSTER, order["id"])
    return {"states": states, "kept": None if kept is None else [kept.revision, kept.settings.path]}


async def archive(coordinator: ToyCoordinator, order: dict[str, Any]) -> dict[str, Any]:
    """Switch archiving, unless an earlier life did, and see it to its end."""
    known = await coordinator.store.requests.find(kind=RequestKind.ARCHIVING)
    wanted = msgspec.convert(order, ArchivingOrder)
    request_id = known[-1].id if known else await coordinator.archiving.start(CLUSTER, wanted)
    request = await coordinator.ended(request_id)
    setting = await setting_of(coordinator.store, CLUSTER)
    in_force = setting is not None and setting.order == wanted
    return {"state": request.state, "message": request.message, "requests": len(known), "in_force": in_force}


async def go_back(coordinator: ToyCoordinator, order: dict[str, Any]) -> dict[str, Any]:
    """Bring the cluster to a point, unless an earlier life did. A life that lost its state, which had a destination,
    only waits for what the agents tell of."""
    kind = RequestKind.POINT_IN_TIME
    known = await coordinator.store.requests.find(kind=kind)
    if not known and await coordinator.store.destinations.all(CLUSTER):
        await coordinator.orchestrator.points.start(CLUSTER, msgspec.convert(order, PointInTimeOrder))
        known = await coordinator.store.requests.find(kind=kind)
    async with asyncio.timeout(DEADLINE):
        while not known and await is_unfinished(coordinator):
            await asyncio.sleep(0.02)
            known = await coordinator.store.requests.find(kind=kind)
    known = known or await coordinator.store.requests.find(kind=kind)
    if not known:
        return {"state": "forgotten", "message": ""}
    request = await coordinator.ended(known[-1].id)
    return {"state": request.state, "message": request.message, "request": request.id}


async def is_unfinished(coordinator: ToyCoordinator) -> bool:
    """Whether the agents know a job that has not ended, or one of them can't be asked."""
    newest: dict[str, JobDocument] = {}
    for agent in coordinator.fleet.registry.agents(CLUSTER):
        try:
            documents = await agent.client.jobs()
        except HelenusError:
            return True
        for document in documents:
            if document.id not in newest or written(document) > written(newest[document.id]):
                newest[document.id] = document
    return any(not document.ended for document in newest.values())


async def follow(coordinator: ToyCoordinator, schedule: Schedule) -> dict[str, Any]:
    """Make a schedule that is due, unless an earlier life did; see its run to its end, and what is tried again."""
    if await coordinator.store.schedules.get(CLUSTER, schedule.id) is None:
        await coordinator.schedules.add(schedule)
    async with asyncio.timeout(DEADLINE):
        while True:
            known = await coordinator.schedules.get(CLUSTER, schedule.id)
            if known.run is not None and is_over(known.run) and not known.retries:
                break
            await asyncio.sleep(0.01)
    requests = await coordinator.store.requests.find()
    ended = [[request.kind, (await coordinator.ended(request.id)).state, request.tag] for request in requests]
    events = [event.status for event in await coordinator.store.requests.events(CLUSTER)]
    return {"requests": ended, "state": known.run.state, "tag": known.run.order.tag, "events": events}


async def retain(coordinator: ToyCoordinator, place: str, count: int) -> dict[str, Any]:
    """Give the place a rule and have a run, unless an earlier life did; see the run to its end."""
    if not await coordinator.store.retention.of(CLUSTER, place):
        await coordinator.retention.ask(CLUSTER, place)
        await coordinator.store.retention.put([KeptRule(CLUSTER, place, "", Rule(count=count))])
    async with asyncio.timeout(DEADLINE):
        while True:
            note = (await coordinator.retention.notes(CLUSTER)).get(place)
            if note is not None and not note.asked:
                break
            await asyncio.sleep(0.01)
    deletes = await coordinator.store.requests.find(kind=RequestKind.DELETE)
    return {"states": [request.state for request in deletes], "tags": [request.tag for request in deletes]}


def carry_out(task: dict[str, Any]) -> dict[str, Any]:
    """Lives until one ends by itself. `deaths`: per life [write number, after?]; later lives are left alone."""
    lives = 0
    while True:
        deaths = task["deaths"]
        die_at, after = deaths[lives] if lives < len(deaths) else (0, False)
        lives += 1
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.dup2(2, 1)  # logs go beside the answers
            FatalDatabase.die_at, FatalDatabase.after, FatalDatabase.writes = die_at, after, 0
            code = 1
            try:
                answer = asyncio.run(
                    live(Path(task["state"]), task["urls"], task["kind"], task["order"], again=lives > 1)
                )
                answer["writes"] = FatalDatabase.writes
                os.write(writing, json.dumps(answer).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            if task.get("forget"):
                shutil.rmtree(task["state"])
            continue
        return {**json.loads(said or b'{"state": "crashed"}'), "lives": lives}


def main() -> None:
    """One task per line of standard input, one answer per line of standard output."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(carry_out(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
