"""Requests that last: who reads events and waits for more. They are counted, and sent away when the agent stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from kit.errors import HelenusError

MOST_READERS = 64


class TooManyReaders(HelenusError):
    """As many read events as the agent serves at a time."""

    code = "too_many_readers"
    status = 503
    retry = "later"
    todo = "Close streams that nobody reads."


class Readers:
    """The lasting requests of an application."""

    def __init__(self, most: int = MOST_READERS) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[object]] = set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts the request that runs now. Raises TooManyReaders."""
        if len(self._tasks) >= self._most:
            raise TooManyReaders(f"{self._most} requests read events already", most=self._most)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in a task
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def send_away(self) -> None:
        """End all of them; they come back with where they left off."""
        for task in self._tasks:
            task.cancel()


READERS: web.AppKey[Readers] = web.AppKey("readers", Readers)


async def send_readers_away(app: web.Application) -> None:
    """For `on_shutdown`: without it the stop would wait for streams that never end."""
    app[READERS].send_away()
