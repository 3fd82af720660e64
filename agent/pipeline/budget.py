"""How much may be in flight: in, sizes of what a producer is about to begin; out, its turn.

Bounded twice: bytes (memory) and things (requests). Producers ask, workers give back.
"""

import asyncio

MIB = 1024 * 1024
BYTES = 32 * MIB
"""Plain bytes in flight. A piece takes up to 2.5 times its size while an SDK sends it: 80 MiB at most."""


class Budget:
    """`most_bytes` and `most_things` in flight. A thing larger than the whole budget may go alone."""

    def __init__(self, most_bytes: int = BYTES, most_things: int = 16) -> None:
        self._most_bytes = most_bytes
        self._bytes = most_bytes
        self._things = most_things
        self._in_flight = 0
        self._freed = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Things that are."""
        return self._in_flight

    def narrow(self, most_bytes: int) -> None:
        """From now on at most so many bytes; what is in flight beyond them is waited for."""
        self._bytes -= self._most_bytes - most_bytes
        self._most_bytes = most_bytes

    async def take(self, size: int) -> None:
        """Wait until `size` more bytes may be in flight. Of callers that wait those go whose size fits, whoever came
        first: a large one may have to wait until small ones are through, and nothing stands meanwhile."""
        while self._things < 1 or (self._bytes < size and self._in_flight):
            self._freed.clear()
            await self._freed.wait()
        self._bytes -= size
        self._things -= 1
        self._in_flight += 1

    def give(self, size: int) -> None:
        """`size` bytes are done with."""
        self._bytes += size
        self._things += 1
        self._in_flight -= 1
        self._freed.set()
