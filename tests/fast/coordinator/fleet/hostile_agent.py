"""An agent that was taken over: what stands at each path is what the test puts there, and what came is kept."""

import json
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

HOST_ID = "11111111-0000-0000-0000-000000000001"
Answer = bytes | Callable[[web.Request], Awaitable[web.StreamResponse]]


def report(**changes: Any) -> dict[str, Any]:
    """What an honest agent tells of its node, changed."""
    node = {
        "host_id": HOST_ID,
        "address": "127.0.80.1",
        "cluster_name": "Toy",
        "dc": "dc1",
        "rack": "r1",
        "tokens": ["0"],
        "version": "5.0.9",
        "partitioner": "Murmur3Partitioner",
        "schema_version": "s1",
    }
    told: dict[str, Any] = {
        "agent_id": "agent",
        "instance": "one",
        "agent_version": "0.1.0",
        "protocol_min": 1,
        "protocol_max": 1,
        "features": [],
        "now": 1.0,
        "node": node,
        "trouble": None,
        "data_directories": [{"path": "/data", "volume": "8:1", "total_bytes": 100, "free_bytes": 50}],
        "keyspaces": {},
        "ring": [],
        "throttle_bytes_per_second": 0,
        "events": 0,
    }
    return told | changes


def command(name: str, **changes: Any) -> dict[str, Any]:
    """Where a command stands, changed."""
    told: dict[str, Any] = {
        "id": name,
        "kind": "snapshot",
        "state": "running",
        "stage": "",
        "job": None,
        "phase": None,
        "fence": 0,
        "accepted": 1.0,
        "started": 1.0,
        "finished": None,
        "progress": {},
    }
    return told | changes


def event(sequence: int, name: str, **changes: Any) -> bytes:
    """An entry of an event stream, changed."""
    told: dict[str, Any] = {
        "sequence": sequence,
        "instance": "one",
        "at": 1.0,
        "command": name,
        "kind": "snapshot",
        "job": None,
        "phase": None,
        "state": "running",
        "stage": "",
    }
    return b"data: " + json.dumps(told | changes).encode() + b"\n\n"


class HostileAgent:
    """`answers`: path → body, or what answers. Everything else is 404."""

    def __init__(
        self, address: str, answers: Mapping[str, Answer] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers: dict[str, Answer] = {"/v1/node": json.dumps(report()).encode(), **(answers or {})}
        self.came: list[web.Request] = []
        self._address = address
        self._tls = tls
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, 0, ssl_context=self._tls).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self._tls else ''}://{self._address}:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.came.append(request)
        answer = self.answers.get(request.path, b"")
        if callable(answer):
            return await answer(request)
        return web.Response(body=answer, content_type="application/json", status=200 if answer else 404)


def endless(piece: bytes, *, head: bytes = b"") -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Sends `head` and then `piece` for as long as somebody reads."""

    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(head)
        while True:
            await response.write(piece)

    return send


def stream(events: Iterator[bytes]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A stream of these events; a connection that comes later goes on where the one before was left."""

    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for each in events:
            await response.write(each)
        return response

    return send
