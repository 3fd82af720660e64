"""Clears what a snapshot call that failed, or was never answered, has left: in, the snapshots that are half done; out,
nothing of them, once Cassandra lets them go. At the agent's start and every minute after it, for the next snapshot,
which looks as well, may be a day away."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.jobs.snapshot import SnapshotTaker
from kit.errors import HelenusError

EVERY_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class OwedSnapshots:
    """`sleep` is injected for tests."""

    def __init__(self, taker: SnapshotTaker, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._taker = taker
        self._sleep = sleep

    async def run(self) -> None:
        """Try for ever; what can't be cleared yet is owed on."""
        while True:
            try:
                await self._taker.clear_half_done()
            except HelenusError as error:
                _log.warning("half_done_snapshots_not_cleared", code=error.code, reason=error.message)
            await self._sleep(EVERY_SECONDS)
