"""Parts of a service that run as long as it does. In: coroutines that should not end. Out: what ended one of them."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Background = Coroutine[Any, Any, None]


async def run_until(stop: asyncio.Event, background: Sequence[Background]) -> None:
    """Let the background parts run until `stop` is set. Raises what ends one of them: a service that lacks it must be
    started anew, which nothing is lost by."""
    tasks = [asyncio.create_task(part) for part in background]
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.wait({stopping, *tasks})


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None if `stop` is set before: the work is then cancelled and waited for."""
    task, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.wait({task, stopping})
