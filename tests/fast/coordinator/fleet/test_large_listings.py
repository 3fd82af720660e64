"""Listings of more backups than any memory should hold as they come."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.backups import BackupView, NodeRecord, Record
from agent.wire.destinations import DestinationView, S3Settings
from coordinator.fleet import lean_backups, listings
from coordinator.fleet.client import AgentClient, Deadlines, open_session
from coordinator.fleet.errors import AgentMisbehaved, AgentUnreachable, ListingTooLarge
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.fleet.lean_backups import LeanBackups, LeanNodes
from coordinator.fleet.reports import Reports
from coordinator.model.destinations import Destination
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.run import Surroundings
from tests.fast.coordinator.fleet.hostile_agent import HostileAgent, report
from tests.fast.coordinator.state.test_contract import MemorySite

DEADLINES = Deadlines(connect=5.0, call=30.0, listing=30.0, probe=20.0, silence=20.0)
NODES, KEYSPACES, TABLES = 200, 8, 50
TABLES_OF = {f"keyspace_{number}": [f"table_{table:03}" for table in range(TABLES)] for number in range(KEYSPACES)}


def backup(number: int, **changes: Any) -> BackupView:
    """One of many that all nodes take part in."""
    nodes = [
        NodeRecord(
            f"00000000-0000-4000-8000-{node:012}",
            f"10.0.{node // 256}.{node % 256}",
            "success",
            {keyspace: 1_000_000 * number + 1000 * node + at for at, keyspace in enumerate(TABLES_OF)},
        )
        for node in range(NODES)
    ]
    record = Record(f"adhoc_{number:05}", "adhoc", float(number), "success", TABLES_OF, nodes, number + 1.0)
    return msgspec.structs.replace(BackupView(record.tag, False, record), **changes)


def listing(count: int) -> Callable[[web.Request], Any]:
    """An answer of so many backups."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(count):
            await response.write((b"," if number else b"[") + msgspec.json.encode(backup(number)))
        await response.write(b"]")
        return response

    return answer


async def listed(answer: Any) -> list[BackupView]:
    async with HostileAgent("127.0.80.1", {"/v1/backups": answer}) as agent, open_session() as session:
        return await AgentClient(session, agent.url, DEADLINES).backups(None)


@pytest.fixture
def none_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "SMALL", 0)


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """Bytes that were taken at most since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.usefixtures("none_is_small")
async def test_many_backups_take_little_memory(memory: Callable[[], int]) -> None:
    """Promise: a listing takes less than its own JSON, also while it is read, and says the same as it did."""
    count = 100
    found = await listed(listing(count))
    size = sum(len(msgspec.json.encode(backup(number))) for number in range(0, count, 10)) * 10
    assert size > 6_000_000
    assert memory() < size
    assert [view.tag for view in found] == [f"adhoc_{number:05}" for number in range(count)]
    assert found[7] == backup(7)
    assert found[7].record is not None
    assert isinstance(found[7].record.nodes, LeanNodes)


async def test_few_backups_are_taken_as_they_are() -> None:
    """Promise: what is small is neither looked through nor packed, and says the same."""
    found = await listed(listing(3))
    assert found == [backup(number) for number in range(3)]
    assert all(view.record is not None and isinstance(view.record.nodes, list) for view in found)
    assert await listed(b" []\n") == []


@pytest.mark.usefixtures("none_is_small")
async def test_more_than_memory_holds_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, memory: Callable[[], int]
) -> None:
    """Promise: an agent that lists backups without end, honest or not, is read no further than the limit, and isn't
    said to misbehave."""
    monkeypatch.setattr(listings.read_backups, "__defaults__", (1 << 21,))
    with pytest.raises(ListingTooLarge, match="lists more backups"):
        await listed(listing(100_000))
    assert memory() < 16 << 20


@pytest.mark.usefixtures("none_is_small")
@pytest.mark.parametrize(
    ("too_large", "asked"), [((True, True, True, False), 2), ((True, False, False, False), 2), ((False,) * 4, 1)]
)
async def test_what_is_too_large_is_asked_of_one_more_agent(
    too_large: tuple[bool, ...], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: when an agent's listing of a shared store is too large, one more is asked, in case the first made it
    up; when that one says the same it is told, and no further agent is asked to send as much."""
    monkeypatch.setattr(listings.read_backups, "__defaults__", (1 << 21,))
    place = Destination("d", "toy", S3Settings(path="bucket"), 1, "repository", "cluster")
    view = msgspec.json.encode(DestinationView("d", 1, place.settings, "repository", "cluster"))
    async with AsyncExitStack() as stack:
        agents = []
        for number, too_many in enumerate(too_large, 1):
            node = report()["node"] | {"host_id": f"host-{number}", "address": f"127.0.80.{number}"}
            answers: dict[str, Any] = {
                "/v1/node": msgspec.json.encode(report(node=node)),
                "/v1/destinations/d": view,
                "/v1/backups": listing(1_000 if too_many else 3),
            }
            agents.append(await stack.enter_async_context(HostileAgent(f"127.0.80.{number}", answers)))
        members = ClusterAgents([agent.url for agent in agents], deadlines=DEADLINES)
        fleet = await stack.enter_async_context(Fleet({"toy": members}))
        around = Surroundings(await MemorySite().open(), fleet.registry, Reports())
        if sum(too_large) > 1:
            with pytest.raises(ListingTooLarge):
                await Places(around, "toy").backups(place)
        else:
            assert len(await Places(around, "toy").backups(place)) == 3
        came = [request.path for agent in agents for request in agent.came]
        assert came.count("/v1/backups") == asked


@pytest.mark.parametrize("small", [0, listings.SMALL])
@pytest.mark.parametrize(
    ("told", "message"),
    [
        (b'{"backups":[]}', "something else than a list"),
        (b'[{"tag":"t","deleted":false,"record":null},5]', "something else than a list"),
        (b'[{"tag":"t","deleted":false}', "can't be read|breaks off|missing"),
        (b'[{"tag":"t","deleted":false,"record":null}', "breaks off"),
        (b'[{"tag":"t","deleted":"no","record":null}]', "Expected `bool`"),
        (b'[{"tag":5]}]', "can't be read"),
        (b"[" + b'{"a":' * 50_000, "breaks off|can't be read"),
        (b'[{"tag":"' + b"x" * 70_000, "an item of more than"),
    ],
    ids=["object", "scalar", "half", "no end", "type", "brackets", "deep", "large"],
)
async def test_an_answer_that_is_no_listing_is_the_agent_s_fault(
    told: bytes, message: str, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: garbage, half a listing and a backup larger than any are refused, and the agent is named."""
    monkeypatch.setattr(listings, "SMALL", small)
    monkeypatch.setattr(listings, "MOST_OF_AN_ANSWER", 1 << 16 if b"xxx" in told else 1 << 24)
    with pytest.raises(AgentMisbehaved, match="can't be read" if small else message):
        await listed(told)


async def test_a_listing_that_breaks_off_on_its_way_is_no_listing() -> None:
    """Promise: a connection that ends before the list does is a lost agent, and nothing of the half is taken."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 1 << 20
        await response.prepare(request)
        await response.write(b"[" + msgspec.json.encode(backup(1)))
        assert request.transport is not None
        request.transport.abort()
        return response

    with pytest.raises(AgentUnreachable):
        await listed(answer)


names = st.sampled_from(["a", "b", "c"])
node_records = st.builds(
    NodeRecord,
    st.sampled_from(["h1", "h2"]),
    st.just("10.0.0.1"),
    st.sampled_from(["success", "failed"]),
    st.dictionaries(names, st.integers(-5, 2**70), max_size=3),
    st.none() | st.just({"code": "x"}),
)
records = st.builds(
    Record,
    st.just("t"),
    st.just("adhoc"),
    st.just(1.0),
    st.just("success"),
    st.dictionaries(names, st.lists(names, max_size=2), max_size=2),
    st.lists(node_records, max_size=4),
)
views = st.builds(BackupView, st.just("t"), st.booleans(), st.none() | records, manifests=st.lists(names, max_size=3))


@given(st.lists(views, max_size=6))
def test_what_is_kept_lean_is_what_was_told(told: list[BackupView]) -> None:
    """Promise: sizes beyond any disk, nodes with errors or other keyspaces than their neighbours, empty records: each
    view equals what came, looked at by number, in slices or one after the other."""
    lean = LeanBackups("url")
    found = [lean.lean(view, 100) for view in told]
    assert found == told
    for now, before in zip(found, told, strict=True):
        if now.record is not None and before.record is not None:
            assert [*now.record.nodes] == before.record.nodes
            assert now.record.nodes[1:] == before.record.nodes[1:]
            assert now.record.nodes[-1:] == before.record.nodes[-1:]
            assert len(now.record.nodes) == len(before.record.nodes)
            if before.record.nodes:
                assert now.record.nodes[-1] == before.record.nodes[-1]


def test_what_can_not_be_shared_counts_in_full() -> None:
    """Promise: an agent that makes up other nodes for each backup reaches the limit by what it sends."""
    lean = LeanBackups("url", most=lean_backups._VIEW + 5_000)
    for number in range(1, 4):
        view = backup(number)
        assert view.record is not None
        strange = [
            msgspec.structs.replace(node, host_id=f"h{number}-{at}") for at, node in enumerate(view.record.nodes)
        ]
        view = msgspec.structs.replace(view, record=msgspec.structs.replace(view.record, nodes=strange))
        with pytest.raises(ListingTooLarge):
            lean.lean(view, len(msgspec.json.encode(view)))
