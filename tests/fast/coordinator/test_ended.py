"""Statuses of requests that have ended: their nodes' parts are unpacked when they are sent."""

import asyncio
import json
from array import array
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from coordinator.model.errors import InvalidArguments
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState
from coordinator.model.table_counts import NUMBERS, Layouts, TableCounts
from coordinator.opscenter import ended
from coordinator.opscenter.ended import ended_status
from coordinator.opscenter.shapes import request_status
from coordinator.opscenter.wanted import Wanted
from coordinator.store import kept_parts
from coordinator.store.kept_parts import bare, packed, unpacked
from coordinator.store.protocol import Requests, Store
from coordinator.store.sqlite import SqliteStore
from kit.slices import Slices
from tests.fast.coordinator.state.test_contract import MemorySite, SqliteSite

NODES, TABLES = 60, 20
RUNNING = Request("1", RequestKind.BACKUP, "C", RequestState.RUNNING, 1.0, {}, message="3 tables in vain")


def parts() -> list[NodePart]:
    layout = Layouts().of(tuple(("shop", f"t{number:02}") for number in range(TABLES)))
    counts = {
        place: TableCounts(layout, array("q", [number, 9] * (NUMBERS // 2) * TABLES), {3: ["gone"]} if number else {})
        for number, place in enumerate(("here", "there"))
    }
    return [
        NodePart(f"10.0.0.{node:02}", f"host-{node}", f"id-{node}", RequestState.SUCCESS, progress=counts)
        for node in range(NODES)
    ]


@pytest.fixture(params=["sqlite", "cassandra"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "cassandra":
        yield await MemorySite().open()
        return
    site = SqliteSite(tmp_path / "state")
    yield await site.open()
    await site.close()


async def finished(requests: Requests) -> Request:
    """The request, ended with its parts."""
    done = Request("1", RequestKind.BACKUP, "C", RequestState.SUCCESS, 1.0, {}, finished=2.0, message=RUNNING.message)
    await requests.create(RUNNING)
    await requests.finish(done, parts())
    return done


def wanted(query: str = "") -> Wanted:
    request: web.Request = make_mocked_request("GET", f"/request/1/status?{query}")
    return Wanted(request)


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Grows with each part whose counts are unpacked."""
    made: list[bytes] = []

    def counted(data: bytes, layouts: Layouts) -> NodePart:
        made.append(data)
        return unpacked(data, layouts)

    monkeypatch.setattr(ended, "unpacked", counted)
    monkeypatch.setattr(kept_parts, "unpacked", counted)
    return made


async def test_an_ended_status_is_unpacked_node_by_node(store: Store, unpackings: list[bytes]) -> None:
    """Promise: before the first byte of an ended request's status no node's counts are unpacked, and between two pieces
    one node's at most; the whole is what was told while its parts were in memory, of one destination as well."""
    done = await finished(store.requests)
    for destination in (None, "there"):
        pieces = await ended_status(store.requests, done, wanted(), destination)
        told = next(pieces)
        assert unpackings == []
        for number, piece in enumerate(pieces):
            assert len(unpackings) <= number
            told += piece
        assert len(unpackings) == NODES
        unpackings.clear()
        assert json.loads(told) == json.loads(json.dumps(request_status(done, parts(), destination)))


async def test_what_wants_no_counts_unpacks_none(store: Store, unpackings: list[bytes]) -> None:
    """Promise: without details nothing is unpacked, for one node that one alone; a node that took no part is refused
    as it is while the request runs."""
    done = await finished(store.requests)
    whole = json.loads(json.dumps(request_status(done, parts())))
    entries = whole["details"].pop("subrequests")
    assert json.loads(b"".join(await ended_status(store.requests, done, wanted("details=0"), None))) == whole
    assert unpackings == []
    for name in ("10.0.0.07", "host-7"):
        told = json.loads(b"".join(await ended_status(store.requests, done, wanted(f"node={name}"), None)))
        assert told["details"].pop("subrequests") == {"10.0.0.07": entries["10.0.0.07"]}
        assert told == whole
    assert len(unpackings) == 2
    with pytest.raises(InvalidArguments):
        await ended_status(store.requests, done, wanted("node=10.0.0.99"), None)


async def test_the_loop_turns_while_parts_are_packed_and_unpacked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: to read the kept parts of all nodes holds nobody up for longer than one node's part takes; in Cassandra
    to keep them neither (SQLite packs in its own thread)."""
    monkeypatch.setattr(kept_parts, "Slices", partial(Slices, 0.0))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    kept = [packed(part, Layouts()) for part in parts()]
    before = turns
    assert [bare(data).host_id for data in await kept_parts.packed_in_turns(parts(), Layouts())] == [
        part.host_id for part in parts()
    ]
    assert turns - before >= NODES
    before = turns
    await finished(store.requests)
    assert turns - before >= NODES or isinstance(store, SqliteStore)
    before = turns
    assert await store.requests.parts("1") == parts() == await kept_parts.unpacked_in_turns(kept, Layouts())
    assert turns - before >= 2 * NODES
    other.cancel()
