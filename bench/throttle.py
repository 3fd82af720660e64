"""Measures the throttle where bytes arrive. In: limits and numbers of streams. Out: a table of what came.

    python -m bench.throttle [--limits 1 4 16] [--streams 1 16] [--seconds 10]

The agent's S3 provider puts to, and gets from, a sink in a process of its own, through a token bucket. What is put is
counted where the sink reads it, what is got where the provider reads it from its sockets. Beside that, what the kernel
had received by then on these sockets (TCP_INFO): it takes in one window of each connection ahead of its reader. Ends
with 1 when an average is off by more than 5 % or a second carried more than 1.5 times the limit.
"""

import argparse
import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from agent.storage.limited import Limited
from agent.storage.s3.storage import S3Storage
from agent.storage.throttle import TokenBucket
from agent.wire.destinations import S3Settings
from bench.sink import CONTENT, Arrival, arrivals, running
from tests.cluster.places import BUILD

MEGA = 1_000_000
SAMPLE_SECONDS = 0.02
_BYTES_RECEIVED = slice(128, 136)
"""Where tcpi_bytes_received lies in Linux's struct tcp_info."""
Turn = Callable[[Limited, str], Awaitable[object]]


async def run(endpoint: str, rate: float, streams: int, seconds: float, turn: Turn) -> None:
    """`turn` again and again in so many streams, for a little longer than the time measured."""
    settings = S3Settings(path="sink", endpoint=endpoint, access_key="a", access_secret="b", connections=streams)
    store = Limited(S3Storage(settings, conditional_create=True), TokenBucket(rate))

    async def stream(number: int) -> None:
        count = 0
        while True:
            count += 1
            await turn(store, f"{number}/{count}")

    tasks = [asyncio.ensure_future(stream(number)) for number in range(streams)]
    await asyncio.wait(tasks, timeout=seconds + 1, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    await store.close()


Came = tuple[Sequence[Arrival], Sequence[Arrival] | None]
"""What was read and what the kernel received, where that can be told."""


async def up(endpoint: str, rate: float, streams: int, seconds: float) -> Came:
    """What the sink got."""
    await run(endpoint, rate, streams, seconds, lambda store, key: store.put(key, [CONTENT], replace=True))
    return await asyncio.to_thread(arrivals, endpoint), None


async def down(endpoint: str, rate: float, streams: int, seconds: float) -> Came:
    """What the provider's sockets gave."""
    with _watched_sockets() as (read, received):
        await run(endpoint, rate, streams, seconds, lambda store, key: store.get(key))
    return sorted(read), received


@contextmanager
def _watched_sockets() -> Iterator[tuple[list[Arrival], list[Arrival]]]:
    """What is read from, and what the kernel received on, the sockets that are connected while the block runs."""
    read: list[Arrival] = []
    received: list[Arrival] = []
    counts: dict[socket.socket, int] = {}
    over = threading.Event()
    connect, recv_into = socket.socket.connect, socket.socket.recv_into

    def connect_noted(self: socket.socket, address: Any) -> None:
        connect(self, address)
        counts[self] = 0

    def read_noted(self: socket.socket, *arguments: Any) -> int:
        count = recv_into(self, *arguments)
        read.append((time.monotonic(), count))
        return count

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            fresh = 0
            for one, before in list(counts.items()):
                with suppress(OSError):  # closed
                    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                    counts[one] = int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder)
                    fresh += counts[one] - before
            if fresh:
                received.append((time.monotonic(), fresh))

    sampler = threading.Thread(target=sample)
    replaced: Any = socket.socket
    replaced.connect, replaced.recv_into = connect_noted, read_noted
    sampler.start()
    try:
        yield read, received
    finally:
        replaced.connect, replaced.recv_into = connect, recv_into
        over.set()
        sampler.join()


def judged(came: Sequence[Arrival], seconds: float) -> tuple[float, float]:
    """Bytes per second over the time, and in its fullest second (any second, not only whole ones)."""
    start = came[0][0]
    within = [(at, count) for at, count in came if at < start + seconds]
    fullest, oldest, running_count = 0, 0, 0
    for at, count in within:
        running_count += count
        while within[oldest][0] <= at - 1:
            running_count -= within[oldest][1]
            oldest += 1
        fullest = max(fullest, running_count)
    return sum(count for _, count in within) / seconds, fullest


async def measure(limits: Sequence[float], streams: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Run and print every combination; a row each, with MB/s and whether it kept within the bounds."""
    rows: list[dict[str, Any]] = []
    print(f"over {seconds:g} s; wanted: off by 5 % at most, no second above 1.5 times the limit")
    print("way   limit MB/s  streams  measured MB/s    off   fullest second")
    with running() as endpoint:
        for name, way in (("up", up), ("down", down)):
            for limit in limits:
                for count in streams:
                    read, received = await way(endpoint, limit * MEGA, count, seconds)
                    average, fullest = judged(read, seconds)
                    off = average / (limit * MEGA) - 1
                    ok = abs(off) <= 0.05 and fullest <= 1.5 * limit * MEGA
                    rows.append(
                        {
                            "way": name,
                            "limit": limit,
                            "streams": count,
                            "measured": average / MEGA,
                            "fullest_second": fullest / MEGA,
                            "ok": ok,
                        }
                    )
                    line = (
                        f"{name:<4}  {limit:10g}  {count:7}  {average / MEGA:13.3f}  {off:+5.1%}"
                        f"  {fullest / limit / MEGA:12.2f} x   {'ok' if ok else 'SHORT'}"
                    )
                    if received is not None:
                        average, fullest = judged(received, seconds)
                        line += f"   (kernel: {average / limit / MEGA - 1:+.1%}, {fullest / limit / MEGA:.2f} x)"
                    print(line, flush=True)
    return rows


def main() -> int:
    """Parse the arguments, measure."""
    parser = argparse.ArgumentParser(description="Measure the throttle at the receiving end.")
    parser.add_argument("--limits", type=float, nargs="+", default=[1, 4, 16], help="MB/s")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    rows = asyncio.run(measure(given.limits, given.streams, given.seconds))
    path = BUILD / "bench.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**kept, "throttle": rows}, indent=1))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
