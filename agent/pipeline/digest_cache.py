"""What is remembered of files that were read before. In: a table's files; out: their digests, without reading them.

SQLite, one row for a table on one filesystem, written whole: an unchanged SSTable costs a stat, and 150 tables are read
in milliseconds. It is a cache: losing it costs reading, never data; so a commit need not be synced to the disk, and a
file that can't be opened as a database is put aside and begun anew.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import structlog

from agent.plan.backup import KnownFile

SCHEMA = 1
_CREATE = """
CREATE TABLE IF NOT EXISTS digests (
    filesystem TEXT NOT NULL,
    table_id   TEXT NOT NULL,
    files      BLOB NOT NULL,
    PRIMARY KEY (filesystem, table_id)
) WITHOUT ROWID
"""
_encoder = msgspec.msgpack.Encoder()
_rows = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


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


class KnownTable:
    """What is remembered of one table, SSTable by SSTable, kept packed until asked for."""

    def __init__(self, rows: Mapping[str, msgspec.Raw]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def files(self, sstable: str) -> dict[str, KnownFile]:
        """The known files of an SSTable, by name; empty when it is new or its row can't be read."""
        row = self._rows.get(sstable)
        if row is None:
            return {}
        try:
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
        except (msgspec.DecodeError, IndexError):
            return {}

    def packed(self, sstable: str) -> msgspec.Raw | None:
        """The row as it is stored, to be saved again unchanged."""
        return self._rows.get(sstable)


NOTHING = KnownTable({})


def packed(sstable: str, files: Mapping[str, KnownFile]) -> msgspec.Raw:
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
    return msgspec.Raw(_encoder.encode(_SSTable(piece_size, tuple(places), stored)))


class DigestCache:
    """The cache's file. Its calls block for milliseconds and are made in a thread; one writer, in one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._connection = _opened(path)

    async def load(self, filesystem: str, table_id: str) -> KnownTable:
        """What is remembered of a table on a filesystem."""
        async with self._lock:
            return await asyncio.to_thread(self._load, filesystem, table_id)

    async def load_all(self, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownTable]:
        """The same for many tables (filesystem, table id) in one go."""
        async with self._lock:
            return await asyncio.to_thread(lambda: {table: self._load(*table) for table in tables})

    async def save(self, tables: Iterable[tuple[str, str, Mapping[str, msgspec.Raw]]]) -> None:
        """Replace what is remembered of tables: filesystem, table id, SSTable → packed files."""
        async with self._lock:
            await asyncio.to_thread(self._save, list(tables))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> "DigestCache":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _load(self, filesystem: str, table_id: str) -> KnownTable:
        try:
            row = self._connection.execute(
                "SELECT files FROM digests WHERE filesystem = ? AND table_id = ?", (filesystem, table_id)
            ).fetchone()
            return NOTHING if row is None else KnownTable(_rows.decode(row[0]))
        except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
            _log.warning("digest_cache_unreadable", table_id=table_id, reason=str(error))
            return NOTHING

    def _save(self, tables: list[tuple[str, str, Mapping[str, msgspec.Raw]]]) -> None:
        try:
            with self._connection:
                for filesystem, table_id, sstables in tables:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO digests (filesystem, table_id, files) VALUES (?, ?, ?)",
                        (filesystem, table_id, _encoder.encode(sstables)),
                    )
        except sqlite3.DatabaseError as error:
            _log.warning("digest_cache_not_written", reason=str(error))


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
