"""Attack rows A09 and A10 at the agent: requests that are too much, and clients that never come to an end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.http_server import HttpServer
from kit.http_settings import Access, HttpSettings
from tests.fast.commands.tiny_agent import everything, quick
from tests.fast.http.served import TOKEN, served
from tests.fast.kit.siege import SHORT, Siege

HOST = "127.0.50.3"


@pytest.fixture
async def siege(tmp_path: Path) -> AsyncIterator[Siege]:
    """The agent's own application behind its own server, with short limits."""
    async with served(tmp_path, everything(quick), body_seconds=SHORT) as agent:
        settings = HttpSettings(host=HOST, keepalive_seconds=SHORT)
        server = HttpServer(agent.app, settings, Access(None, None, False), linger_seconds=SHORT)
        await server.start()
        head = f"POST /v1/commands HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\n"
        yield Siege(server, HOST, head.encode() + b"Content-Type: application/json\r\n")
        await server.stop()


@pytest.mark.parametrize("attack", ["fifty_thousand_headers", "a_bomb", "slow_headers", "slow_body", "silence"])
async def test_it_stands(siege: Siege, attack: str) -> None:
    """Promise: too many headers, a packed bomb, headers, bodies and clients that never end cost the agent little memory
    and no connection for ever, and others are served meanwhile."""
    await getattr(siege, attack)()
