"""Lanes: commands in, one at a time and in the order of their coming out, each lane for itself."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Lane(Generic[Entry]):
    """A queue of one lane, from whose middle a cancelled command can be taken."""

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._woken = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, entry: Entry) -> None:
        """At the end."""
        self._waiting.append(entry)
        self._woken.set()

    def remove(self, entry: Entry) -> bool:
        """Take it out wherever it stands; False: it isn't waiting here any more."""
        try:
            self._waiting.remove(entry)
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Nothing more comes out."""
        self._closed = True
        self._woken.set()

    async def take(self) -> Entry | None:
        """The next one, as soon as there is one; None once the lane is closed."""
        while not self._closed and not self._waiting:
            self._woken.clear()
            await self._woken.wait()
        return None if self._closed else self._waiting.popleft()
