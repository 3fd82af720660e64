"""What is in a snapshot. In: data directories and a tag. Out: every file with size, inode and time, by table.

Synchronous and quick (scandir, one stat a file); the caller runs it in a worker thread.
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from stat import S_ISDIR, S_ISREG

import msgspec

from agent.cassandra.directories import Volume
from agent.cassandra.protocol import Held
from agent.model.snapshot import FileStat, SnapshotTable
from agent.plan.sstables import OWN_FILES

_TABLE = re.compile(r"(?P<table>[A-Za-z0-9_]+)-(?P<id>[0-9a-f]{32})")


class SnapshotDirectory(msgspec.Struct, frozen=True):
    """`<data>/<keyspace>/<table>-<id>/snapshots/<tag>` on the data directory number `volume`."""

    keyspace: str
    table: str
    table_id: str
    volume: int
    path: str


def snapshot_directories(
    data_directories: Sequence[str], tag: str, tables: Mapping[str, Collection[str]] | None = None
) -> Iterator[SnapshotDirectory]:
    """Every directory of snapshot `tag`, of `tables` (keyspace → names) or of all. Raises OSError, as do all others
    here: what refuses to be read may be there."""
    for volume, keyspace, table, table_id, path in _tables(data_directories, tables):
        candidate = f"{path}/snapshots/{tag}"
        if is_directory(candidate):
            yield SnapshotDirectory(keyspace, table, table_id, volume, candidate)


def is_directory(path: str) -> bool:
    """Whether there is a directory of that name. `os.path.isdir` would say no of one on a disk that fails, too."""
    try:
        return S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def snapshot_tags(data_directories: Sequence[str], prefix: str | tuple[str, ...] = "") -> dict[str, list[str]]:
    """Tag → directories, of every snapshot on the node whose tag begins with `prefix` (or one of them)."""
    found: dict[str, list[str]] = {}
    for _, _, _, _, path in _tables(data_directories, None):
        try:
            with os.scandir(f"{path}/snapshots") as entries:
                for entry in entries:
                    if entry.name.startswith(prefix):
                        found.setdefault(entry.name, []).append(entry.path)
        except FileNotFoundError:
            continue
    return found


def live_bytes(data_directories: Sequence[str], tables: Mapping[str, Collection[str]] | None = None) -> int:
    """The bytes of every table's own files (of `tables`, keyspace → names, or of all), legacy indexes included,
    snapshots and backups not. A file that a compaction removes meanwhile counts nothing."""
    held = 0
    for _, _, _, _, table in _tables(data_directories, tables):
        indexes = [path for inside, path in _subdirectories(table) if inside.startswith(".")]
        for directory in (table, *indexes):
            with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        held += entry.stat().st_size if entry.is_file(follow_symlinks=False) else 0
    return held


def read_inventory(
    volumes: Sequence[Volume],
    tag: str,
    tables: dict[str, frozenset[str]] | None,
    vanished: list[str] | None = None,
) -> tuple[SnapshotTable, ...]:
    """The files of snapshot `tag`, of the named tables or all; sorted by keyspace, table and name.

    A table that was dropped and made again may have directories of both ids; each is an entry of its own. What goes
    while it is read (Cassandra clears the snapshot) is left out, and `vanished` is told the paths.
    """
    found: dict[tuple[str, str, str], list[FileStat]] = {}
    vanished = [] if vanished is None else vanished
    for place in snapshot_directories([volume.path for volume in volumes], tag, tables):
        files = found.setdefault((place.keyspace, place.table, place.table_id), [])
        files.extend(_files(place, volumes[place.volume].filesystem, vanished))
    return tuple(
        SnapshotTable(keyspace, table, table_id, tuple(sorted(files, key=lambda one: (one.name, one.volume))))
        for (keyspace, table, table_id), files in sorted(found.items())
    )


def held_where_readable(data_directories: Iterable[str], tag: str) -> Held:
    """What goes when snapshot `tag` goes."""
    size = data = files = 0
    for root in data_directories:
        with contextlib.suppress(OSError):
            for place in snapshot_directories([root], tag):
                for name, one, alone in _links(place.path):
                    files += 1
                    size += one if alone else 0
                    data += one if alone and name not in OWN_FILES else 0
    return Held(size, data, files)


def held_by(directories: Iterable[str]) -> int:
    """The bytes that go when these directories of snapshots go: of files that have no other hard link."""
    return sum(size for directory in directories for _, size, alone in _links(directory) if alone)


def _links(directory: str) -> Iterator[tuple[str, int, bool]]:
    """The files of a table's snapshot: each one's name, its bytes, and whether it has no other hard link. What goes
    meanwhile is left out."""
    indexes = [path for inside, path in _subdirectories(directory) if inside.startswith(".")]
    for place in (directory, *indexes):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    if S_ISREG(stat.st_mode):
                        yield entry.name, stat.st_size, stat.st_nlink == 1


def _files(place: SnapshotDirectory, filesystem: str, vanished: list[str]) -> Iterator[FileStat]:
    pending = [("", place.path)]
    while pending:
        prefix, directory = pending.pop()
        try:
            listed = os.scandir(directory)
        except FileNotFoundError:
            vanished.append(directory)
            continue
        with listed as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not prefix and entry.name.startswith("."):  # a legacy index
                        pending.append((f"{entry.name}/", entry.path))
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    vanished.append(entry.path)
                    continue
                yield FileStat(
                    name=prefix + entry.name,
                    directory=place.path,
                    volume=place.volume,
                    size=stat.st_size,
                    inode=stat.st_ino,
                    mtime_ns=stat.st_mtime_ns,
                    filesystem=filesystem,
                )


def _tables(
    data_directories: Sequence[str], tables: Mapping[str, Collection[str]] | None
) -> Iterator[tuple[int, str, str, str, str]]:
    """Data directory's number, keyspace, table, table id and path of the directory, of `tables` or of all."""
    for number, root in enumerate(data_directories):
        for keyspace, path in _subdirectories(root):
            if keyspace.startswith(".") or (tables is not None and keyspace not in tables):
                continue
            for name, table_path in _subdirectories(path):
                table = _TABLE.fullmatch(name)
                if table is not None and (tables is None or table["table"] in tables[keyspace]):
                    yield number, keyspace, table["table"], table["id"], table_path


def _subdirectories(path: str) -> list[tuple[str, str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((entry.name, entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
