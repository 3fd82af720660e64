"""Users and their sessions in SQLite (`protocol.Users`, `protocol.Sessions`).

Nothing of them is held in memory, so that what another process wrote, as the command `users` does, counts at once.
"""

import sqlite3

import msgspec

from coordinator.model.access import Change, Session, User
from coordinator.store.database import Database


class SqliteUsers:
    """See `protocol.Users`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def any(self) -> bool:
        return await self._database.read(
            lambda connection: connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None
        )

    async def get(self, name: str) -> User | None:
        return await self._database.read(lambda connection: _get(connection, name))

    async def all(self) -> list[User]:
        query = "SELECT data FROM users ORDER BY name"
        rows = await self._database.read(lambda connection: connection.execute(query).fetchall())
        return [msgspec.json.decode(row[0], type=User) for row in rows]

    async def add(self, user: User) -> bool:
        def write(connection: sqlite3.Connection) -> bool:
            done = connection.execute(
                "INSERT INTO users (name, administers, data) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                (user.name, user.administers, msgspec.json.encode(user)),
            )
            return done.rowcount == 1

        return await self._database.write(write)

    async def replace(self, former: User, user: User | None, *, admin_stays: bool) -> Change:
        def write(connection: sqlite3.Connection) -> Change:
            if _get(connection, former.name) != former:
                return Change.MISSED
            if admin_stays and former.administers and not (user is not None and user.administers):
                query = "SELECT 1 FROM users WHERE administers = 1 AND name <> ? LIMIT 1"
                if connection.execute(query, (former.name,)).fetchone() is None:
                    return Change.LAST_ADMIN
            if user is None:
                connection.execute("DELETE FROM users WHERE name = ?", (former.name,))
            else:
                connection.execute(
                    "UPDATE users SET administers = ?, data = ? WHERE name = ?",
                    (user.administers, msgspec.json.encode(user), former.name),
                )
            return Change.DONE

        return await self._database.write(write)


class SqliteSessions:
    """See `protocol.Sessions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> Session | None:
        query = "SELECT key, user, stamp, begun, ends, seen FROM sessions WHERE key = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (key,)).fetchone())
        return None if row is None else Session(*row)

    async def put(self, session: Session) -> None:
        def write(connection: sqlite3.Connection) -> None:
            drop_sessions(connection, session.begun)
            connection.execute(
                "INSERT INTO sessions (key, user, stamp, begun, ends, seen) VALUES (?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(session),
            )

        await self._database.write(write)

    async def saw(self, key: str, at: float) -> None:
        await self._database.write(
            lambda connection: connection.execute("UPDATE sessions SET seen = MAX(seen, ?) WHERE key = ?", (at, key))
        )

    async def remove(self, key: str) -> None:
        await self._database.write(lambda connection: connection.execute("DELETE FROM sessions WHERE key = ?", (key,)))


def drop_sessions(connection: sqlite3.Connection, now: float) -> None:
    """Forget those that are over at `now` (unix seconds)."""
    connection.execute("DELETE FROM sessions WHERE ends <= ?", (now,))


def _get(connection: sqlite3.Connection, name: str) -> User | None:
    row = connection.execute("SELECT data FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=User)
