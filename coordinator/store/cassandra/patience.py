"""Asking again until an answer comes, for so long and no longer. In: a question that is safe to repeat. Out: its
answer, or `StoreUnreachable`, or `StoreRefused`."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from coordinator.store.cassandra.errors import Refused, StoreUnreachable, Unanswered, failed

Answer = TypeVar("Answer")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts."""


class Patience:
    """One operation's: it ends `seconds` after it began."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + seconds
        self._seconds = seconds
        self._pause = FIRST_PAUSE

    async def ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of a question that may be asked any number of times. Raises `StoreRefused`, `StoreUnreachable`."""
        while True:
            try:
                return await question()
            except Unanswered as error:
                await self.wait(error)
            except Refused as refused:
                raise failed(refused) from None

    async def in_turn(self, lock: asyncio.Lock) -> None:
        """Acquire the lock. Raises `StoreUnreachable` when the time is over."""
        try:
            async with asyncio.timeout(max(0.0, self._ends - self._clock())):
                await lock.acquire()
        except TimeoutError:
            raise self._over("an earlier write of the same is still under way") from None

    async def wait(self, why: Unanswered | None = None) -> None:
        """Pause before another attempt. Raises `StoreUnreachable` when the time is over."""
        if self._clock() + self._pause >= self._ends:
            raise self._over("others write the same all the time" if why is None else str(why)) from None
        # Not all at once again: two that write the same partition would meet for ever.
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret hangs on it
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _over(self, reason: str) -> StoreUnreachable:
        return StoreUnreachable(
            f"the coordinator's state in Cassandra gave no answer within {self._seconds:.0f} s: {reason}", reason=reason
        )
