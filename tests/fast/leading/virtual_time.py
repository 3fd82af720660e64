"""Time that passes only while everybody waits. In: nothing. Out: an event loop whose clock jumps to the next timer."""

import asyncio
import selectors
from typing import Any


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: "VirtualLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self._loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For what computes and waits, without threads and sockets: an hour takes as long as its computing."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since some moment."""
        return self.now
