"""An answer that costs much, asked for often. In: how to look. Out: what the last look saw, looked for anew only when
that is old."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from kit.errors import HelenusError

Answer = TypeVar("Answer")

FRESH_SECONDS = 60.0
PATIENCE_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Lately(Generic[Answer]):
    """`first`: the answer while nothing is known yet. `fresh`: seconds for which an answer is good. `patience`: seconds
    that one who asks waits for a look; it goes on behind, and the next one gets what it saw. `clock`: seconds that only
    grow."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Answer]],
        first: Answer,
        *,
        fresh: float = FRESH_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._known = first
        self._fresh = fresh
        self._patience = patience
        self._clock = clock
        self._read_at: float | None = None
        self._looking: asyncio.Task[None] | None = None

    async def read(self) -> Answer:
        """What was last seen. Those who ask at the same time share one look. One that fails with a HelenusError or an
        OSError is tried again by the next who asks."""
        if self._read_at is None or self._clock() - self._read_at >= self._fresh:
            if self._looking is None:
                self._looking = asyncio.create_task(self._renew())
            await asyncio.wait({self._looking}, timeout=self._patience)
        return self._known

    async def close(self) -> None:
        """Wait for no look any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _renew(self) -> None:
        try:
            self._known = await self._look()
            self._read_at = self._clock()
        except (HelenusError, OSError) as error:
            _log.debug("not_looked_at", look=getattr(self._look, "__qualname__", ""), reason=str(error))
        finally:
            self._looking = None
