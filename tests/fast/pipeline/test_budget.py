"""What may be in flight: bytes and things, whoever asks first and however large."""

import asyncio
import random

from agent.pipeline.budget import BYTES, MIB, Budget


async def test_never_more_is_in_flight_than_allowed() -> None:
    """Promise: the memory of pieces under way is bounded, and so are the requests; all of them come to their turn."""
    dice = random.Random(5)
    budget = Budget(BYTES, 6)
    under_way: list[int] = []
    most_bytes = most_things = 0

    async def one(size: int) -> None:
        nonlocal most_bytes, most_things
        await budget.take(size)
        under_way.append(size)
        most_bytes = max(most_bytes, sum(under_way))
        most_things = max(most_things, len(under_way))
        for _ in range(dice.randrange(5)):
            await asyncio.sleep(0)
        under_way.remove(size)
        budget.give(size)

    sizes = [dice.choice((100, MIB, 8 * MIB, 20 * MIB)) for _ in range(300)]
    async with asyncio.timeout(30):
        await asyncio.gather(*map(one, sizes))
    assert BYTES - 20 * MIB < most_bytes <= BYTES
    assert most_things == 6


async def test_a_thing_larger_than_the_budget_goes_alone() -> None:
    """Promise: nothing is too large to be stored; beside it nothing else is in flight, and then all may be again."""
    budget = Budget(10, 4)
    await budget.take(25)
    small = asyncio.create_task(budget.take(1))
    await asyncio.sleep(0)
    assert not small.done()
    budget.give(25)
    async with asyncio.timeout(30):
        await small
        await budget.take(9)


async def test_a_small_one_does_not_wait_behind_a_large_one() -> None:
    """Promise: what fits goes, also when something that doesn't fit came first."""
    budget = Budget(10, 4)
    await budget.take(6)
    large = asyncio.create_task(budget.take(8))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await budget.take(4)
        assert not large.done()
        budget.give(4)
        budget.give(6)
        await large
