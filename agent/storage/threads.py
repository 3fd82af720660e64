"""A bounded pool of threads for calls that block. In: a function that takes a `Stop`. Out: its result, awaited.

A cancelled caller does not leave its thread behind: the thread is told to stop, and the cancellation is delivered when
it has. Until then the caller's buffers are still being read, so they must not be used for anything else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Stopped(Exception):
    """Raised in a worker thread whose caller was cancelled; never reaches anybody else."""


class Stop:
    """One call's flag: set when the caller no longer wants the result."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """From the caller's side."""
        self._set = True

    def check(self) -> None:
        """In the thread, between two steps. Raises `Stopped`."""
        if self._set:
            raise Stopped


class Workers:
    """At most `count` calls at a time; further ones wait in order."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[[Stop], Result]) -> Result:
        """The result of `work`, or what it raised."""
        stop = Stop()
        running = self._pool.submit(work, stop)
        waiting = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            stop.set()
            if not running.cancel():
                await _finished(waiting)
            raise

    async def close(self) -> None:
        """Wait for what runs and end the threads."""
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)


MakeWorkers = Callable[[int, str], Workers]
"""Makes a pool of so many threads with that name: `Workers` itself, but for a run in which time is simulated."""


async def _finished(waiting: "asyncio.Future[Result]") -> None:
    """Wait for the thread, however often the caller is cancelled meanwhile; its own outcome no longer matters."""
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            continue
    if not waiting.cancelled():
        waiting.exception()  # looked at, so that asyncio does not complain of a result nobody read
