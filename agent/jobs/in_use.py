"""What unfinished commands work on: in, a snapshot's tag or a restore's job; out, whether it may be taken away
automatically, and a turn at it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager


class InUse:
    """`using`: the ids of unfinished commands that name a tag (or belong to a job). It is set once there is a runner:
    until then no command runs. `clearing`: held from the look whether anything works on a tag until it is cleared. A
    command that takes a snapshot waits for it once: what is looked at afterwards, is looked at with that command."""

    def __init__(self) -> None:
        self.using: Callable[[str], Collection[str]] = lambda name: ()
        self.clearing = asyncio.Lock()
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    def has(self, name: str, but: str = "") -> bool:
        """Whether any unfinished command, other than `but`, works on it."""
        return any(command != but for command in self.using(name))

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """While the block runs nobody else is in such a block of the same name; who comes waits for his turn."""
        lock, users = self._turns.get(name, (asyncio.Lock(), 0))
        self._turns[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._turns.pop(name)
            if users > 1:
                self._turns[name] = lock, users - 1
