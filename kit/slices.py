"""Long work in slices. In: how long one may be. Out: a pause between two pieces of the work, when it is time for one.

To pause after every piece costs more turns of the event loop than the work is worth; not to pause at all holds up all.
"""

import asyncio
import time
from collections.abc import Callable

SLICE_SECONDS = 0.005


class Slices:
    """Of one piece of work, from its beginning. `seconds`: what may be done without a pause."""

    def __init__(self, seconds: float = SLICE_SECONDS, clock: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began = clock()

    async def pause(self) -> None:
        """Let the event loop turn, if the slice is over."""
        if self._clock() - self._began >= self._seconds:
            await asyncio.sleep(0)
            self._began = self._clock()
