"""Groups of tasks whose waiter is cancelled."""

import asyncio
from collections.abc import Callable

import pytest

from kit.errors import HelenusError
from kit.groups import TaskGroup
from kit.together import together


class Failed(HelenusError):
    """Of a task."""


async def fails(at: asyncio.Event) -> None:
    await at.wait()
    raise Failed("failed")


async def for_ever(at: asyncio.Event) -> None:
    """Waits for the next time after a failure, as a daemon does."""
    while True:
        try:
            await together(fails(at), fails(at))
        except Failed:
            await asyncio.Event().wait()


async def turns() -> None:
    """Enough for all that is ready."""
    for _ in range(5):
        await asyncio.sleep(0)


async def fails_beside_a_wait(at: asyncio.Event) -> None:
    async with TaskGroup() as group:
        group.create_task(fails(at))
        await asyncio.Event().wait()


async def fails_when_time_is_over(at: asyncio.Event) -> None:
    async with asyncio.timeout(60) as deadline, TaskGroup() as group:
        group.create_task(fails(at))
        await turns()
        at.set()
        deadline.reschedule(asyncio.get_running_loop().time())


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_a_cancel_that_meets_a_failure_ends_who_tries_again(*, cancel_first: bool) -> None:
    """Promise: cancelled in the turn in which a task fails, before or after it, the waiter ends."""
    at = asyncio.Event()
    running = asyncio.create_task(for_ever(at))
    await turns()
    acts: list[Callable[[], object]] = [running.cancel, at.set]
    for act in acts if cancel_first else acts[::-1]:
        act()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


async def test_a_failure_alone_is_told() -> None:
    """Promise: without a cancel the failures are raised, as asyncio does, and the waiter isn't cancelled by them."""
    at = asyncio.Event()
    at.set()
    with pytest.raises(ExceptionGroup) as raised:
        await fails_beside_a_wait(at)
    assert raised.group_contains(Failed)
    await turns()
    assert _cancels() == 0


async def test_time_that_is_over_when_a_task_fails_is_over() -> None:
    """Promise: a deadline that passes in the same turn is told as such, and cancels nothing afterwards."""
    with pytest.raises(TimeoutError):
        await fails_when_time_is_over(asyncio.Event())
    await turns()
    assert _cancels() == 0


def _cancels() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()
