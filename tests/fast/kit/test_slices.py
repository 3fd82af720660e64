"""Long work in slices."""

import asyncio

from kit.slices import Slices


async def test_the_loop_turns_when_a_slice_is_over_and_not_before() -> None:
    """Promise: short work is done in one go, long work lets others have their turn as often as was said."""
    now, turns = 0.0, 0

    def tick() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(tick)

    loop = asyncio.get_running_loop()
    slices = Slices(1.0, lambda: now)
    loop.call_soon(tick)
    seen = []
    for _ in range(9):
        now += 0.3
        await slices.pause()
        seen.append(turns)
    assert seen == [0, 0, 0, 1, 1, 1, 1, 2, 2]
