"""Answers that may be large: of each kind few at a time. In: an endpoint. Out: the same, that waits for its turn.

A listing of many backups on many nodes has megabytes, and so have the agents' answers that it is made of. Who asks
while as many are built and sent waits, without memory of his own; who doesn't read is cut off, or he would keep the
others waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from kit.http_sending import send_within

AT_ONCE = 4
"""Answers of one kind that are built or sent at a time."""
READING_SECONDS = 60.0
"""How long a client may take to read such an answer."""
LARGE = 64 * 1024
"""Bytes that a connection takes without being read; smaller answers are not waited for."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Turns:
    """Of one kind of answer. `seconds`: how long a client may take to read."""

    def __init__(self, at_once: int = AT_ONCE, seconds: float = READING_SECONDS) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._seconds = seconds

    def of(self, handler: Handler) -> Endpoint:
        """The endpoint that keeps its turn until the answer is with the client."""

        async def endpoint(request: web.Request) -> web.StreamResponse:
            async with self._turn:
                response = await handler(request)
                if (
                    isinstance(response, web.Response)
                    and isinstance(response.body, bytes)
                    and len(response.body) > LARGE
                ):
                    await send_within(self._seconds, request, response)
                return response

        return endpoint


class Whole:
    """Turns of what tells of running requests. With all nodes' details an answer holds what it tells as it was at its
    moment: few of those at a time, whichever endpoint they are of. Those that are `is_short` have turns of their own
    at each endpoint, so that they wait for no long one."""

    def __init__(self, is_short: Callable[[web.Request], bool], at_once: int = AT_ONCE) -> None:
        self._is_short = is_short
        self._long = Turns(at_once)
        self._at_once = at_once

    def of(self, handler: Handler) -> Endpoint:
        """The endpoint; made once, for as many as ask."""
        long, short = self._long.of(handler), Turns(self._at_once).of(handler)

        async def endpoint(request: web.Request) -> web.StreamResponse:
            return await (short if self._is_short(request) else long)(request)

        return endpoint
