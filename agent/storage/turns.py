"""How many streams run at a time. In: a number that may change at any time. Out: turns, first come first served.

For one event loop: a turn is taken, given back and made free on it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager


class Turns:
    """At most `most()` turns are taken. When it grows, call `changed`; when it falls, those that run end in peace."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Return when it is the caller's turn, to be given back."""
        if not self._waiting and self._taken < self._most():
            self._taken += 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # its turn came at the same moment
                self.give()
            raise

    def give(self) -> None:
        """The caller's turn is over."""
        self._taken -= 1
        self.changed()

    def changed(self) -> None:
        """Let those go on for whom there is room now."""
        while self._waiting and self._taken < self._most():
            first = self._waiting.popleft()
            if not first.cancelled():
                self._taken += 1
                first.set_result(None)


@asynccontextmanager
async def in_turn(turns: Iterable[Turns]) -> AsyncIterator[None]:
    """A turn of each for the block. All callers name them in the same order, or two could wait for each other."""
    taken: list[Turns] = []
    try:
        for one in turns:
            await one.take()
            taken.append(one)
        yield
    finally:
        for one in taken:
            one.give()
