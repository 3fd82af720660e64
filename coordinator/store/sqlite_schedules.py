"""Schedules in SQLite (`protocol.Schedules`)."""

import sqlite3
from collections.abc import Sequence

import msgspec

from coordinator.model.retention import KeptRule
from coordinator.model.schedules import Schedule
from coordinator.store.database import Database
from coordinator.store.sqlite_retention import retain_all_of, write_rules


class SqliteSchedules:
    """See `protocol.Schedules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, cluster: str) -> list[Schedule]:
        query = "SELECT data FROM schedules WHERE cluster = ? ORDER BY sequence"
        rows = await self._database.read(lambda connection: connection.execute(query, (cluster,)).fetchall())
        return [msgspec.json.decode(row[0], type=Schedule) for row in rows]

    async def get(self, cluster: str, schedule_id: str) -> Schedule | None:
        query = "SELECT data FROM schedules WHERE cluster = ? AND id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (cluster, schedule_id)).fetchone())
        return None if row is None else msgspec.json.decode(row[0], type=Schedule)

    async def put(self, schedule: Schedule, rules: Sequence[KeptRule] = ()) -> bool:
        what = (schedule.version, msgspec.json.encode(schedule), schedule.cluster, schedule.id)
        if schedule.version == 1:
            query = "INSERT OR IGNORE INTO schedules (version, data, cluster, id) VALUES (?, ?, ?, ?)"
        else:
            query = "UPDATE schedules SET version = ?1, data = ?2 WHERE cluster = ?3 AND id = ?4 AND version = ?1 - 1"

        def write(connection: sqlite3.Connection) -> bool:
            done = connection.execute(query, what).rowcount == 1
            if done:
                write_rules(connection, rules)
            return done

        return await self._database.write(write)

    async def remove(self, cluster: str, schedule_id: str) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            query = "SELECT data FROM schedules WHERE cluster = ? AND id = ?"
            row = connection.execute(query, (cluster, schedule_id)).fetchone()
            if row is None:
                return False
            job = msgspec.json.decode(row[0], type=Schedule).job
            retain_all_of(connection, cluster, schedule_id, job.places)
            done = connection.execute("DELETE FROM schedules WHERE cluster = ? AND id = ?", (cluster, schedule_id))
            return done.rowcount == 1

        return await self._database.write(delete)
