"""A call on each of many agents: few side by side, every answer or error by its agent."""

import asyncio

import pytest

from coordinator.fleet.each import AT_ONCE, on_each
from kit.errors import HelenusError


async def test_few_calls_are_made_at_once_and_one_that_hangs_holds_up_no_other() -> None:
    """As many as allowed, never more; the answers come in the order of those who were asked."""
    hung, others = asyncio.Event(), 0
    now = most = 0

    async def call(number: int) -> int:
        nonlocal now, most, others
        now += 1
        most = max(most, now)
        if number == 0:
            await hung.wait()
        else:
            await asyncio.sleep(0)
            others += 1
        now -= 1
        if others == 3 * AT_ONCE:
            hung.set()
        return number * number

    async with asyncio.timeout(20):
        answers = await on_each(range(3 * AT_ONCE + 1), call)
    assert most == AT_ONCE
    assert answers == [(number, number * number) for number in range(3 * AT_ONCE + 1)]


async def test_an_error_of_one_is_its_answer_and_what_nobody_foresaw_comes_out() -> None:
    """The others are asked all the same; a fault of the program breaks them off."""
    wrong = HelenusError("down")

    async def call(number: int) -> int:
        if number == 1:
            raise wrong
        return number

    assert await on_each([0, 1, 2], call) == [(0, 0), (1, wrong), (2, 2)]
    begun, ended = asyncio.Event(), asyncio.Event()

    async def faulty(number: int) -> None:
        if number == 1:
            await begun.wait()
            raise ValueError("unforeseen")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.RaisesGroup(ValueError):
        await on_each([0, 1], faulty)
    assert ended.is_set()
