"""Questions asked side by side. In: awaitables. Out: their answers in order, or the first error, with nothing left
running behind it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from kit.errors import HelenusError, first_of

Answer = TypeVar("Answer")


async def together(*questions: Coroutine[Any, Any, Answer]) -> list[Answer]:
    """The answers. Raises the first error, when the other questions have ended too: `asyncio.gather` would leave them
    running with nobody to read what becomes of them, so that their errors come up when the agent stops."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except* HelenusError as failed:
        error = first_of(failed)
    else:
        return [task.result() for task in tasks]
    raise error
