"""Rules of retention in SQLite (`protocol.Retention`)."""

import sqlite3
from collections.abc import Sequence

import msgspec

from coordinator.model.retention import KeptRule
from coordinator.store.database import Database

FORGET = "DELETE FROM retention WHERE cluster = ? AND destination = ?"
"""For whatever forgets a destination, in the same transaction."""


class SqliteRetention:
    """See `protocol.Retention`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, cluster: str, destination: str | None = None) -> list[KeptRule]:
        query = (
            "SELECT data FROM retention WHERE cluster = ? AND destination = COALESCE(?, destination)"
            " ORDER BY destination, backup_id"
        )
        rows = await self._database.read(
            lambda connection: connection.execute(query, (cluster, destination)).fetchall()
        )
        return [msgspec.json.decode(row[0], type=KeptRule) for row in rows]

    async def put(self, rules: Sequence[KeptRule]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            for kept in rules:
                where = (kept.cluster, kept.destination, kept.backup_id)
                connection.execute(
                    "DELETE FROM retention WHERE cluster = ? AND destination = ? AND backup_id = ?", where
                )
                if not kept.rule.retains_all:
                    connection.execute(
                        "INSERT INTO retention (cluster, destination, backup_id, data) VALUES (?, ?, ?, ?)",
                        (*where, msgspec.json.encode(kept)),
                    )

        await self._database.write(write)
