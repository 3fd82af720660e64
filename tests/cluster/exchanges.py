"""What a service and all who speak to it said to each other, and whether its openapi.yaml describes it.

In: an aiohttp application, by the middlewares of a `Recorder`. Out: a file with one JSON object per exchange, which
`check` compares with the description in the process of the test: the service itself only writes lines. Streams (SSE)
are not kept. What it accepted (a status below 400) must be a described request and a described answer; of what it
refused only the answer is checked, for the request may be wrong on purpose.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tests.cluster.canaries import refuse
from tests.cluster.validated_client import AGENT_DESCRIPTION, NotAsDescribed, check_exchange, description_of

NAME = "exchanges.jsonl"
"""Beside the agent's configuration."""
_WORD = re.compile(r"[a-z_]{1,24}")
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


def check(path: Path, compare: "Comparing | None" = None) -> int:
    """Check what was recorded and forget it; the number of exchanges. Those that differ from an earlier one in texts
    and numbers alone are checked once in this process. `compare`: with another description than the agent's. Raises
    NotAsDescribed."""
    if not path.exists():
        return 0
    count = 0
    for exchange in _recorded(path):
        count += 1
        refuse(f"the answer to {exchange.method} {exchange.path}", exchange.answer)
        form = _form_of(exchange)
        if form in _described:
            continue
        (compare or as_the_agents)(exchange)
        _described.add(form)
    os.truncate(path, 0)
    return count


Comparing = Callable[[Exchange], None]
"""Raises NotAsDescribed."""


def as_the_agents(exchange: Exchange) -> None:
    """Compare it with the agent's description."""
    check_exchange(
        description_of(AGENT_DESCRIPTION),
        exchange.method,
        exchange.path,
        exchange.sent_headers,
        exchange.request,
        exchange.status,
        {"Content-Type": exchange.answer_type},
        exchange.answer,
        request_too=exchange.status < 400,
    )


_described: set[str] = set()
"""A cache of forms that were found right."""


def _recorded(path: Path) -> Iterator[Exchange]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=Exchange)
                except msgspec.DecodeError:
                    if not line.endswith(b"\n") or not line.rstrip().endswith(b"}"):
                        continue  # cut by the death of the agent
                    raise NotAsDescribed(f"{path} has a line that is no exchange: {line[:200]!r}") from None


def _form_of(exchange: Exchange) -> str:
    path, _, query = exchange.path.partition("?")
    parameters = sorted(part.partition("=")[0] for part in query.split("&"))
    parts = path.split("/")
    place = exchange.pattern or (parts[:3], parts[4:])  # between them stands a name: of a destination, a command, a tag
    bodies = [_shape(body) for body in (exchange.request, exchange.answer)]
    return repr((exchange.method, place, parameters, exchange.status, exchange.answer_type, bodies))


def _shape(body: bytes) -> Any:
    try:
        return _form(msgspec.json.decode(body)) if body else None
    except (msgspec.DecodeError, RecursionError):
        return "text"


def _form(value: Any) -> Any:
    """Keys and types; short words (states, kinds, codes) as they are."""
    if isinstance(value, dict):
        return {key: _form(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return sorted({repr(_form(item)) for item in value})
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else "str"
    return type(value).__name__
