"""The journal's file. In: a path. Out: a SQLite connection to a journal of this release's schema, or a clear error."""

import os
import sqlite3
from importlib import resources
from pathlib import Path

from agent.commands.errors import JournalTooNew, JournalUnreadable

BUSY_SECONDS = 5.0


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open or make the journal (0600), check it and bring it to this release's schema.

    WAL with synchronous=FULL: a commit is on the disk when it returns. Raises JournalUnreadable, JournalTooNew.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise _unreadable(path, error) from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise _unreadable(path, found and found[0])
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _unreadable(path, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A second connection that sees what is committed and can write nothing."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None
    return connection


def migrations() -> list[tuple[int, str]]:
    """The numbered steps (version, SQL) from nothing to this release's schema, in order."""
    folder = resources.files("agent.commands.migrations")
    steps = [
        (int(entry.name.split("_", 1)[0]), entry.read_text("utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(steps)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    steps = migrations()
    newest = steps[-1][0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise JournalTooNew(
            f"the journal {path} has schema version {version}; this release reads up to {newest}",
            journal=str(path),
            version=version,
            supported=newest,
        )
    for number, statements in steps:
        if number > version:
            # One transaction per step: a crash leaves either version whole.
            script = f"BEGIN IMMEDIATE;\n{statements}\nPRAGMA user_version = {number};\nCOMMIT;"
            connection.executescript(script)


def _unreadable(path: Path, reason: object) -> JournalUnreadable:
    return JournalUnreadable(f"the journal {path} can't be used: {reason}", journal=str(path), reason=str(reason))
