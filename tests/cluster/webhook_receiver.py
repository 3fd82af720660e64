"""A receiver of webhooks on loopback. In: what it is to answer, in order. Out: what came, in order.

An answer is a status, or `HANG` (none until the end), `CLOSE` (the connection is closed), a status with headers.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from tests.cluster.toy_coordinator import DEADLINE

HANG = "hang"
CLOSE = "close"
Answer = int | str | tuple[int, Mapping[str, str]]


class Came(msgspec.Struct, frozen=True):
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def notice(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def type(self) -> str:
        """The notice's type."""
        return str(self.notice["type"])


class Receiver:
    """`async with Receiver()`: listens at `url`. After the last of its answers it goes on with 204."""

    def __init__(self, answers: Sequence[Answer] = (), *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None):
        self._answers = list(answers)
        self._host = host
        self._tls = tls
        self._end = asyncio.Event()
        self.came: list[Came] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens, with a path that nobody else may learn."""
        return f"http{'s' if self._tls else ''}://{self._host}:{self.port}/hooks/a-path-like-a-secret"

    def answer(self, *answers: Answer) -> None:
        """Answer so next."""
        self._answers += answers

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.came.append(Came(request.path, dict(request.headers), await request.read()))
        answer = self._answers.pop(0) if self._answers else 204
        if answer == HANG:
            await self._end.wait()
        if answer in (HANG, CLOSE):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, headers = answer if isinstance(answer, tuple) else (int(answer), {})
        return web.Response(status=status, headers=headers, body=b"x" * 2_000_000 if status >= 500 else b"")

    async def until(self, count: int) -> list[Came]:
        """What came, once it is so many; fails when that takes too long."""
        return await self._until(lambda: len(self.came) >= count)

    async def until_types(self, *types: str) -> list[Came]:
        """The same, once one of each of these types came."""
        return await self._until(lambda: {came.type for came in self.came} >= {*types})

    async def _until(self, true: Callable[[], bool]) -> list[Came]:
        async with asyncio.timeout(DEADLINE):
            while not true():  # noqa: ASYNC110 - what is looked at is a plain list
                await asyncio.sleep(0.005)
        return self.came
