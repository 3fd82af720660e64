"""Work that has to be done though the store can't be written for a while. In: work that may be repeated. Out: what it
gives, once the store keeps it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from coordinator.orchestrate.run import Run
from coordinator.store.database import StoreFailed

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to write what must not be lost."""

T = TypeVar("T")


async def until_kept(run: Run, what: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives. While the store fails it is tried again: the run couldn't end before that is over either, for
    its end has to be written too. `what` names the work in the log; any other error comes out as it is."""
    pause = run.around.timing.retry_pause
    while True:
        try:
            return await work()
        except StoreFailed as failed:
            log.error(
                "work waits for the store",
                work=what,
                request=run.request.id,
                reason=failed.message,
                again_seconds=pause,
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
