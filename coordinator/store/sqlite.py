"""The store in one SQLite file. In: the state directory. Out: `protocol.Store`."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from coordinator.model.requests import JOB, RESUMABLE, Request, RequestKind
from coordinator.store.database import Database, failure
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS, KEEP_DETAILS_SECONDS
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.protocol import Hold, LeadRecord
from coordinator.store.sqlite_activity import drop_events
from coordinator.store.sqlite_commands import SqliteCommands
from coordinator.store.sqlite_destinations import SqliteDestinations, SqliteValues
from coordinator.store.sqlite_outbox import SqliteOutbox
from coordinator.store.sqlite_requests import SqliteRequests
from coordinator.store.sqlite_retention import SqliteRetention
from coordinator.store.sqlite_schedules import SqliteSchedules
from coordinator.store.sqlite_users import SqliteSessions, SqliteUsers, drop_sessions
from kit.atomic_files import make_directory

FILE = "coordinator.sqlite"


class SqliteStore:
    """`protocol.Store` in `<state directory>/coordinator.sqlite`. `open` it, `close` it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.commands = SqliteCommands(database)
        self.requests = SqliteRequests(database)
        self.destinations = SqliteDestinations(database)
        self.retention = SqliteRetention(database)
        self.schedules = SqliteSchedules(database)
        self.users = SqliteUsers(database)
        self.sessions = SqliteSessions(database)
        self.values = SqliteValues(database)
        self.outbox = SqliteOutbox(database)
        self.lead: LeadRecord | None = None

    @classmethod
    async def open(cls, state_directory: Path, *, now: float) -> "SqliteStore":
        """The state kept in the directory (made with mode 0700 if missing), pruned as at `now` (unix seconds). Raises
        `StoreFailed`, `StoreTooNew`."""
        try:
            make_directory(state_directory, mode=0o700)
        except OSError as error:
            raise failure(error, state_directory) from error
        database = await Database.open(state_directory / FILE, MIGRATIONS)
        try:
            await database.write(lambda connection: _prune(connection, now))
        except BaseException:
            await database.close()
            raise
        return cls(database)

    @classmethod
    async def open_beside(cls, state_directory: Path) -> "SqliteStore":
        """The state of a coordinator that may be running, for what a second process may change of it: users, which
        nobody holds in memory. It makes, migrates and prunes nothing. Raises `StoreFailed`, `StoreMissing`."""
        return cls(await Database.open(state_directory / FILE, MIGRATIONS, beside=True))

    def kept_on(self) -> frozenset[str]:
        """See `protocol.Store.kept_on`."""
        return frozenset()

    @asynccontextmanager
    async def during(self, hold: Hold) -> AsyncIterator["SqliteStore"]:
        """See `protocol.Store.during`. A write of a file is tried once, and waits for nobody but the disk."""
        yield self

    async def prune(self, now: float) -> None:
        """Forget the details of requests that ended long before `now` (unix seconds), and, later, the requests and
        their entries in the activity log."""
        await self._database.write(lambda connection: _prune(connection, now))

    async def close(self) -> None:
        """Finish what is being written and close the file."""
        await self._database.close()


def _prune(connection: sqlite3.Connection, now: float) -> None:
    before = now - KEEP_DETAILS_SECONDS
    long_before = now - KEEP_ACTIVITY_SECONDS
    kept = _jobs_in_use(connection, {RequestKind.RESTORE: before, RequestKind.POINT_IN_TIME: long_before})
    _drop(connection, ("parts", "node_parts", "steps", "commands"), "request", _ended(connection, before) - kept)
    gone = _ended(connection, long_before) - kept
    _drop(connection, ("requests",), "id", gone)
    _drop(connection, ("fences",), "job", gone)
    drop_events(connection, long_before)
    drop_sessions(connection, now)


def _ended(connection: sqlite3.Connection, before: float) -> set[str]:
    return {row[0] for row in connection.execute("SELECT id FROM requests WHERE finished < ?", (before,))}


def _drop(connection: sqlite3.Connection, tables: Sequence[str], column: str, requests: set[str]) -> None:
    for table in tables:
        # Names of tables and columns are those above; ids are bound.
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(each,) for each in requests])  # noqa: S608


def _jobs_in_use(connection: sqlite3.Connection, before: Mapping[RequestKind, float]) -> set[str]:
    """Ids of requests whose steps a restore goes on with, or could, that runs or ended after its kind's `before`: the
    steps of a job stand under the id of its first request, however long ago that ended. One to a point is gone on with
    as long as its request is kept: begun anew it would know nothing of the nodes that it stopped."""
    results = [
        msgspec.json.decode(row[0], type=Request).result
        for kind, since in before.items()
        for row in connection.execute(
            "SELECT data FROM requests WHERE kind = ? AND (finished IS NULL OR finished >= ?)", (kind.value, since)
        )
    ]
    return {str(result[name]) for result in results for name in (JOB, RESUMABLE) if name in result}
