"""How an agent's events are followed when the stream breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from coordinator.fleet.client import Deadlines
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.fleet.reports import ReportTiming
from kit.http_auth import Unauthorized
from tests.fast.coordinator.fleet.hostile_agent import HostileAgent, event, report

DEADLINES = Deadlines(connect=5.0, call=30.0, listing=30.0, probe=20.0, silence=20.0)
PATIENCE = ReportTiming(poll=60.0, backoff_first=0.01, backoff_last=0.05)
DEADLINE = 20.0


class Log:
    """An agent's events; a stream ends with what there is of them, or breaks behind each `one_each`. `events`: sequence
    → the event's bytes."""

    def __init__(self) -> None:
        self.events: dict[int, bytes] = {}
        self.asked: list[int] = []
        self.instance = "one"
        self.refuses_ahead = False
        self.one_each = False
        self.refuses_token = False

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/events"""
        after = int(request.headers["Last-Event-ID"])
        self.asked.append(after)
        if self.refuses_token:
            return web.json_response(Unauthorized("no valid bearer token").as_dict(), status=401)
        if self.refuses_ahead and after > max(self.events, default=0):
            told = {"code": "sequence_ahead", "message": "a new log", "todo": "", "retry": "never", "fields": {}}
            return web.json_response(told, status=409)
        response = web.StreamResponse()
        await response.prepare(request)
        for sequence, told_then in sorted(self.events.items()):
            if sequence > after:
                await response.write(told_then)
                if self.one_each:
                    break
        return response

    async def node(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/node"""
        told = report(events=max(self.events, default=0), instance=self.instance)
        return web.Response(body=json.dumps(told).encode())


class Followed:
    """An agent, and a coordinator that follows it."""

    def __init__(self, log: Log, agent: HostileAgent, fleet: Fleet) -> None:
        self.log, self.fleet = log, fleet
        fleet.reports.name(agent.url, "mine", "snapshot", "a snapshot")

    @property
    def stage(self) -> str:
        """What is known of the command."""
        live = self.fleet.reports.live("mine")
        return "" if live is None else live.stage

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once it is true."""
        async with asyncio.timeout(DEADLINE):
            while not true():  # noqa: ASYNC110 - plain facts
                await asyncio.sleep(0.005)


@pytest.fixture
async def followed() -> AsyncIterator[Followed]:
    log = Log()
    answers: dict[str, Any] = {"/v1/events": log.follow, "/v1/node": log.node}
    async with (
        HostileAgent("127.0.80.1", answers) as agent,
        Fleet({"toy": ClusterAgents([agent.url], deadlines=DEADLINES)}, PATIENCE) as fleet,
    ):
        yield Followed(log, agent, fleet)


async def test_a_broken_stream_goes_on_behind_the_last_event(followed: Followed) -> None:
    """Promise: after each break the agent is asked for what came behind the last event that was read: what it did while
    nobody followed isn't left out, and none of it is told twice."""
    log = followed.log
    await followed.until(lambda: len(log.asked) > 1)
    log.one_each = True
    log.events = {number: event(number, "mine", stage=f"step {number}") for number in range(1, 10)}
    await followed.until(lambda: followed.stage == "step 9" and log.asked[-1] == 9)
    assert sorted({*log.asked}) == [*range(10)]
    assert log.asked == sorted(log.asked)


async def test_a_new_log_is_followed_from_its_end(followed: Followed) -> None:
    """Promise: an agent that lost its state, and counts its events anew, is followed again from what it tells
    then."""
    log = followed.log
    log.events[7] = event(7, "mine", stage="before")
    await followed.until(lambda: log.asked[-1:] == [7])
    log.events, log.instance, log.refuses_ahead = {}, "two", True
    await followed.until(lambda: log.asked[-1] == 0)
    log.events[1] = event(1, "mine", stage="anew", instance="two")
    await followed.until(lambda: followed.stage == "anew")
    log.events[9] = event(9, "mine", stage="later", instance="two")
    await followed.until(lambda: log.asked[-1] == 9)
    log.events, log.instance, log.refuses_ahead = {2: event(2, "mine", instance="three")}, "three", False
    await followed.until(lambda: log.asked[-1] == 2)


async def test_an_event_that_can_not_be_read_is_passed_over(followed: Followed) -> None:
    """Promise: one event that nobody can read, be it the first one or a later one, ends the following neither of what
    comes after it nor of what other commands do."""
    log = followed.log
    await followed.until(lambda: len(log.asked) > 0)
    for bad in (1, 4):
        if bad > 1:
            log.events[bad - 1] = event(bad - 1, "mine", stage="good")
        log.events[bad] = b'data: {"sequence": %d, "no": "event"}\n\n' % bad
        await followed.until(lambda bad=bad: log.asked[-1] == bad)  # type: ignore[misc]
        log.events[bad + 1] = event(bad + 1, "mine", stage=f"behind {bad}")
        await followed.until(lambda bad=bad: followed.stage == f"behind {bad}")  # type: ignore[misc]


async def test_a_stream_that_the_token_ended_goes_on_behind_the_last_event(followed: Followed) -> None:
    """Promise: an agent that refused the coordinator's token for a while is followed from where it was left: what it
    did meanwhile is read."""
    log = followed.log
    log.events[1] = event(1, "mine", stage="before")
    await followed.until(lambda: log.asked[-1:] == [1])
    log.refuses_token = True
    asked = len(log.asked)
    await followed.until(lambda: len(log.asked) > asked + 2)
    log.events[2] = event(2, "mine", stage="meanwhile")
    log.refuses_token = False
    await followed.until(lambda: followed.stage == "meanwhile")
    assert {*log.asked[asked:]} <= {1, 2}
