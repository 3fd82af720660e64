"""Jolokia's answers, from a server that stands in for it. Real nodes: tests/real/cassandra."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.cassandra.errors import JolokiaFailed
from agent.cassandra.jolokia import Jolokia
from agent.cassandra.settings import JolokiaSettings
from tests.fast.cassandra.proven_control import OWN


async def _host_id(answer: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response(answer)

    application = web.Application()
    application.router.add_post("/jolokia/", respond)
    nothing: Any = None
    async with TestServer(application, host="127.0.0.1") as server:
        jolokia = Jolokia(JolokiaSettings(url=str(server.make_url("/jolokia/"))), nothing)
        try:
            return await jolokia.host_id(), asked
        finally:
            await jolokia.close()


async def test_the_host_id_is_one_attribute() -> None:
    """Promise: it is asked of the service that takes snapshots."""
    host_id, [asked] = await _host_id({"status": 200, "value": OWN})
    assert host_id == OWN
    assert asked == {
        "type": "read",
        "mbean": "org.apache.cassandra.db:type=StorageService",
        "attribute": "LocalHostId",
    }


async def test_a_failure_is_taken_for_no_host_id() -> None:
    """Promise: what Jolokia can't read proves nothing."""
    with pytest.raises(JolokiaFailed, match="no such attribute"):
        await _host_id({"status": 404, "error": "no such attribute"})
