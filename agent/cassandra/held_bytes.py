"""How many bytes the node's tables hold on disk. In: the data directories. Out: a number, read anew once a minute at
most.

Counted from the files, because the other ways are dearer or coarser: `nodetool info` starts a JVM for each look, and
`system_views.disk_usage` rounds every table up to whole MiB [X: TableMetricTables].
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from agent.cassandra.errors import CassandraError
from agent.cassandra.inventory import live_bytes

FRESH_SECONDS = 60.0
"""How long a count is good: a node may have 200,000 files, and who asks for the node may ask every second."""

PATIENCE_SECONDS = 2.0
"""How long an asker waits for the count; it goes on behind and the next one gets it."""


class HeldBytes:
    """`data`: asks for the data directories. `clock`: seconds that only grow."""

    def __init__(
        self,
        data: Callable[[], Awaitable[Sequence[str]]],
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data = data
        self._patience = patience
        self._clock = clock
        self._known: int | None = None
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def read(self) -> int | None:
        """The bytes of the live SSTables, snapshots apart, as last counted; None while they could not be counted yet.
        Never raises, and never waits long for a slow disk."""
        if self._read_at is None or self._clock() - self._read_at >= FRESH_SECONDS:
            if self._reading is None:
                self._reading = asyncio.create_task(self._count())
            await asyncio.wait({self._reading}, timeout=self._patience)
        return self._known

    async def close(self) -> None:
        """Wait for no count any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _count(self) -> None:
        try:
            self._known = await asyncio.to_thread(live_bytes, await self._data())
            self._read_at = self._clock()
        except (CassandraError, OSError):  # who asks for the node is told the trouble by its other questions
            self._known = None
        finally:
            self._reading = None
