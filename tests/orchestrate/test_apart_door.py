"""What the API tells of restores that go on apart from the state, however many ask."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coordinator.model.requests import RequestState
from coordinator.opscenter.context import ClusterEntry
from coordinator.opscenter.turns import AT_ONCE
from coordinator.serving.apart_door import STATUS, ApartDoor
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.protocol import Store
from coordinator.store.sqlite import SqliteStore
from kit.logs import Redactor
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE
from tests.orchestrate.test_apart_kept import Alone
from tests.orchestrate.test_apart_kept import alone as alone
from tests.orchestrate.test_point_in_time import story as story


async def led(request: web.Request) -> web.StreamResponse:
    """What nobody answers without a leader."""
    raise web.HTTPServiceUnavailable


@pytest.fixture
async def state(alone: Alone) -> AsyncIterator[Store]:
    """The shared one."""
    store = await SqliteStore.open(alone.story.scene.directory / "shared", now=0.0)
    yield store
    await store.close()


@pytest.fixture
async def server(alone: Alone, state: Store) -> AsyncIterator[TestServer]:
    door = ApartDoor(alone.jobs, state, {CLUSTER: ClusterEntry(CLUSTER, [])}, Redactor()).door()
    app = web.Application(middlewares=[door])
    app.router.add_route(*STATUS, led)
    made = TestServer(app)
    await made.start_server()
    yield made
    await made.close()


async def test_of_many_short_answers_few_are_made_at_a_time(
    alone: Alone, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: also of what goes on apart those who ask for one node's part wait for their turn; all are answered."""
    [site] = alone.jobs.sites
    request = await site.request()
    assert request is not None
    kept, going, most, full, go_on = site.store.requests.kept_parts, 0, 0, asyncio.Event(), asyncio.Event()

    async def slow(request_id: str) -> list[bytes]:
        nonlocal going, most
        going += 1
        most = max(most, going)
        if going == AT_ONCE:
            full.set()
        await go_on.wait()
        going -= 1
        return await kept(request_id)

    monkeypatch.setattr(site.store.requests, "kept_parts", slow)
    url = server.make_url(f"/request/{request.id}/status?node={alone.story.scene.nodes[0].host_id}")

    async def asked(session: aiohttp.ClientSession) -> int:
        async with session.get(url) as response:
            await response.read()
            return response.status

    async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
        asking = [asyncio.create_task(asked(session)) for _ in range(3 * AT_ONCE)]
        await full.wait()
        await alone.looked()  # time for more of them to come
        go_on.set()
        assert await asyncio.gather(*asking) == [200] * len(asking)
    assert most == AT_ONCE


async def test_a_success_once_told_is_told_until_the_state_has_it(
    alone: Alone, server: TestServer, state: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: who was told of the success while the state was away isn't told, when it is back, what it had before,
    nor when it answers and then doesn't; once the leader has noted the end there, it is told from there."""

    async def away(request_id: str) -> None:
        raise StoreUnreachable("no quorum")

    [site] = alone.jobs.sites
    request = await site.request()
    assert request is not None
    assert request.state is RequestState.SUCCESS
    await state.requests.create(msgspec.structs.replace(request, state=RequestState.RUNNING, finished=None))
    url = server.make_url(f"/request/{request.id}/status")
    async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
        for gone in (True, False):
            alone.gone = gone
            async with session.get(url) as response:
                assert (response.status, (await response.json())["state"]) == (200, "success")
        with monkeypatch.context() as patched:
            patched.setattr(state.requests, "get", away)
            async with session.get(url) as response:
                assert (response.status, (await response.json())["state"]) == (200, "success")
        await state.requests.finish(request)
        async with session.get(url) as response:
            assert response.status == web.HTTPServiceUnavailable.status_code
