"""What a service and all who speak to it said to each other.

In: an aiohttp application, by the middlewares of a `Recorder`. Out: a file with one JSON object per exchange, which
`described` compares with the openapi.yaml in the process of the test: the service itself only writes lines, and loads
nothing that reads descriptions, for tests start many. Streams (SSE) are not kept.
"""

import os
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

NAME = "exchanges.jsonl"
"""Beside the agent's configuration."""
_TOKEN = "not-kept"  # of tokens only is known that there was one
_TAKEN = web.RequestKey("taken", bytearray)


class Exchange(msgspec.Struct, frozen=True):
    """A request and its answer; bodies are base64 on disk."""

    method: str
    path: str
    authorized: bool
    request_type: str
    request: bytes
    status: int
    answer_type: str
    answer: bytes
    pattern: str = ""
    """The path as it was added to the application; "" = it has none like it, or not with the method."""

    @property
    def sent_headers(self) -> dict[str, str]:
        """What counts of the request's headers."""
        headers = {"Authorization": f"Bearer {_TOKEN}"} if self.authorized else {}
        return headers | {"Content-Type": self.request_type}


class Recorder:
    """Appends every exchange of an application to a file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def record(self, app: web.Application) -> None:
        """Record what the application, which is not served yet, is asked and answers."""
        app.middlewares.insert(0, self._outermost)
        app.middlewares.append(_innermost)

    @property
    def _outermost(self) -> Middleware:
        @web.middleware
        async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
            taken = request[_TAKEN] = bytearray()
            response = await handler(request)
            if isinstance(response, web.Response) and isinstance(response.body, bytes | bytearray | None):
                resource = request.match_info.route.resource
                exchange = Exchange(
                    request.method,
                    request.path_qs,
                    "Authorization" in request.headers,
                    request.headers.get("Content-Type", ""),
                    bytes(taken),
                    response.status,
                    response.content_type,
                    bytes(response.body or b""),
                    "" if resource is None else resource.canonical,
                )
                # The break in front too: a line that a SIGKILL cut spoils no other.
                os.write(self._descriptor, b"\n" + msgspec.json.encode(exchange) + b"\n")
            return response

        return outermost


@web.middleware
async def _innermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[_TAKEN].extend(await request.read())  # the limits of bodies stand before: they have read it
    return await handler(request)
