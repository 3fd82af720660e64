"""The journal's one writer. In: pieces of work on the connection. Out: each one's result, once its transaction is on
the disk. What waits together is committed together: under load many changes cost one fsync."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from agent.commands.errors import JournalFailed

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]

MOST_TOGETHER = 500
"""Changes of one transaction."""


class JournalWriter:
    """Runs work in one thread, in the order given, each piece whole or not at all."""

    def __init__(self, executor: ThreadPoolExecutor, connection: sqlite3.Connection) -> None:
        self._executor = executor
        self._connection = connection
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._draining: asyncio.Task[None] | None = None
        self.commits = 0
        """transactions so far"""

    def submit(self, work: Work[Result]) -> asyncio.Future[Result]:
        """Queue the work at once; the future is done after the commit. It raises what the work raised, or
        JournalFailed.

        Giving up on the future doesn't take the work back.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="journal writer")
        return future

    async def settle(self) -> None:
        """Return when nothing waits."""
        while self._draining is not None:
            await asyncio.wait([self._draining])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                outcomes = await self._in_thread([work for work, _ in together])
                for (_, future), outcome in zip(together, outcomes, strict=True):
                    if future.done():  # who asked has given up
                        continue
                    if isinstance(outcome, BaseException):
                        future.set_exception(outcome)
                    else:
                        future.set_result(outcome)
        finally:
            self._draining = None

    async def _in_thread(self, works: Sequence[Work[Any]]) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._commit, works)

    def _commit(self, works: Sequence[Work[Any]]) -> list[Any]:
        connection = self._connection
        outcomes: list[Any] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for work in works:
                connection.execute("SAVEPOINT piece")
                try:
                    outcomes.append(work(connection))
                except sqlite3.OperationalError:
                    raise  # the disk, not this piece: none of them can be trusted
                except Exception as error:  # noqa: BLE001 - handed to the one who waits for this piece
                    outcomes.append(_failed(error) if isinstance(error, sqlite3.Error) else error)
                    connection.execute("ROLLBACK TO piece")
                connection.execute("RELEASE piece")
            connection.execute("COMMIT")
            self.commits += 1
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return [_failed(error) for _ in works]
        return outcomes


def _failed(error: sqlite3.Error) -> JournalFailed:
    return JournalFailed(f"the journal can't be written: {error}", reason=str(error))
