"""A loop whose idle time hurries: waits are short, and nobody who works is taken for late."""

import asyncio
import time

from tests.cluster.loop_time import HurryingLoop, seconds, unix_seconds


def test_a_wait_of_nobody_takes_less_than_it_says() -> None:
    """Promise: the loop's clocks agree with its timers, and run ahead of real time while the loop is idle."""

    async def waits() -> tuple[float, float, float]:
        real, by_loop, unix = time.monotonic(), seconds(), unix_seconds()
        await asyncio.sleep(10.0)
        return time.monotonic() - real, seconds() - by_loop, unix_seconds() - unix

    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        real, by_loop, unix = runner.run(waits())
    assert by_loop >= 10.0
    assert abs(unix - by_loop) < 1.0
    assert real < by_loop  # a tenth of it, and what a busy machine adds


def test_while_a_thread_works_no_deadline_passes_sooner() -> None:
    """Promise: a database that writes has the time that its caller grants it, though the loop has nothing to do."""

    async def works() -> str:
        async with asyncio.timeout(2.0):
            await asyncio.to_thread(time.sleep, 0.6)
            return "in time"

    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        assert runner.run(works()) == "in time"


def test_what_others_take_of_the_processor_is_no_time() -> None:
    """Promise: no deadline passes because the loop's thread did not get its turn (as if by a sleep that blocks it)."""

    async def held_up() -> str:
        async with asyncio.timeout(0.3):
            time.sleep(0.6)
            await asyncio.sleep(0.1)
            return "in time"

    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        assert runner.run(held_up()) == "in time"
