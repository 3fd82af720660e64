"""Work that is finished although nobody waits for it any more: a change that is half in the journal and half in memory
would be neither."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Unbroken:
    """Runs coroutines to their end even if the caller is cancelled meanwhile."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What the work gives or raises; when the caller is cancelled, the work goes on by itself."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def present_ones(self) -> None:
        """Return when all has ended that runs now."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def settle(self) -> None:
        """Return when all has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # belongs to the caller, who may be gone: nobody else is to be warned of it
