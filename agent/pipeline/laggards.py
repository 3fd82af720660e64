"""Which target keeps the others waiting: in, puts as they begin and end; out, the target to part with.

All targets share one reading, and what was read is kept until the last of them has it. So a slow one fills the budget,
and then the others stand still: they have nothing to put, and nothing is being read for them. If that is so for a tenth
of the time, the target that holds most goes on by itself: what it lacks is read a second time, and the others are
through with their backup when they are.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from agent.pipeline.budget import Budget
from agent.pipeline.targets import StoreTarget
from kit.together import together

_LOOK_SECONDS = 0.05
_LEAST_SECONDS = 0.25
"""Standing still that is never worth a second reading."""
_MOST_PART = 0.1
"""The part of the time that the others may stand still."""


class Laggards:
    """Watches the puts of one pass, which share `budget`. For one event loop."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._putting = 0
        self._held: dict[StoreTarget, int] = {}
        """Bytes that a target still has to put."""
        self._puts: dict[StoreTarget, set[asyncio.Task[None]]] = {}

    async def put(self, length: int, puts: Sequence[tuple[StoreTarget, Coroutine[Any, Any, None]]]) -> None:
        """Await the puts of an object of `length` bytes; those of a target that is parted with end without."""
        self._putting += 1
        try:
            await together(*(self._unless_parted(target, length, put) for target, put in puts))
        finally:
            self._putting -= 1

    async def _unless_parted(self, target: StoreTarget, length: int, put: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(put)
        self._held[target] = self._held.get(target, 0) + length
        self._puts.setdefault(target, set()).add(task)
        try:
            await _ended(task)
        finally:
            self._held[target] -= length
            self._puts[target].discard(task)
        if not (task.cancelled() and target.is_parted):
            task.result()

    async def watch(self, targets: Sequence[StoreTarget], parted: Callable[[StoreTarget], object]) -> None:
        """Until cancelled. `parted` is told of each target that goes on by itself."""
        clock = asyncio.get_running_loop().time  # the one that sleeps: it may be a simulated one
        began, still = clock(), 0.0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            slowest = self._slowest([target for target in targets if target.alive])
            if slowest is None:
                continue
            still += _LOOK_SECONDS
            if still >= max(_LEAST_SECONDS, _MOST_PART * (clock() - began)):
                still = 0.0
                slowest.part()
                ending = list(self._puts[slowest])
                for task in ending:
                    task.cancel()
                if ending:
                    await asyncio.wait(ending)  # until then they count their bytes
                parted(slowest)

    def _slowest(self, alive: Sequence[StoreTarget]) -> StoreTarget | None:
        """The target that holds most while another stands still, if one does."""
        if self._budget.in_flight > self._putting or all(self._held.get(target) for target in alive):
            return None
        busy = [target for target in alive if self._held.get(target)]
        return max(busy, key=lambda target: self._held[target], default=None)


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for the task; when the caller is cancelled, the task is too, and waited for all the same: it sends from a
    buffer that is used again."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
            task.cancel()
    if cancelled:
        raise asyncio.CancelledError
