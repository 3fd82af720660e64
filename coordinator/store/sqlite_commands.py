"""Posted commands and fences in SQLite (`protocol.Commands`)."""

import sqlite3
from collections.abc import Sequence

import msgspec

from coordinator.model.commands import PostedCommand
from coordinator.store.database import Database

_decode = msgspec.json.Decoder(PostedCommand).decode


class SqliteCommands:
    """See `protocol.Commands`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, commands: Sequence[PostedCommand]) -> None:
        rows = [
            (command.id, command.request, command.cancel_owed, msgspec.json.encode(command)) for command in commands
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO commands (id, request, cancel_owed, data) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET cancel_owed = excluded.cancel_owed, data = excluded.data",
                rows,
            )

        await self._database.write(write)

    async def get(self, command_id: str) -> PostedCommand | None:
        query = "SELECT data FROM commands WHERE id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (command_id,)).fetchone())
        return None if row is None else msgspec.json.decode(row[0], type=PostedCommand)

    async def of(self, request_id: str) -> list[PostedCommand]:
        query = "SELECT data FROM commands WHERE request = ? ORDER BY sequence"
        # Decoded in the file's thread: a thousand nodes' results are megabytes.
        return await self._database.read(
            lambda connection: [_decode(row[0]) for row in connection.execute(query, (request_id,))]
        )

    async def cancels_owed(self) -> list[PostedCommand]:
        query = "SELECT data FROM commands WHERE cancel_owed = 1 ORDER BY sequence"
        rows = await self._database.read(lambda connection: connection.execute(query).fetchall())
        return [msgspec.json.decode(row[0], type=PostedCommand) for row in rows]

    async def next_fence(self, job: str, above: int = 0) -> int:
        def grow(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO fences (job, last) VALUES (?1, ?2 + 1)"
                " ON CONFLICT (job) DO UPDATE SET last = max(last, ?2) + 1",
                (job, above),
            )
            return int(connection.execute("SELECT last FROM fences WHERE job = ?", (job,)).fetchone()[0])

        return await self._database.write(grow)
