"""Many tasks that begin beside each other."""

import asyncio
from collections import Counter

from coordinator.orchestrate.side_by_side import BEGUN_AT_ONCE, begun
from kit.groups import TaskGroup


async def test_many_begin_in_many_turns_of_the_loop() -> None:
    """Promise: of a thousand tasks few begin in one turn, so that others have theirs in between; all begin."""
    turn = 0
    begun_in = Counter[int]()

    async def turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def work() -> None:
        begun_in[turn] += 1

    turning = asyncio.create_task(turns())
    async with TaskGroup() as group:
        tasks = await begun(group, (work() for _ in range(1_000)))
    turning.cancel()
    assert len(tasks) == begun_in.total() == 1_000
    assert max(begun_in.values()) <= BEGUN_AT_ONCE
