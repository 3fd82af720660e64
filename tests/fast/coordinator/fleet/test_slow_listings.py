"""Listings that agents send slowly: whom they keep waiting, and for how long they are read."""

import asyncio
import itertools
import json
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from agent.wire.backups import BackupView
from coordinator.fleet import listings
from coordinator.fleet.bulk import AT_ONCE, Bulk
from coordinator.fleet.client import AgentClient, Deadlines, open_session
from coordinator.fleet.errors import AgentUnreachable
from tests.cluster.loop_time import HurryingLoop
from tests.fast.coordinator.fleet.hostile_agent import Answer, HostileAgent, report

DEADLINES = Deadlines(connect=5.0, call=30.0, listing=0.3, probe=20.0, silence=20.0)
PAUSE, FOR_LONG = 0.02, 50
"""Seconds between two bytes, and how many of them take several times the deadline of a listing."""


def trickling(count: int | None) -> Answer:
    """An empty list, byte by byte; None: it never ends."""

    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"[")
        for _ in itertools.count() if count is None else range(count):
            await response.write(b" ")
            await asyncio.sleep(PAUSE)
        await response.write(b"]")
        return response

    return send


async def listed(answer: Answer) -> list[BackupView]:
    async with HostileAgent("127.0.80.1", {"/v1/backups": answer}) as agent, open_session() as session:
        async with asyncio.timeout(60.0):
            return await AgentClient(session, agent.url, DEADLINES).backups(None)


@pytest.mark.parametrize("path", ["/v1/backups", "/v1/backups/t"])
async def test_no_report_stands_behind_listings_that_are_sent_slowly(path: str) -> None:
    """Promise: as many agents as are read at a time send their backups for ever: a node's report is read meanwhile."""
    waiting = [asyncio.Event() for _ in range(AT_ONCE)]

    async def never(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"[")
        next(event for event in waiting if not event.is_set()).set()
        await asyncio.Event().wait()
        return response

    patient = Deadlines(listing=3_600.0)
    async with AsyncExitStack() as stack:
        answers: dict[str, Answer] = {path: never, "/v1/node": json.dumps(report()).encode()}
        agent = await stack.enter_async_context(HostileAgent("127.0.80.1", answers))
        client = AgentClient(await stack.enter_async_context(open_session()), agent.url, patient, bulk := Bulk())
        asked = [client.backups(None) if path == "/v1/backups" else client.backup("t", None) for _ in waiting]
        tasks = [asyncio.ensure_future(each) for each in asked]
        async with asyncio.timeout(30.0):
            await asyncio.gather(*(event.wait() for event in waiting))
            while not (bulk.turn.locked() or bulk.backups.locked()):  # noqa: ASYNC110 - until all are being read
                await asyncio.sleep(0)
            assert (await client.node()).agent_id == "agent"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_short_listing_has_the_deadline_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an agent that sends byte after byte of a short listing is given up at the deadline, and not at that of
    a listing of thousands of backups."""
    monkeypatch.setattr(listings, "LONGEST", 10_000)
    with pytest.raises(AgentUnreachable, match="no answer in time"):
        await listed(trickling(None))


def test_a_large_listing_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: one that has outgrown the small ones is read to its end beyond their deadline, and no longer than a few
    of them."""
    monkeypatch.setattr(listings, "SMALL", 0)
    monkeypatch.setattr(listings, "LONGEST", 10_000)
    # By its time no byte comes late because the machine is busy.
    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        assert runner.run(listed(trickling(FOR_LONG))) == []
        monkeypatch.setattr(listings, "LONGEST", 2)
        with pytest.raises(AgentUnreachable, match="no answer in time"):
            runner.run(listed(trickling(None)))
