"""Notices that wait to be told, in SQLite (`protocol.Outbox`)."""

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from coordinator.model.notices import Notice, Waiting
from coordinator.store.database import Database


class SqliteOutbox:
    """See `protocol.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, waiting: Sequence[Waiting]) -> None:
        rows = [
            (one.hook, one.notice.id, one.put, one.tries, one.next_try, msgspec.json.encode(one.notice))
            for one in waiting
        ]
        await self._database.write(
            lambda connection: connection.executemany(
                "INSERT INTO outbox (hook, id, put, tries, next_try, data) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (hook, id) DO NOTHING",
                rows,
            )
        )

    async def first(self, hook: str) -> Waiting | None:
        query = "SELECT data, put, tries, next_try FROM outbox WHERE hook = ? AND done = 0 ORDER BY sequence LIMIT 1"
        row = await self._database.read(lambda connection: connection.execute(query, (hook,)).fetchone())
        return None if row is None else Waiting(hook, msgspec.json.decode(row[0], type=Notice), *row[1:])

    async def done(self, hook: str, notice_id: str) -> None:
        query = "UPDATE outbox SET done = 1 WHERE hook = ? AND id = ?"
        await self._database.write(lambda connection: connection.execute(query, (hook, notice_id)))

    async def postpone(self, hook: str, notice_id: str, tries: int, next_try: float) -> None:
        query = "UPDATE outbox SET tries = ?, next_try = ? WHERE hook = ? AND id = ?"
        await self._database.write(lambda connection: connection.execute(query, (tries, next_try, hook, notice_id)))

    async def waiting(self) -> dict[str, int]:
        query = "SELECT hook, count(*) FROM outbox WHERE done = 0 GROUP BY hook"
        return dict(await self._database.read(lambda connection: connection.execute(query).fetchall()))

    async def keep_newest(self, hook: str, count: int) -> int:
        def drop(connection: sqlite3.Connection) -> int:
            done = connection.execute(
                "UPDATE outbox SET done = 1 WHERE hook = ?1 AND done = 0 AND sequence NOT IN"
                " (SELECT sequence FROM outbox WHERE hook = ?1 AND done = 0 ORDER BY sequence DESC LIMIT ?2)",
                (hook, count),
            )
            return done.rowcount

        return await self._database.write(drop)

    async def prune(self, before: float, hooks: Collection[str]) -> None:
        kept = ", ".join("?" * len(hooks))
        # Only question marks are put together; the names are bound.
        query = f"DELETE FROM outbox WHERE put < ? AND (done = 1 OR hook NOT IN ({kept}))"  # noqa: S608
        await self._database.write(lambda connection: connection.execute(query, (before, *hooks)))
