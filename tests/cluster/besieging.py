"""Clients that mean harm, on raw sockets. In: a service's address. Out: what came back, whether the service closed."""

import asyncio
import zlib
from collections.abc import AsyncIterator

PATIENCE = 60.0
"""Seconds after which a service hangs: a deadline, no measure."""


async def answer_to(host: str, port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that the service sends until it closes; `pause` seconds between pieces. A connection that is reset while
    something was still being sent has no answer. TimeoutError when the service never closes."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if reader.at_eof():
                    break
                await asyncio.sleep(pause)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def trickle(host: str, port: int, head: bytes, drops: AsyncIterator[bytes]) -> int:
    """How many drops were sent after the head until the service closed. TimeoutError when it never does."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head)
        sent = 0
        try:
            async for drop in drops:
                if reader.at_eof():
                    return sent
                writer.write(drop)
                await writer.drain()
                sent += 1
        except ConnectionError:
            return sent
        finally:
            writer.close()
    return -1


async def endless(drop: bytes, pause: float = 0.01) -> AsyncIterator[bytes]:
    """The drop again and again."""
    while True:
        await asyncio.sleep(pause)
        yield drop


def many_headers(count: int) -> bytes:
    """So many short headers, and the end of them."""
    return b"".join(b"X-%d: y\r\n" % number for number in range(count)) + b"\r\n"


def bomb(unpacked: int) -> bytes:
    """A gzip text of so many bytes of spaces."""
    packer, piece = zlib.compressobj(9, wbits=31), b" " * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(unpacked // len(piece))) + packer.flush()
