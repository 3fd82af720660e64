"""What is remembered of files that were read before. In: a table's files; out: their digests, without reading them.

SQLite, one row for an SSTable, by filesystem and table id: an unchanged one costs a stat and a look-up of microseconds.
It is a cache: losing it costs reading, never data; so a commit need not be synced to the disk, and a file that can't be
opened as a database is removed and begun anew.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import msgspec
import structlog

from agent.plan.backup import KnownFile

SCHEMA = 2
_CREATE = """
CREATE TABLE IF NOT EXISTS digests (
    filesystem TEXT NOT NULL,
    table_id   TEXT NOT NULL,
    sstable    TEXT NOT NULL,
    files      BLOB NOT NULL,
    PRIMARY KEY (filesystem, table_id, sstable)
) WITHOUT ROWID
"""
_encoder = msgspec.msgpack.Encoder()


class _File(msgspec.Struct, frozen=True, array_like=True):
    """A file as it is stored. `name` without the SSTable's; `objects`: places in the SSTable's list."""

    name: str
    inode: int
    mtime_ns: int
    size: int
    digest: bytes
    crc: int | None
    objects: tuple[int, ...]
    offset: int


class _SSTable(msgspec.Struct, frozen=True, array_like=True):
    """An SSTable as it is stored: its files mostly share their object."""

    piece_size: int
    objects: tuple[bytes, ...]
    files: tuple[_File, ...]


_sstable = msgspec.msgpack.Decoder(_SSTable)
_log = structlog.get_logger(__name__)


class Row(msgspec.Struct, frozen=True, gc=False):
    """An SSTable's files as they are stored."""

    filesystem: str
    sstable: str
    files: bytes


def packed(filesystem: str, sstable: str, files: Mapping[str, KnownFile]) -> Row:
    """An SSTable's files as they are stored. Their names begin with the SSTable's, their piece size is the same."""
    places: dict[bytes, int] = {}
    stored = tuple(
        _File(
            name.removeprefix(sstable),
            one.inode,
            one.mtime_ns,
            one.size,
            one.digest,
            one.crc,
            tuple(places.setdefault(object_id, len(places)) for object_id in one.objects),
            one.offset,
        )
        for name, one in files.items()
    )
    piece_size = max((one.piece_size for one in files.values()), default=0)
    return Row(filesystem, sstable, _encoder.encode(_SSTable(piece_size, tuple(places), stored)))


class DigestCache:
    """The cache's file, in one process. Looking up blocks for microseconds; saving is done in a thread, beside it."""

    def __init__(self, path: Path) -> None:
        self._lock = asyncio.Lock()
        self._writer = _opened(path)
        self._reader = _opened(path)

    def files(self, filesystem: str, table_id: str, sstable: str) -> dict[str, KnownFile]:
        """The known files of an SSTable, by name; empty when it is new or its row can't be read."""
        try:
            row = self._reader.execute(
                "SELECT files FROM digests WHERE filesystem = ? AND table_id = ? AND sstable = ?",
                (filesystem, table_id, sstable),
            ).fetchone()
            return {} if row is None else _unpacked(sstable, row[0])
        except (sqlite3.DatabaseError, msgspec.DecodeError, IndexError) as error:
            _log.warning("digest_cache_unreadable", table_id=table_id, reason=str(error))
            return {}

    async def save(self, table_id: str, rows: Sequence[Row]) -> None:
        """Remember SSTables of a table, or what they have become."""
        async with self._lock:
            await asyncio.to_thread(self._settle, table_id, rows, {})

    async def settle(self, table_id: str, rows: Sequence[Row], there: Mapping[str, Set[str]]) -> None:
        """As `save`; and of each filesystem in `there` forget the table's other SSTables. In one transaction: a node
        has hundreds of tables."""
        async with self._lock:
            await asyncio.to_thread(self._settle, table_id, rows, there)

    async def keep_tables(self, table_ids: Set[str]) -> None:
        """Forget all tables but these. Costs a look-up for each table that is known."""
        async with self._lock:
            await asyncio.to_thread(self._keep_tables, table_ids)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._writer.close()

    def _settle(self, table_id: str, rows: Sequence[Row], there: Mapping[str, Set[str]]) -> None:
        try:
            with self._writer:
                self._writer.executemany(
                    "INSERT OR REPLACE INTO digests (filesystem, table_id, sstable, files) VALUES (?, ?, ?, ?)",
                    ((one.filesystem, table_id, one.sstable, one.files) for one in rows),
                )
                for filesystem, names in there.items():
                    found = self._writer.execute(
                        "SELECT sstable FROM digests WHERE filesystem = ? AND table_id = ?", (filesystem, table_id)
                    ).fetchall()
                    self._writer.executemany(
                        "DELETE FROM digests WHERE filesystem = ? AND table_id = ? AND sstable = ?",
                        [(filesystem, table_id, name) for (name,) in found if name not in names],
                    )
        except sqlite3.DatabaseError as error:
            _log.warning("digest_cache_not_written", reason=str(error))

    def _keep_tables(self, table_ids: Set[str]) -> None:
        try:
            with self._writer:
                place: tuple[str, str] | None = ("", "")
                while place is not None:  # from table to table by the index: their rows are not read
                    place = self._writer.execute(
                        "SELECT filesystem, table_id FROM digests WHERE (filesystem, table_id) > (?, ?)"
                        " ORDER BY filesystem, table_id LIMIT 1",
                        place,
                    ).fetchone()
                    if place is not None and place[1] not in table_ids:
                        self._writer.execute("DELETE FROM digests WHERE filesystem = ? AND table_id = ?", place)
        except sqlite3.DatabaseError as error:
            _log.warning("digest_cache_not_written", reason=str(error))


def _unpacked(sstable: str, row: bytes) -> dict[str, KnownFile]:
    found = _sstable.decode(row)
    return {
        sstable + one.name: KnownFile(
            one.inode,
            one.mtime_ns,
            one.size,
            one.digest,
            one.crc,
            tuple(found.objects[place] for place in one.objects),
            one.offset,
            found.piece_size,
        )
        for one in found.files
    }


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        _log.warning("digest_cache_begun_anew", path=str(path), reason=str(error))
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            connection.execute("DROP TABLE IF EXISTS digests")
        connection.execute(_CREATE)
        connection.execute(f"PRAGMA user_version = {SCHEMA:d}")
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection
