"""Work done side by side. In: coroutines. Out: their answers in order, or the first error, with nothing left running
behind it."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup

Answer = TypeVar("Answer")


async def together(*works: Coroutine[Any, Any, Answer]) -> list[Answer]:
    """The answers. When one fails or the caller is cancelled, the others are cancelled and waited for before this
    raises: `asyncio.gather` would leave them running, with the caller's buffers in their hands and nobody to read what
    becomes of them.

    Raises the first HelenusError as it is, anything else in an exception group.
    """
    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except* HelenusError as failed:
        error = first_of(failed)
    else:
        return [task.result() for task in tasks]
    raise error
