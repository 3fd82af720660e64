"""Attack rows A09 and A10 against any service. In: a served application with short limits. Out: nothing, or a failed
assertion. The same for agent and coordinator, which run it on their own applications."""

import tracemalloc

from kit.http_server import HttpServer
from tests.cluster.besieging import answer_to, bomb, endless, many_headers, trickle

SHORT = 0.3
"""Seconds of the service's own limits."""
MOST_MEMORY = 40_000_000
"""Bytes that one hostile request may take for a while; a bomb unpacks to ten times that."""


class Siege:
    """`head`: the head of a POST with a body up to its length, `authorized` included."""

    def __init__(self, server: HttpServer, host: str, head: bytes) -> None:
        self._server = server
        self._at = (host, server.port)
        self._host = host.encode()
        self._head = head

    async def still_serves(self) -> None:
        """Others are answered as before."""
        [line, *_] = (await answer_to(*self._at, self._get() + b"Connection: close\r\n\r\n")).split(b"\r\n")
        assert line.startswith(b"HTTP/1.1 200"), line

    def _get(self) -> bytes:
        return b"GET /health HTTP/1.1\r\nHost: " + self._host + b"\r\n"

    async def fifty_thousand_headers(self) -> None:
        """Refused and closed before they are all read, in little memory."""
        tracemalloc.start()
        answer = await answer_to(*self._at, self._get() + many_headers(50_000))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
        assert most < MOST_MEMORY
        await self.still_serves()

    async def a_bomb(self) -> None:
        """A packed body of 400 MB of spaces is refused without being unpacked whole."""
        packed = bomb(400_000_000)
        head = self._head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        tracemalloc.start()
        answer = await answer_to(*self._at, head + packed)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer[:12] in (b"", b"HTTP/1.1 413", b"HTTP/1.1 415")
        assert most < MOST_MEMORY
        await self.still_serves()

    async def slow_headers(self) -> None:
        """Headers that never end, one byte after the other or one header after the other, hold no connection."""
        assert await trickle(*self._at, b"", endless(b"G")) >= 0
        assert await trickle(*self._at, self._get(), endless(b"X: y\r\n")) >= 0
        assert await answer_to(*self._at, b"GET /hea") == b""
        await self.still_serves()

    async def slow_body(self) -> None:
        """A body that trickles in is answered 408, or cut off, and its connection is closed."""
        assert b" 408 " in await answer_to(*self._at, self._head + b"Content-Length: 1000\r\n\r\n{")
        assert await trickle(*self._at, self._head + b"Content-Length: 100000\r\n\r\n", endless(b" ")) >= 0
        head = self._head + b"Transfer-Encoding: chunked\r\n\r\n"
        assert await trickle(*self._at, head, endless(b"1\r\n \r\n")) >= 0
        await self.still_serves()

    async def silence(self) -> None:
        """Who says nothing, from the first byte or after an answer, is not listened to for ever."""
        assert await answer_to(*self._at) == b""
        assert (await answer_to(*self._at, self._get() + b"\r\n")).startswith(b"HTTP/1.1 200")
        await self.still_serves()
