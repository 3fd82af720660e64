"""Destinations and named values in SQLite (`protocol.Destinations`, `protocol.Values`)."""

import sqlite3
from typing import Any

import msgspec

from coordinator.model.destinations import Destination
from coordinator.store.database import Database
from coordinator.store.sqlite_retention import forget_rules, remember_rules


class SqliteDestinations:
    """See `protocol.Destinations`. Secrets stand in the database file, which has mode 0600."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, cluster: str, destination_id: str) -> Destination | None:
        query = "SELECT data FROM destinations WHERE cluster = ? AND id = ?"
        row = await self._database.read(
            lambda connection: connection.execute(query, (cluster, destination_id)).fetchone()
        )
        return None if row is None else msgspec.json.decode(row[0], type=Destination)

    async def all(self, cluster: str) -> list[Destination]:
        query = "SELECT data FROM destinations WHERE cluster = ? ORDER BY sequence"
        rows = await self._database.read(lambda connection: connection.execute(query, (cluster,)).fetchall())
        return [msgspec.json.decode(row[0], type=Destination) for row in rows]

    async def put(self, destination: Destination) -> None:
        def write(connection: sqlite3.Connection) -> None:
            remember_rules(connection, destination)
            connection.execute(
                "INSERT INTO destinations (cluster, id, revision, data) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (cluster, id) DO UPDATE SET revision = excluded.revision, data = excluded.data"
                " WHERE excluded.revision >= revision",
                (destination.cluster, destination.id, destination.revision, msgspec.json.encode(destination)),
            )

        await self._database.write(write)

    async def remove(self, cluster: str, destination_id: str) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            forget_rules(connection, cluster, destination_id)
            done = connection.execute(
                "DELETE FROM destinations WHERE cluster = ? AND id = ?", (cluster, destination_id)
            )
            return done.rowcount == 1

        return await self._database.write(delete)


class SqliteValues:
    """See `protocol.Values`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> Any:
        query = "SELECT data FROM named_values WHERE name = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (name,)).fetchone())
        return None if row is None else msgspec.json.decode(row[0])

    async def put(self, name: str, value: Any) -> None:
        data = msgspec.json.encode(value)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO named_values (name, data) VALUES (?, ?)", (name, data))

        await self._database.write(write)
