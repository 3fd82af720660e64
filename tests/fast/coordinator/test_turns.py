"""Many who ask for large answers at once don't fill the coordinator's memory."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coordinator.model.cluster import Backup
from coordinator.opscenter.turns import AT_ONCE, LARGE, Turns
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import Client

SIZE = 16_000_000
FITS = 2 * LARGE
"""Bytes that count as a large answer and that the kernel takes at once, however busy the reader is."""


@asynccontextmanager
async def served(turns: Turns, build: Callable[[], None]) -> AsyncIterator[TestServer]:
    async def large(request: web.Request) -> web.Response:
        build()
        return web.Response(body=bytes(int(request.query.get("size", SIZE))))

    app = web.Application()
    app.router.add_get("/", turns.of(large))
    server = TestServer(app, host="127.0.32.1")
    await server.start_server()
    yield server
    await server.close()


async def test_of_many_listings_few_are_built_at_a_time(
    client: Client, cluster: ClusterInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait; all are answered, and what isn't a listing doesn't wait for them."""
    going, most, go_on = 0, 0, asyncio.Event()
    full = asyncio.Event()

    async def slow(asked: str, destination: str | None) -> list[Backup]:
        nonlocal going, most
        going += 1
        most = max(most, going)
        if going == AT_ONCE:
            full.set()
        await go_on.wait()
        going -= 1
        return []

    monkeypatch.setattr(cluster, "list_backups", slow)
    asked = [asyncio.create_task(client.get("/Test_Cluster/backups")) for _ in range(5 * AT_ONCE)]
    async with asyncio.timeout(20):
        await full.wait()
        assert await client.get("/Test_Cluster/backup-activity") == []
        go_on.set()
        assert await asyncio.gather(*asked) == [{}] * len(asked)
    assert most == AT_ONCE


async def test_who_does_not_read_his_answer_keeps_nobody_waiting() -> None:
    """He is cut off, and the next one is served."""
    built = 0

    def build() -> None:
        nonlocal built
        built += 1

    async with served(Turns(at_once=1, seconds=0.2), build) as server:
        assert server.port is not None
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect((server.host, server.port))
            idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(20):
                while not built:  # noqa: ASYNC110 - a count is looked at
                    await asyncio.sleep(0.005)
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"http://{server.host}:{server.port}/?size={FITS}") as response,
                ):
                    assert len(await response.read()) == FITS
    assert built == 2
