"""A SQLite file with a thread that writes it and one that reads it. In: functions of a connection. Out: their results,
durable.

WAL with synchronous=FULL: what a call returned from survives a power cut. Who reads sees all that was written by then,
and doesn't wait for what is being written: a thousand nodes that end a phase make a thousand writes in a row.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from coordinator.model.errors import CoordinatorError

T = TypeVar("T")

_FIRST_TABLE = "requests"


class StoreFailed(CoordinatorError):
    """The state could not be read or written (disk full, disk gone)."""

    code = "store_failed"
    retry = "later"
    status = 500
    todo = "Look at the free space, the rights and the health of the disk that holds the coordinator's state directory."


class StoreDamaged(StoreFailed):
    """The file of the state is torn, or no database any more; `fields`: file. It is left as it is."""

    code = "store_damaged"
    todo = (
        "Stop the coordinator and move the named file aside, with -wal and -shm beside it; put a copy of all three in "
        "its place, or start without: docs/coordinator-state.md says what is then rebuilt from the agents and the "
        "destinations, and what to make again. Look at the disk first."
    )


class StoreForeign(StoreFailed):
    """What lies where the state should be isn't the coordinator's; `fields`: file. Nothing is written into it."""

    code = "store_foreign"
    todo = "Move the named file away, or give the coordinator a state_directory of its own, and start it again."


class StoreNotAllowed(StoreFailed):
    """The coordinator's user may not read or write the file of the state, or its directory; `fields`: file."""

    code = "store_not_allowed"
    todo = (
        "Give the state directory (mode 0700) and all files in it (0600) to the coordinator's user, on a volume that "
        "can be written, and start it again; run «helenus-coordinator users» as that user or as root."
    )


class StoreTooNew(CoordinatorError):
    """The state was written by a later release."""

    code = "store_too_new"
    todo = "Start the release that wrote the state directory, or give this one a state directory of its own."


class StoreMissing(CoordinatorError):
    """There is no state yet, or it is another release's: only the coordinator makes it and brings it up to date."""

    code = "store_missing"
    todo = "Start the coordinator of this release once, with this configuration, then do this again."


class Database:
    """`open` it; `read` and `write` run one function at a time on a thread of the file's own each, `write` in a
    transaction that is rolled back when the function raises. A read doesn't wait for writes that are queued: it sees
    what is durable when it begins. Whoever must see a write of somebody else's awaits that write first, and what is
    decided by what was read is written only if that still holds, in the write's own transaction."""

    def __init__(
        self, connection: sqlite3.Connection, thread: ThreadPoolExecutor, reading: sqlite3.Connection, path: Path
    ) -> None:
        self._path = path
        self._connection = connection
        self._thread = thread
        self._reading = reading
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="coordinator-store-reader")

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[Sequence[str]], *, beside: bool = False) -> "Database":
        """The database at `path`, made with mode 0600 if missing, brought to the newest migration. `beside`: for
        another process than the file's own, which may be running: it must be there, and as this release leaves it.
        Raises `StoreFailed`, `StoreTooNew`, `StoreMissing`."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="coordinator-store")
        connect = _connect_beside if beside else _connect
        try:
            connections = await asyncio.get_running_loop().run_in_executor(thread, connect, path, migrations)
        except BaseException:
            thread.shutdown()
            raise
        connection, reading = connections
        return cls(connection, thread, reading, path)

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function reads."""
        return await self._run(self._reader, lambda: function(self._reading))

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function gives, once all it wrote is durable."""

        def transaction() -> T:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = function(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return result

        return await self._run(self._thread, transaction)

    async def close(self) -> None:
        """Wait for what runs, close the file."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reader, self._reading.close)
        self._reader.shutdown()
        # Last: who closes the last connection of all tidies up the file.
        await loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _run(self, thread: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        try:
            running = asyncio.get_running_loop().run_in_executor(thread, function)
        except RuntimeError as error:  # shut down
            raise StoreFailed("the coordinator's state can't be used: its file is closed") from error
        try:
            # Shielded: a caller that is cancelled leaves a whole transaction behind, and nobody else's work stops.
            return await asyncio.shield(running)
        except sqlite3.Error as error:
            raise failure(error, self._path) from error


def _connect(path: Path, migrations: Sequence[Sequence[str]]) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """One to write with, and one that only reads."""
    try:
        _refuse_other_than_a_file(path)
        # Made before SQLite sees it, so that it and its -wal and -shm files (which take its mode) are private at once.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise failure(error, path) from error
    try:
        _refuse_foreign(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, path, migrations)
        reading = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        reading.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        raise failure(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection, reading


def _connect_beside(path: Path, migrations: Sequence[Sequence[str]]) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The same of a file that is there. SQLite lets several processes write one file in WAL mode, one transaction at a
    time: a writer waits for the other one's (5 s at most, Python's default), and who reads sees whole transactions. Run
    by root, SQLite gives the -wal and -shm files to the owner of the database."""
    try:
        there = path.is_file()
    except OSError as error:
        raise failure(error, path) from error
    if not there:
        raise StoreMissing(f"there is no state {path}", file=str(path))
    uri = f"{path.as_uri()}?mode=rw"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise failure(error, path) from error
    try:
        connection.execute("PRAGMA synchronous = FULL")
        version = _version(connection)
        reading = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        reading.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        raise failure(error, path) from error
    if version != len(migrations):
        reading.close()
        connection.close()
        raise StoreMissing(
            f"the state {path} has version {version}, this release's has {len(migrations)}",
            file=str(path),
            version=version,
        )
    return connection, reading


def look_at(path: Path, migrations: Sequence[Sequence[str]]) -> None:
    """Raise what opening a file would raise that is there, but is none of a state or a later release's. It makes and
    locks nothing: read as a file that nobody changes, without what stands in -wal beside it. Beside a coordinator that
    runs, or after one that was killed, the file may lack parts of what is in there, and a start puts them in: so it
    isn't called damaged for that. Whether the service's user may read and write it shows at its start: who looks may
    be another."""
    try:
        _refuse_other_than_a_file(path)
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except (FileNotFoundError, PermissionError):
        return
    except OSError as error:
        raise failure(error, path) from error
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            _refuse_foreign(connection, path)
            _known_version(connection, path, migrations)
    except sqlite3.Error as error:
        failed = failure(error, path)
        if not (isinstance(failed, StoreDamaged) and _has_bytes(Path(f"{path}-wal"))):
            raise failed from error


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _refuse_other_than_a_file(path: Path) -> None:
    """Of a link, and of none at all, opening it tells."""
    if path.exists() and not path.is_file() and not path.is_symlink():
        raise StoreForeign(f"{path} is no file", file=str(path))


def failure(error: OSError | sqlite3.Error, path: Path) -> StoreFailed:
    """What is wrong with the file at `path`, as somebody who has to put it right must know it."""
    kind = StoreFailed
    if isinstance(error, OSError):
        kind = _BY_NUMBER.get(error.errno or 0, StoreFailed)
    elif isinstance(code := getattr(error, "sqlite_errorcode", None), int):
        kind = _BY_CODE.get(code & 0xFF, StoreFailed)  # above it: the finer kinds of the same
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN and not os.access(path if path.exists() else path.parent, os.W_OK):
            kind = StoreNotAllowed  # else there is no room, or no descriptor
    return kind(f"the coordinator's state {path} can't be used: {error}", file=str(path))


_BY_CODE = {
    sqlite3.SQLITE_CORRUPT: StoreDamaged,
    sqlite3.SQLITE_NOTADB: StoreDamaged,
    sqlite3.SQLITE_READONLY: StoreNotAllowed,
    sqlite3.SQLITE_PERM: StoreNotAllowed,
}
_BY_NUMBER = {
    errno.EACCES: StoreNotAllowed,
    errno.EPERM: StoreNotAllowed,
    errno.EROFS: StoreNotAllowed,
    errno.EISDIR: StoreForeign,
    errno.ELOOP: StoreForeign,
}


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Each step of the schema is whole or not there: a file of ours is empty, or has the table of its first step."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = _version(connection)
    if (tables or version) and (version == 0 or _FIRST_TABLE not in tables):
        raise StoreForeign(f"the file {path} is a database of another program", file=str(path))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _known_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]) -> int:
    version = _version(connection)
    if version > len(migrations):
        raise StoreTooNew(
            f"the coordinator's state {path} has version {version}, this release knows up to {len(migrations)}",
            file=str(path),
            version=version,
        )
    return version


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]) -> None:
    version = _known_version(connection, path, migrations)
    for number, statements in enumerate(migrations[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
