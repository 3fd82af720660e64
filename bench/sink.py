"""The other end of the throttle's measurement. In: requests of the agent's S3 provider. Out: when how many bytes came.

Speaks just enough of S3: takes puts and notes when their bytes arrived, and answers every get with one piece. Runs in a
process of its own.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

ADDRESS = "127.0.20.6"
PIECE = 4 * 1024 * 1024
"""Bytes of an object, up and down."""
CONTENT = os.urandom(PIECE)
Arrival = tuple[float, int]


class Sink(asyncio.Protocol):
    """One connection: bodies are thrown away, their bytes counted as they come."""

    def __init__(self, arrivals: list[Arrival]) -> None:
        self._arrivals = arrivals
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left:
                body, data = data[: self._left], data[self._left :]
                self._left -= len(body)
                self._arrivals.append((time.monotonic(), len(body)))
                if not self._left:
                    self._answer(b"")
                continue
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self._left = int(headers.get("content-length", "0"))
        if lines[0].startswith("GET /arrivals"):
            self._answer(json.dumps(self._arrivals).encode())
            self._arrivals.clear()
        elif lines[0].startswith("GET "):
            self._answer(CONTENT)
        elif not self._left:
            self._answer(b"")

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        head = f'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: {len(body)}\r\n\r\n'
        self._transport.write(head.encode() + body)


async def _serve() -> None:
    """Print the port, then serve until killed."""
    arrivals: list[Arrival] = []
    server = await asyncio.get_running_loop().create_server(lambda: Sink(arrivals), ADDRESS, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running() -> Iterator[str]:
    """A sink while the block runs; its endpoint."""
    sink = subprocess.Popen([sys.executable, "-m", "bench.sink"], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        yield f"http://{ADDRESS}:{sink.stdout.readline().strip()}"
    finally:
        sink.kill()
        sink.wait()


def arrivals(endpoint: str) -> list[Arrival]:
    """What came since the last call."""
    with urllib.request.urlopen(f"{endpoint}/arrivals") as answer:
        return cast(list[Arrival], json.load(answer))


if __name__ == "__main__":
    asyncio.run(_serve())
