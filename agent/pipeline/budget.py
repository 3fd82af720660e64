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
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait until `size` more bytes may be in flight. Of callers that wait those go whose size fits, whoever came
        first: a large one may have to wait until small ones are through, and nothing stands meanwhile."""
        wanted = min(size, self._most_bytes)
        while self._bytes < wanted or self._things < 1:
            self._freed.clear()
            await self._freed.wait()
        self._bytes -= wanted
        self._things -= 1

    def give(self, size: int) -> None:
        """`size` bytes are done with."""
        self._bytes += min(size, self._most_bytes)
        self._things += 1
        self._freed.set()
