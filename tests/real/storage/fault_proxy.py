"""An HTTP proxy that misbehaves once for each fault it was given. In: a real store's address, faults. Out: a store
whose network is broken in exactly that way, one request after the other.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from aiohttp import web


class Fault(msgspec.Struct, frozen=True):
    """What happens to one request whose method is `method` ("" = any).

    `status`: answered by the proxy with this status, `headers` and an S3 error of `code`. `stall`: never answered.
    `reset`: the connection is reset. `cut`: the answer's body ends after so many bytes. `damage_request`,
    `damage_answer`: one byte of the body is another one. `lost`: the store does its work, then the connection is reset.
    """

    method: str = ""
    status: int = 0
    code: str = ""
    headers: dict[str, str] = {}
    stall: bool = False
    reset: bool = False
    cut: int | None = None
    damage_request: bool = False
    damage_answer: bool = False
    lost: bool = False


class FaultProxy:
    """`async with FaultProxy(upstream, address) as proxy`: faults are used up in order, then all goes well."""

    def __init__(self, upstream: str, address: str, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: for a proxy that speaks https."""
        self._upstream = upstream
        self._address = address
        self._tls = tls
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        self._client: aiohttp.ClientSession | None = None
        self._ending = asyncio.Event()
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.delay = 0.0
        self.endpoint = ""
        self.on_request: Callable[[str], None] = lambda method: None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, 0, ssl_context=self._tls)
        await site.start()
        self.endpoint = f"{'https' if self._tls else 'http'}://{self._address}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        await self._runner.cleanup()
        assert self._client is not None
        await self._client.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.requests.append(request.method)
        try:
            if (own := await self.own_answer(request)) is not None:
                return own
            return await self._answer(request, self._next_fault(request.method))
        finally:
            self.at_once -= 1

    async def own_answer(self, request: web.BaseRequest) -> web.Response | None:
        """What is answered without the store: nothing, unless a kind of proxy knows better."""
        return None

    def _next_fault(self, method: str) -> Fault:
        if self.faults and self.faults[0].method in ("", method):
            return self.faults.pop(0)
        return Fault()

    async def _answer(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        body = await request.read()
        self.on_request(request.method)
        await asyncio.sleep(self.delay)
        if fault.stall:
            await self._ending.wait()
        if fault.stall or fault.reset:
            return _reset(request)
        if fault.status:
            text = f"<Error><Code>{fault.code}</Code><Message>made up</Message></Error>"
            return web.Response(status=fault.status, headers=fault.headers, text=text, content_type="application/xml")
        if fault.damage_request:
            body = _damaged(body)
        assert self._client is not None
        async with self._client.request(
            request.method,
            self._upstream + request.raw_path,
            headers=request.headers,
            data=body,
            skip_auto_headers=["Content-Type"],  # some stores' signatures cover it
        ) as upstream:
            content = await upstream.read()
            headers = {name: upstream.headers[name] for name in upstream.headers if name.lower() not in HOP}
            if fault.lost:
                return _reset(request)
            answer = web.StreamResponse(status=upstream.status, headers=headers)
            if request.method != "HEAD":
                answer.content_length = len(content)
            await answer.prepare(request)
            if fault.damage_answer:
                content = _damaged(content)
            if fault.cut is not None:
                await answer.write(content[: fault.cut])
                assert request.transport is not None
                request.transport.close()
                return answer
            if request.method != "HEAD":
                await answer.write(content)
            await answer.write_eof()
            return answer


HOP = frozenset({"transfer-encoding", "connection", "keep-alive", "content-encoding"})


def _damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _reset(request: web.BaseRequest) -> web.Response:
    transport = request.transport
    if transport is not None:
        found = transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
