"""One question at a time. In: a call, and any number of tasks that want it done. Out: each has seen one done whole."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Asking:
    """Of one agent. `call` asks it and keeps the answer; it is carried out for as long as it takes, also when whoever
    wanted it has gone away."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._call = call
        self._begun = 0
        self._task: asyncio.Task[None] | None = None

    async def done(self, *, fresh: bool) -> None:
        """Return once a call has ended: with `fresh` one that began after this was asked for, which all share that ask
        for it while an earlier one is under way; else also that earlier one. Raises what the call raises."""
        wanted = self._begun + 1
        earlier = self._task
        if earlier is not None and not earlier.done():
            await asyncio.wait({earlier})
            if not fresh:
                earlier.result()
                return
        if self._task is None or self._begun < wanted:
            self._begun += 1
            self._task = asyncio.create_task(self._call())
        task = self._task
        await asyncio.wait({task})
        task.result()

    async def close(self) -> None:
        """Break off what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
