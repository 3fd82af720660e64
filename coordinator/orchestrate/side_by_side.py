"""Tasks beside each other. In: work, and what may end it sooner. Out: one error of many, whether it was abandoned."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup

BEGUN_AT_ONCE = 20
"""Tasks that begin in the same turn of the event loop: what each does first, a thousand times, would hold up all else
for a tenth of a second."""


@contextmanager
def one_error() -> Iterator[None]:
    """Let the first `HelenusError` of a task group out as itself: what undoes a request looks for that. A group with
    an error of another sort in it stays as it is."""
    try:
        yield
    except ExceptionGroup as group:
        expected, unforeseen = group.split(HelenusError)
        if expected is None or unforeseen is not None:
            raise
        raise first_of(expected) from None


async def begun(group: TaskGroup, works: Iterable[Coroutine[Any, Any, None]]) -> list["asyncio.Task[None]"]:
    """A task of the group for each, made while the event loop turns."""
    tasks = []
    for work in works:
        tasks.append(group.create_task(work))
        if len(tasks) % BEGUN_AT_ONCE == 0:
            await asyncio.sleep(0)
    return tasks


async def set_when(cause: asyncio.Event, effect: asyncio.Event) -> None:
    """Let one event bring about another."""
    await cause.wait()
    effect.set()


async def unless(abandon: asyncio.Event, wait: Coroutine[Any, Any, None]) -> bool:
    """Wait; False when it was abandoned meanwhile."""
    waiting = asyncio.create_task(wait)
    stop = asyncio.create_task(abandon.wait())
    try:
        await asyncio.wait({waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (waiting, stop):
            task.cancel()
        await asyncio.gather(waiting, stop, return_exceptions=True)
    return not abandon.is_set()
