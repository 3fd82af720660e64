"""Measures the throttle where bytes arrive. In: limits and numbers of streams. Out: a table of what a sink got.

    python -m bench.throttle [--limits 1 4 16] [--streams 1 16] [--seconds 10]

A sink in a process of its own speaks just enough of S3 to take puts, and notes when how many bytes reached it. The
agent's S3 provider fills it through a token bucket. Ends with 1 when an average is off by more than 5 % or a second
carried more than 1.5 times the limit.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence

from agent.storage.limited import Limited
from agent.storage.s3 import S3Storage
from agent.storage.throttle import TokenBucket
from agent.wire.destinations import S3Settings

ADDRESS = "127.0.20.6"
MEGA = 1_000_000
PIECE = 4 * 1024 * 1024
Arrival = tuple[float, int]


class Sink(asyncio.Protocol):
    """One connection: requests are read and thrown away, the bytes of their bodies counted as they come."""

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
        elif not self._left:
            self._answer(b"")

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        head = f'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: {len(body)}\r\n\r\n'
        self._transport.write(head.encode() + body)


async def serve() -> None:
    """The sink's process: prints its port, then serves until it is killed."""
    arrivals: list[Arrival] = []
    server = await asyncio.get_running_loop().create_server(lambda: Sink(arrivals), ADDRESS, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def fill(endpoint: str, rate: float, streams: int, seconds: float) -> None:
    """Put pieces in so many streams for a little longer than the time measured."""
    settings = S3Settings(path="sink", endpoint=endpoint, access_key="a", access_secret="b", connections=streams)
    store = Limited(S3Storage(settings, conditional_create=True), TokenBucket(rate))
    content = os.urandom(PIECE)

    async def stream(number: int) -> None:
        turn = 0
        while True:
            turn += 1
            await store.put(f"{number}/{turn}", [content], replace=True)

    tasks = [asyncio.ensure_future(stream(number)) for number in range(streams)]
    await asyncio.wait(tasks, timeout=seconds + 1, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    await store.close()


def judged(arrivals: Sequence[Arrival], seconds: float) -> tuple[float, float]:
    """Bytes per second over the time, and in its fullest second (any second, not only whole ones)."""
    start = arrivals[0][0]
    within = [(at, count) for at, count in arrivals if at < start + seconds]
    fullest, oldest, running = 0, 0, 0
    for at, count in within:
        running += count
        while within[oldest][0] <= at - 1:
            running -= within[oldest][1]
            oldest += 1
        fullest = max(fullest, running)
    return sum(count for _, count in within) / seconds, fullest


async def measure(limits: Sequence[float], streams: Sequence[int], seconds: float) -> bool:
    """Run and print every combination; whether all kept within the bounds."""
    fine = True
    sink = subprocess.Popen([sys.executable, "-m", "bench.throttle", "--sink"], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        endpoint = f"http://{ADDRESS}:{sink.stdout.readline().strip()}"
        print("limit MB/s  streams  measured MB/s    off   fullest second")
        for limit in limits:
            for count in streams:
                await fill(endpoint, limit * MEGA, count, seconds)
                with await asyncio.to_thread(urllib.request.urlopen, f"{endpoint}/arrivals") as answer:
                    average, fullest = judged(json.load(answer), seconds)
                off = average / (limit * MEGA) - 1
                fine = fine and abs(off) <= 0.05 and fullest <= 1.5 * limit * MEGA
                print(
                    f"{limit:10g}  {count:7}  {average / MEGA:13.3f}  {off:+5.1%}  {fullest / limit / MEGA:8.2f} x",
                    flush=True,
                )
    finally:
        sink.kill()
        sink.wait()
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the throttle at the receiving end.")
    parser.add_argument("--limits", type=float, nargs="+", default=[1, 4, 16], help="MB/s")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sink:
        asyncio.run(serve())
    return 0 if asyncio.run(measure(given.limits, given.streams, given.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
