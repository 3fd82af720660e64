"""Attack row A14 (and A06, A09 from the agents' side): an agent that was taken over can lie about its own node, and no
more: the coordinator stays bounded, says which agent it is, and goes on with the others."""

import asyncio
import gzip
import hashlib
import itertools
import json
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import web

from agent.wire.commands import State
from agent.wire.node import NodeReport
from coordinator.fleet import bounded, client, counts
from coordinator.fleet.client import AgentClient, Deadlines, open_session
from coordinator.fleet.errors import AgentMisbehaved
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.fleet.registry import Agent
from coordinator.fleet.reports import ReportTiming
from coordinator.model.table_counts import Layouts
from kit.secret import Secret
from tests.fast.coordinator.fleet.hostile_agent import Answer, HostileAgent, command, endless, event, report, stream

DEADLINES = Deadlines(connect=5.0, call=30.0, listing=30.0, probe=20.0, silence=20.0)
PATIENCE = ReportTiming(poll=60.0, backoff_first=0.01, backoff_last=0.05)
OTHER = "22222222-0000-0000-0000-000000000002"
HUGE = 10**30
FEW = 1 << 20
"""Bytes that stand for the limit: what is compared is that there is one, not how high it is."""


def body(**changes: Any) -> bytes:
    return json.dumps(report(**changes)).encode()


async def refreshed(bad: HostileAgent, good: HostileAgent) -> list[Agent]:
    urls = [bad.url, good.url]
    async with Fleet({"toy": ClusterAgents(urls, deadlines=DEADLINES)}, PATIENCE) as fleet:
        return await fleet.registry.refresh("toy")


def honest() -> HostileAgent:
    node = report()["node"] | {"host_id": OTHER, "address": "127.0.80.2"}
    return HostileAgent("127.0.80.2", {"/v1/node": body(node=node)})


@pytest.mark.parametrize(
    "told",
    [
        body(load_bytes=HUGE),
        body(load_bytes=-1),
        body(load_bytes=1.5),
        body(load_bytes="many"),
        body(load_bytes=True),
        body(now=-5),
        body(now=1e300),
        body(events=HUGE),
        body(events=-1),
        body(node={**report()["node"], "tokens": 7}),
        body(node={**report()["node"], "host_id": [OTHER]}),
        body(data_directories=[{"path": "/d", "volume": "v", "total_bytes": HUGE, "free_bytes": 0}]),
        body(data_directories=[{"path": "/d", "volume": "v", "total_bytes": 5, "free_bytes": -5}]),
        body(protocol_min=HUGE),
        body().replace(b'"now": 1.0', b'"now": NaN'),
        body().replace(b'"now": 1.0', b'"now": 1e999'),
        body().replace(b'"events": 0', b'"events": ' + b"9" * 5000),
        body()[:-1],
        b"[" * 100_000,
        b'{"a":' * 100_000,
        gzip.compress(body()),
    ],
    ids=lambda told: hashlib.md5(told[:4000]).hexdigest()[:8] if told[:1] != b"\x1f" else "packed",
)
async def test_a_report_of_impossible_values_is_refused_and_the_others_are_heard(told: bytes) -> None:
    """Promise: numbers that can't be, other types, NaN, deep nesting, half a report: the agent is named as misbehaving,
    and every other node is as it was."""
    async with HostileAgent("127.0.80.1", {"/v1/node": told}) as bad, honest() as good:
        first, second = await refreshed(bad, good)
        assert isinstance(first.error, AgentMisbehaved)
        assert bad.url in first.error.message
        assert (first.report, second.alive, second.host_id) == (None, True, OTHER)


@pytest.mark.parametrize(
    "progress",
    [
        {"d": {"k": {"t": {"done_bytes": HUGE}}}},
        {"d": {"k": {"t": {"done_bytes": -1}}}},
        {"d": {"k": {"t": {"total_files": 2**51}}}},
        {"d": {"k": {"t": {"total_files": 0.5}}}},
        {"d": {"k": {"t": {"total_files": True}}}},
        {"d": {"k": {"t": 5}}},
        {"d": {"k": ["t"]}},
        [],
    ],
)
async def test_progress_that_can_not_be_is_refused(progress: Any) -> None:
    """Promise: 10^30 files, negative and broken numbers never reach what people see; the agent is named."""
    told = json.dumps(command("mine", progress=progress)).encode()
    async with HostileAgent("127.0.80.1", {"/v1/commands/mine": told}) as bad, open_session() as session:
        with pytest.raises(AgentMisbehaved, match=bad.url):
            await AgentClient(session, bad.url, DEADLINES).command("mine")


async def test_sums_of_the_largest_counts_can_be_shown() -> None:
    """Promise: a thousand nodes that all tell the most that is taken still make an answer."""
    largest = {"done_files": 2**50, "total_files": 2**50, "done_bytes": 2**50, "total_bytes": 2**50}
    told = json.dumps(command("mine", progress={"d": {"k": {"t": largest}}})).encode()
    async with HostileAgent("127.0.80.1", {"/v1/commands/mine": told}) as bad, open_session() as session:
        view = await AgentClient(session, bad.url, DEADLINES).command("mine")
    packed = counts.kept({}, view.progress, Layouts(), done=False)["d"]
    total = packed
    for _ in range(999):
        total = total.plus(packed)
    assert json.loads(total.encode())["k"]["t"]["done_size"] == 1000 * 2**50


@pytest.mark.parametrize("path", ["/v1/node", "/v1/backups/tag", "/v1/commands/mine", "/v1/destinations"])
async def test_an_answer_without_end_is_given_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: whatever is asked, no agent has more bytes kept than the limit, told in advance or not (of listings see
    `test_large_listings`)."""
    monkeypatch.setattr(client, "MOST_OF_AN_ANSWER", FEW)

    async def announced(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(2**50)})
        await response.prepare(request)
        await response.write(b"[")
        await asyncio.sleep(600)
        return response

    for answer in (endless(b"x" * 65_536, head=b'{"a":"'), announced):
        async with HostileAgent("127.0.80.1", {path: answer}) as bad, open_session() as session:
            asked = AgentClient(session, bad.url, DEADLINES)
            calls = {
                "/v1/node": asked.node,
                "/v1/backups/tag": partial(asked.backup, "tag", None),
                "/v1/commands/mine": partial(asked.command, "mine"),
                "/v1/destinations": asked.destinations,
            }
            call: Callable[[], Awaitable[object]] = calls[path]  # type: ignore[assignment]
            tracemalloc.start()
            with pytest.raises(AgentMisbehaved, match="an answer of more than"):
                await call()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert most < 16 * FEW


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: x\n" * 8_192], ids=["one line", "many lines"])
async def test_an_event_without_end_is_given_up(piece: bytes) -> None:
    """Promise: neither a line nor an event of ever more lines fills the memory."""

    async def read(response: Any) -> None:
        async for _ in bounded.event_data(response.content, FEW):
            pass

    async with (
        HostileAgent("127.0.80.1", {"/v1/events": endless(piece, head=b"data: ")}) as bad,
        open_session() as session,
        session.get(f"{bad.url}/v1/events") as response,
    ):
        tracemalloc.start()
        with pytest.raises(bounded.TooLarge):
            await read(response)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 16 * FEW


async def test_a_packed_answer_is_not_unpacked() -> None:
    """Promise: a bomb of gzip stays packed, and is no answer."""
    packed = gzip.compress(b'{"a": "' + b"x" * 50_000_000)

    async def bomb(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    answers = dict.fromkeys(("/v1/node", "/v1/destinations"), bomb)
    async with HostileAgent("127.0.80.1", answers) as bad, open_session() as session:
        asked = AgentClient(session, bad.url, DEADLINES)
        tracemalloc.start()
        calls: list[Callable[[], Awaitable[object]]] = [asked.node, asked.destinations]
        for call in calls:
            with pytest.raises(AgentMisbehaved, match="can't be read"):
                await call()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 10_000_000


async def test_no_redirect_of_an_agent_is_followed() -> None:
    """Promise: an agent can't have the coordinator ask another address, be it a metadata service, nor send it the
    agents' token."""
    async with HostileAgent("127.0.80.3") as target:

        async def away(request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{target.url}{request.path}"})

        paths = ("/v1/node", "/v1/backups", "/v1/commands/mine", "/v1/destinations", "/v1/events", "/health")
        async with (
            HostileAgent("127.0.80.1", dict.fromkeys(paths, away)) as bad,
            open_session(Secret("token-of-agents")) as session,
        ):
            asked = AgentClient(session, bad.url, DEADLINES)
            calls: list[Callable[[], Awaitable[object]]] = [
                asked.node,
                lambda: asked.backups(None),
                lambda: asked.command("mine"),
                asked.destinations,
                lambda: anext(asked.events(0)),
            ]
            for call in calls:
                with pytest.raises(AgentMisbehaved, match="307"):
                    await call()
        assert target.came == []


async def test_no_cookie_of_an_agent_is_kept() -> None:
    """Promise: one agent can't leave something that is sent to another one of the same name."""

    async def marks(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body(), headers={"Set-Cookie": "mark=1; Path=/"})

    async with HostileAgent("127.0.80.1", {"/v1/node": marks}) as bad, open_session() as session:
        asked = AgentClient(session, bad.url, DEADLINES)
        await asked.node()
        await asked.node()
        assert ["Cookie" in one.headers for one in bad.came if one.path == "/v1/node"] == [False, False]
        assert len(session.cookie_jar) == 0


async def test_an_agent_tells_of_its_own_commands_only() -> None:
    """Promise: an answer about another command is refused, and an event about one that another agent has changes
    nothing that is shown of it and wakes nobody."""
    ended = json.dumps(command("theirs", state="success")).encode()

    def events() -> Iterator[bytes]:
        yield event(1, "theirs", state="success", stage="forged")
        yield event(2, "mine", stage="seen")

    answers: dict[str, Answer] = {"/v1/commands/mine": ended, "/v1/events": stream(events())}
    async with HostileAgent("127.0.80.1", answers) as bad, honest() as good:
        urls = [bad.url, good.url]
        async with Fleet({"toy": ClusterAgents(urls, deadlines=DEADLINES)}, PATIENCE) as fleet:
            fleet.reports.name(good.url, "theirs", "snapshot", "a snapshot")
            fleet.reports.name(bad.url, "mine", "snapshot", "a snapshot")
            first, _ = await fleet.registry.refresh("toy")
            with pytest.raises(AgentMisbehaved, match="another command"):
                await first.client.command("mine")
            async with asyncio.timeout(20):
                while (live := fleet.reports.live("mine")) is None or live.stage != "seen":  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            theirs = fleet.reports.live("theirs")
            assert theirs is not None
            assert (theirs.state, theirs.stage) == (State.QUEUED, "")


async def test_ever_new_tables_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an agent that tells of new tables with each event for ever is said to misbehave, in a line a minute, and
    what is kept of it stays under the limit."""
    monkeypatch.setattr(counts, "MOST_TABLES", 1_000)

    def events() -> Iterator[bytes]:
        for number in itertools.count(1):
            tables: dict[str, object] = {f"t{number}_{each}": {} for each in range(100)}
            yield event(number, "mine", progress={"d": {"k": tables}, f"d{number}": {}})

    async with HostileAgent("127.0.80.1", {"/v1/events": stream(events())}) as bad:
        with structlog.testing.capture_logs() as lines:
            async with Fleet({"toy": ClusterAgents([bad.url], deadlines=DEADLINES)}, PATIENCE) as fleet:
                fleet.reports.name(bad.url, "mine", "snapshot", "a snapshot")
                async with asyncio.timeout(30):
                    while len([one for one in bad.came if one.path == "/v1/events"]) < 5:  # noqa: ASYNC110
                        await asyncio.sleep(0.005)
                live = fleet.reports.live("mine")
        url = bad.url
    assert live is not None
    assert sum(len(tables.layout.names) for tables in live.progress.values()) <= 1_000
    told = [line for line in lines if line["event"] == "event stream can't be read"]
    assert [(line["agent"], "1000 tables" in line["reason"]) for line in told] == [(url, True)]


async def test_a_report_of_a_million_tables_is_refused_or_read_and_the_others_are_heard() -> None:
    """Promise: a cluster whose one agent claims a million tables still hears the others."""
    tables = {f"t{number}": "id" for number in range(1_000_000)}
    keyspace = {"replication": {}, "durable_writes": True, "tables": tables, "views": {}}
    async with HostileAgent("127.0.80.1", {"/v1/node": body(keyspaces={"k": keyspace})}) as bad, honest() as good:
        _, second = await refreshed(bad, good)
        assert (second.alive, second.host_id) == (True, OTHER)


def test_a_report_of_an_agent_before_the_bounds_is_read() -> None:
    """Promise: what honest agents told so far is within the bounds."""
    assert msgspec.json.decode(body(load_bytes=2**50), type=NodeReport).load_bytes == 2**50
