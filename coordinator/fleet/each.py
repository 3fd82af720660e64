"""One call on many agents or nodes. In: what to call, and for whom. Out: each one's answer or error, few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kit.errors import HelenusError
from kit.groups import TaskGroup

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 32
"""Calls side by side: one that hangs holds up few others, and no cluster is so large that all its agents are called
upon a store, or the coordinator's memory, in the same moment."""


async def on_each(
    items: Iterable[Item], call: Callable[[Item], Awaitable[Answer]], *, at_once: int = AT_ONCE
) -> list[tuple[Item, Answer | HelenusError]]:
    """Carry the call out for each item: the items in their order, each with the answer or the `HelenusError` that the
    call raised. Any other error breaks the rest off and comes out (in a group)."""
    turn = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Answer | HelenusError:
        async with turn:
            try:
                return await call(item)
            except HelenusError as error:
                return error

    items = list(items)
    async with TaskGroup() as group:
        answers = [group.create_task(one(item)) for item in items]
    return [(item, answer.result()) for item, answer in zip(items, answers, strict=True)]
