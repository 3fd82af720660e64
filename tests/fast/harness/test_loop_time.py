"""A loop whose idle time hurries: waits are short, and nobody who works is taken for late."""

import asyncio
import time

from tests.cluster.loop_time import HurryingLoop, seconds, unix_seconds


def test_a_wait_of_nobody_takes_less_than_it_says() -> None:
    """Promise: the loop's clocks agree with its timers, and run ahead of real time while the loop is idle."""

    async def waits() -> tuple[float, float, float]:
        real, by_loop, unix = time.monotonic(), seconds(), unix_seconds()
        await asyncio.sleep(2.0)
        return time.monotonic() - real, seconds() - by_loop, unix_seconds() - unix

    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        real, by_loop, unix = runner.run(waits())
    assert by_loop >= 2.0
    assert abs(unix - by_loop) < 1.0
    assert by_loop - real > 1.0  # however long a busy machine took


def test_while_a_thread_works_no_deadline_passes_sooner() -> None:
    """Promise: a database that writes has the time that its caller grants it, though the loop has nothing to do."""

    async def works() -> str:
        async with asyncio.timeout(5.0):
            await asyncio.to_thread(time.sleep, 0.6)
            return "in time"

    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        assert runner.run(works()) == "in time"
