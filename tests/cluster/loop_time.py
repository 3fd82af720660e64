"""Time of the running event loop: real time, or one that hurries while nobody computes.

In: an event loop. Out: unix and monotonic seconds that agree with its timers. On a `HurryingLoop` waits take a tenth of
what they say, and no deadline passes because the machine was busy: only idle time is shortened, never computing.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

HURRY = 10.0
"""How many seconds pass in one that the loop has nothing to do."""
UNIX_AHEAD = time.time() - time.monotonic()


def seconds() -> float:
    """Monotonic seconds of the running loop."""
    return asyncio.get_running_loop().time()


def unix_seconds(loop: asyncio.AbstractEventLoop | None = None) -> float:
    """Unix seconds that go by a loop, the running one unless told otherwise."""
    return (loop or asyncio.get_running_loop()).time() + UNIX_AHEAD


class HurryingLoop(asyncio.SelectorEventLoop):
    """For tests whose actors all live in this loop: another process would see time pass too slowly."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._working = 0
        super().__init__(_Hurrying(self._hurried))

    def time(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self._ahead

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *arguments: Any
    ) -> "asyncio.Future[Any]":
        """As any loop; while a thread works (a database writes) time passes as it does for the thread."""
        future = super().run_in_executor(executor, function, *arguments)
        self._working += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: object) -> None:
        self._working -= 1

    def _hurried(self, wait: Callable[[float], Any], timeout: float) -> Any:
        if self._working:
            return wait(timeout)
        began = time.monotonic()
        ready = wait(timeout / HURRY)
        self._ahead += (HURRY - 1) * min(time.monotonic() - began, timeout / HURRY)
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
