"""Work that goes on beside all requests. In: a coroutine without an end. Out: `async with`, inside which it runs."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Beside(ABC):
    """Use as `async with`: `_always` begins with the block and is cancelled, and has ended, when it is left."""

    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._always(), name=type(self).__name__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def _always(self) -> None:
        """Do it again and again; what one round fails of must not end the next one."""
