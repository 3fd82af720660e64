"""Tasks that end together. In: tasks. Out: all of them ended, or the first failure; a cancel always arrives.

CPython before 3.13 loses a cancel that comes while a task of a group fails: `asyncio.TaskGroup` then raises the failure
alone, and whoever tries again after failures, as all that runs for ever does, is never ended.
"""

import asyncio
import sys
from types import TracebackType
from typing import Self


class TaskGroup(asyncio.TaskGroup):
    """As asyncio's. Raises `CancelledError`, not the failures, when who waits was cancelled from outside meanwhile."""

    _cancels = 0

    async def __aenter__(self) -> Self:
        self._cancels = _cancels()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.version_info >= (3, 13):
            return await super().__aexit__(kind, error, trace)
        early = self._cancelled_who_waits()
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as failed:
            if self._cancelled_who_waits() and not early:
                _take_back()  # it came too late to end a wait, and asyncio leaves it counted
            if _cancels() > self._cancels:
                raise asyncio.CancelledError from failed
            raise

    def _cancelled_who_waits(self) -> bool:
        """Whether the group itself did, for a task had failed. CPython 3.11 and 3.12 tell it by this name alone."""
        return bool(getattr(self, "_parent_cancel_requested", False))


def _cancels() -> int:
    """How many cancels of the running task nobody has taken back."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _take_back() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
