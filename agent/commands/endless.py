"""Tasks that go on as long as the agent does. In: the tasks. Out: those that ended all the same, and why."""

import asyncio
from collections.abc import Iterable
from typing import Any


def died(tasks: Iterable[asyncio.Task[Any]]) -> tuple[str, ...]:
    """Name and reason of each task that has ended."""
    return tuple(f"{task.get_name()}: {_reason(task)}" for task in tasks if task.done())


def _reason(task: asyncio.Task[Any]) -> str:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    return "it returned" if error is None else repr(error)
