"""Answers that are sent while they are made. In: pieces of JSON, a node's part each. Out: one valid JSON text, of which
no more than a piece is in memory.

A thousand nodes of a thousand tables are 110 MB of JSON. Made at once they would hold up everybody for seconds; here
the event loop turns after each piece. All of an answer is one moment's: its parts were taken before its first byte.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import msgspec
from aiohttp import web

from coordinator.model.requests import Request
from coordinator.opscenter.shapes import ShownPart, request_head, subrequest_head
from coordinator.opscenter.turns import READING_SECONDS
from kit.http_sending import cut_off

PIECE = 64 * 1024
"""Bytes that are sent at a time, at least."""
LEAST_RATE = 64 * 1024
"""Bytes a second that a client must read, on the whole: few who read slowly would take the turns of all others."""
LONGEST_SECONDS = 600.0
"""For which one answer may take its turn, however steadily it is read."""


def status_pieces(request: Request, shown: Sequence[ShownPart], chosen: Iterable[ShownPart] | None) -> Iterator[bytes]:
    """`request_status` in pieces: of all `shown` together, with the entries of those that are `chosen`; None: without
    any."""
    head = request_head(request, shown)
    details = head.pop("details")
    yield msgspec.json.encode(head)[:-1] + b',"details":' + msgspec.json.encode(details)[:-1]
    if chosen is not None:
        yield b',"subrequests":{'
        comma = b""
        for each in chosen:
            yield comma + msgspec.json.encode(each.part.address) + b":" + _entry(each)
            comma = b","
        yield b"}"
    yield b"}}"


def _entry(shown: ShownPart) -> bytes:
    """`shapes.subrequest` as JSON."""
    head = subrequest_head(shown)
    details = head.pop("details")
    start = msgspec.json.encode(head)[:-1] + b',"details":' + msgspec.json.encode(details)[:-1]
    return start + b',"sstables":' + shown.counts().encode() + b"}}"


async def send(
    request: web.Request, pieces: Iterator[bytes], seconds: float = READING_SECONDS, least: float = LEAST_RATE
) -> web.StreamResponse:
    """Answer with the pieces. A client that reads nothing for `seconds` is cut off, as is one that after these has read
    less than `least` bytes a second, and one whose answer fails on its way: half an answer must not look like a whole
    one. What fails before the first byte is an error as any."""
    gathered = _gathered(pieces)
    first = await anext(gathered, b"")
    second = await anext(gathered, None)
    if second is None:
        return web.Response(body=first, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    reader = Reader(response, seconds, least)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await response.prepare(request)
            await reader.write(first)
            await reader.write(second)
            async for piece in gathered:
                await reader.write(piece)
            await response.write_eof()
    except ConnectionError:  # nobody is there any more to be answered
        return response
    except TimeoutError:
        cut_off(request)
    except BaseException:
        cut_off(request)
        raise
    return response


class Reader:
    """Of a long answer. It must read something within `seconds`, and after these `least` bytes a second on the
    whole."""

    def __init__(
        self, response: web.StreamResponse, seconds: float = READING_SECONDS, least: float = LEAST_RATE
    ) -> None:
        self._response = response
        self._seconds = seconds
        self._least = least
        self._waited, self._sent = 0.0, 0

    async def write(self, piece: bytes) -> None:
        """Send a piece. Raises TimeoutError for who reads too slowly."""
        clock = asyncio.get_running_loop().time
        before = clock()
        async with asyncio.timeout(self._seconds):
            await self._response.write(piece)
        self._waited, self._sent = self._waited + clock() - before, self._sent + len(piece)
        if self._waited > self._seconds and self._sent < self._least * self._waited:
            raise TimeoutError


async def _gathered(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Small ones together; the event loop turns before each."""
    some: list[bytes] = []
    size = 0
    for piece in pieces:
        some.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(some)
            some, size = [], 0
            await asyncio.sleep(0)
    if some:
        yield b"".join(some)
