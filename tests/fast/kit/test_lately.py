"""What is looked at now and then: fresh enough, never in the way of who asks."""

import asyncio

import pytest

from kit.errors import HelenusError
from kit.lately import FRESH_SECONDS, Lately


class Looks:
    """A look that counts itself, waits to be let through, and may fail."""

    def __init__(self) -> None:
        self.count = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.count


async def test_it_is_looked_once_a_minute_however_often_is_asked() -> None:
    """Promise: a node may have 200,000 files and thousands of tables."""
    looks, now = Looks(), 100.0
    seen = Lately(looks, 0, patience=60, clock=lambda: now)
    assert await asyncio.gather(*(seen.read() for _ in range(5))) == [1] * 5
    now += FRESH_SECONDS - 1
    assert await seen.read() == 1
    now += 1
    assert await seen.read() == 2


async def test_a_disk_that_hangs_does_not_hold_up_who_asks() -> None:
    """Promise: what was known before is said then, and what the look sees when it has ended."""
    looks = Looks()
    looks.open.clear()
    seen = Lately(looks, 0, patience=0)
    assert await seen.read() == 0
    assert await seen.read() == 0
    looks.open.set()
    await asyncio.sleep(0)
    assert await seen.read() == 1
    assert looks.count == 1
    await seen.close()


@pytest.mark.parametrize("error", [HelenusError("down"), OSError(5, "Input/output error")])
async def test_a_look_that_fails_is_tried_again_by_the_next(error: Exception) -> None:
    """Promise: the trouble is told by other questions; this one alone must not end the report."""
    looks = Looks()
    looks.error = error
    seen = Lately(looks, 0, patience=60)
    assert await seen.read() == 0
    looks.error = None
    assert await seen.read() == 2


async def test_closing_waits_for_no_look() -> None:
    """Promise: an agent that ends doesn't wait for a disk that hangs."""
    looks = Looks()
    looks.open.clear()
    seen = Lately(looks, 0, patience=0)
    await seen.read()
    await asyncio.sleep(0)
    await seen.close()
    await seen.close()
    assert await seen.read() == 0
    await seen.close()
