"""What a service tells of its own API."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kit.http_description import Description
from tests.cluster.coordinator_exchanges import COORDINATOR_DESCRIPTION

Served = TestClient[web.Request, web.Application]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = web.Application()
    for route in Description("coordinator.opscenter").routes("GET", "HEAD"):
        app.router.add_route(*route)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_it_is_told_as_it_is_written_and_as_json(served: Served) -> None:
    """Promise: both forms say the same, and no browser takes them for something else."""
    async with served.get("/openapi.yaml") as written:
        assert (written.status, written.content_type) == (200, "application/yaml")
        assert await written.read() == COORDINATOR_DESCRIPTION.read_bytes()
        assert written.headers["X-Content-Type-Options"] == "nosniff"
    async with served.get("/openapi.json") as as_json:
        assert (as_json.status, as_json.content_type) == (200, "application/json")
        assert await as_json.json() == yaml.safe_load(COORDINATOR_DESCRIPTION.read_text())


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.json"])
async def test_what_a_client_keeps_is_not_sent_again(served: Served, path: str) -> None:
    """Promise: while it is the same nothing but that is said; another mark brings it."""
    async with served.head(path) as head:
        mark = head.headers[aiohttp.hdrs.ETAG]
        assert (head.status, int(head.headers["Content-Length"]) > 1000) == (200, True)
    async with served.get(path, headers={"If-None-Match": mark}) as same:
        assert (same.status, await same.read(), same.headers["ETag"]) == (304, b"", mark)
        assert same.headers["Cache-Control"] == "private, no-cache"
    async with served.get(path, headers={"If-None-Match": '"another"'}) as other:
        assert other.status == 200
