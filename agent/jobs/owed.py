"""Clears what a snapshot call that failed, or was never answered, has left, and what could not be cleared when it was
to go: in, the snapshots that are half done or doomed; out, nothing of them, once Cassandra lets them go. At the agent's
start and every minute after it, for the next snapshot, which looks as well, may be a day away."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.jobs.snapshot import SnapshotTaker
from kit.errors import HelenusError

EVERY_SECONDS = 60.0
_LONGEST_SECONDS = 900.0
_log = structlog.get_logger(__name__)


class OwedSnapshots:
    """`sleep` is injected for tests."""

    def __init__(self, taker: SnapshotTaker, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._taker = taker
        self._sleep = sleep

    async def run(self) -> None:
        """Try for ever; what can't be cleared yet is owed on. No fault of one try ends the agent: the next one comes
        later and later, at most after a quarter of an hour."""
        pause = EVERY_SECONDS
        while True:
            try:
                await self._taker.clear_unwanted()
                pause = EVERY_SECONDS
            except HelenusError as error:
                _log.warning("owed_snapshots_not_cleared", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - none of this may end the daemon
                pause = min(pause * 2, _LONGEST_SECONDS)
                _log.exception("owed_snapshots_not_cleared", next_in_seconds=pause)
            await self._sleep(pause)
