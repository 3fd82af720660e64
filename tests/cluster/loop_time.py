"""Time of the running event loop: real time, or one that hurries while nobody computes.

In: an event loop. Out: unix and monotonic seconds that agree with its timers. On a `HurryingLoop` waits take a tenth of
what they say, and no deadline passes because the machine was busy: only idle time is shortened, never computing, and
what the thread does not get of the processor is no time.
"""

import asyncio
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

HURRY = 10.0
"""How many seconds pass in one that the loop has nothing to do."""
SLOW = 4.0
"""How many take one, while a thread works."""
UNIX_AHEAD = time.time() - time.monotonic()


def seconds() -> float:
    """Monotonic seconds of the running loop."""
    return asyncio.get_running_loop().time()


def unix_seconds(loop: asyncio.AbstractEventLoop | None = None) -> float:
    """Unix seconds that go by a loop, the running one unless told otherwise."""
    return (loop or asyncio.get_running_loop()).time() + UNIX_AHEAD


class HurryingLoop(asyncio.SelectorEventLoop):
    """For tests whose actors all live in this loop: another process would see time pass too slowly.

    Its seconds are the processor time of its thread, and its waits: what other processes take from it doesn't count."""

    def __init__(self) -> None:
        self._waited = time.monotonic()
        self._working = 0
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        super().__init__(_Hurrying(self._hurried))

    def time(self) -> float:
        """Monotonic seconds."""
        return self._waited + time.clock_gettime(self._clock)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *arguments: Any
    ) -> "asyncio.Future[Any]":
        """As any loop; while a thread works (a database writes) time passes slowly, as if for the thread alone."""
        future = super().run_in_executor(executor, function, *arguments)
        self._working += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: object) -> None:
        self._working -= 1

    def _hurried(self, wait: Callable[[float], Any], timeout: float) -> Any:
        speed = 1 / SLOW if self._working else HURRY
        began = time.monotonic()
        ready = wait(timeout / speed)
        self._waited += speed * min(time.monotonic() - began, timeout / speed)
        return ready


class _Hurrying(selectors.DefaultSelector):
    """Waits for files and timers. `hurried` decides how long a wait takes."""

    def __init__(self, hurried: Callable[[Callable[[float], Any], float], Any]) -> None:
        super().__init__()
        self._hurried = hurried

    def select(self, timeout: float | None = None) -> Any:
        """What is ready; a wait without an end is as long as it is."""
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return super().select(timeout) if timeout is None and not ready else ready
        return self._hurried(super().select, timeout)
