"""Attack rows A09 and A10 at the coordinator: requests that are too much, and clients that never come to an end."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from coordinator.opscenter.app import build_app
from coordinator.opscenter.doors import who_may
from coordinator.store.sqlite import SqliteStore
from kit.http_limits import body_limits
from kit.http_origin import same_origin
from kit.http_server import HttpServer
from kit.http_settings import HttpSettings
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import MOST, OPEN, api_of
from tests.fast.kit.siege import SHORT, Siege

HOST = "127.0.77.3"


async def health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


@pytest.fixture
async def siege(store: SqliteStore, cluster: ClusterInMemory) -> AsyncIterator[Siege]:
    """The coordinator's own application behind its own doors and server, with short limits."""
    api = api_of(store, cluster)
    doors = [same_origin(OPEN), who_may(OPEN, api.people.logins), body_limits(SHORT)]
    app = build_app(api, max_body_bytes=MOST, doors=doors, own=[("GET", "/health", health)])
    server = HttpServer(app, HttpSettings(host=HOST, keepalive_seconds=SHORT), OPEN, linger_seconds=SHORT)
    await server.start()
    yield Siege(server, HOST, f"POST /Test_Cluster/backups/run HTTP/1.1\r\nHost: {HOST}\r\n".encode())
    await server.stop()
    assert cluster.orders == []


@pytest.mark.parametrize("attack", ["fifty_thousand_headers", "a_bomb", "slow_headers", "slow_body", "silence"])
async def test_it_stands(siege: Siege, attack: str) -> None:
    """Promise: too many headers, a packed bomb, headers, bodies and clients that never end cost the coordinator little
    memory and no connection for ever, begin nothing, and others are served meanwhile."""
    await getattr(siege, attack)()
