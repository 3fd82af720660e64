"""Between a coordinator and an agent: passes each request on, and writes down what was said. In: the agent's address.
Out: an address of its own, and messages and events."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web

from tests.recording.messages import Message, pattern_of


class Relay:
    """`async with Relay(address, agent) as relay`."""

    def __init__(self, address: str, agent: str) -> None:
        self.address = address
        self.messages: list[Message] = []
        self.events: list[dict[str, Any]] = []
        self._agent = agent

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        port: int = self._runner.addresses[0][1]
        return f"http://{self.address}:{port}"

    async def ask(self, method: str, path: str, body: object = None) -> None:
        """Have the agent asked something that no coordinator asks of it."""
        sent = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with self._session.request(method, self.url + path, data=sent, headers=headers) as answer:
            await answer.read()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        kept = ("Accept", "Last-Event-ID", "Content-Type")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        async with self._session.request(
            request.method, self._agent + request.path_qs, data=body or None, headers=headers
        ) as answer:
            if answer.content_type == "text/event-stream":
                return await self._stream(request, answer)
            content = await answer.read()
        self.messages.append(
            Message(
                pattern_of(request.method, request.path), request.path_qs, _json(body), answer.status, _json(content)
            )
        )
        return web.Response(body=content, status=answer.status, content_type=answer.content_type)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for line in answer.content:
            if line.startswith(b"data: "):
                self.events.append(msgspec.json.decode(line[6:]))
            await response.write(line)
        return response


def _json(content: bytes) -> Any:
    return msgspec.json.decode(content) if content.strip() else None


def without_repeats(messages: Sequence[Message]) -> list[Message]:
    """Of those that ask the same in the same words and are answered alike the first, and of those about one command the
    last: it tells the end."""
    kept: dict[tuple[str, str, bytes, int], Message] = {}
    for message in messages:
        key = (message.pattern, message.path, msgspec.json.encode(message.sent), message.status)
        if message.pattern == "GET /v1/commands/*" or key not in kept:
            kept[key] = message
    return [*kept.values()]
