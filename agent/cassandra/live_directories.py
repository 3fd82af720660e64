"""Where files that a restore to a point in time replaces lie. In: what the node said while it was up. Out: directories.

Of a table these are `<data>/<keyspace>/<table>-<id>` on every data directory, and in it the directories of its legacy
indexes (`.<index>`); never `snapshots`, `backups` or what else is below. Of hints and commit log it is their directory.
Each has a staging root on its own volume, under which its files are set aside by renames.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from agent.cassandra.errors import StagingRefused
from agent.cassandra.staging import StagingRoot, staging_root
from agent.wire.names import check_tables

What = Literal["table", "hints", "commitlog"]


class IndexFact(msgspec.Struct, frozen=True):
    """A secondary index. `legacy`: its SSTables lie in a directory of its own, else beside the table's components."""

    keyspace: str
    table: str
    name: str
    legacy: bool


class NodeFacts(msgspec.Struct, frozen=True):
    """What must be known of the node while Cassandra is down. `tables`: keyspace → table → id, 32 hex digits. `data`:
    a staging root for each data directory; `commitlog` and `hints`: those of these directories. `members`: the ring's,
    host id → address."""

    version: str
    tables: dict[str, dict[str, str]]
    indexes: tuple[IndexFact, ...]
    data: tuple[StagingRoot, ...]
    commitlog: StagingRoot
    hints: StagingRoot
    members: dict[str, str] = {}

    @property
    def roots(self) -> tuple[StagingRoot, ...]:
        """Every staging root once."""
        return tuple(dict.fromkeys((*self.data, self.commitlog, self.hints)))


class LiveDirectory(msgspec.Struct, frozen=True):
    """A directory of Cassandra's whose files are set aside. `below`: where they go, below `<root>/aside`."""

    what: What
    root: StagingRoot
    path: str
    below: tuple[str, ...]

    def names(self) -> list[str]:
        """The files in it, sorted: no directories. [] when it is not there. Raises OSError."""
        try:
            with os.scandir(self.path) as entries:
                return sorted(one.name for one in entries if not one.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []


def roots_of(directories: Sequence[str], commitlog: str, hints: str, job: str, run_as: str) -> tuple[StagingRoot, ...]:
    """The staging roots of the data directories, and last those of commit log and hints. Raises `StagingRefused`."""
    return tuple(staging_root(path, job, run_as) for path in (*directories, commitlog, hints))


def live_directories(facts: NodeFacts) -> list[LiveDirectory]:
    """All of them that are there now. Raises `StagingRefused` for one on another volume than its staging root (a table
    directory that is a link), from where nothing can be renamed; OSError for what can't be read."""
    check_tables({keyspace: list(tables) for keyspace, tables in facts.tables.items()}, "tables")
    found = [
        live
        for root in facts.data
        for keyspace, tables in sorted(facts.tables.items())
        for table, table_id in sorted(tables.items())
        for live in _of_table(root, keyspace, f"{table}-{table_id}")
    ]
    found.append(LiveDirectory("hints", facts.hints, facts.hints.data_directory, ("hints",)))
    found.append(LiveDirectory("commitlog", facts.commitlog, facts.commitlog.data_directory, ("commitlog",)))
    for live in found:
        if Path(live.path).stat().st_dev != Path(live.root.base).stat().st_dev:
            raise StagingRefused(
                f"{live.path} is on another volume than {live.root.base}: its files can't be set aside by a rename",
                path=live.path,
                reason="another_volume",
            )
    return found


def held_directories(root: StagingRoot, tables: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str, str, Path]]:
    """What stands in held/ of a root: keyspace, table, the legacy index ("" for the table's own), the directory."""
    for keyspace, names in sorted(tables.items()):
        for table in sorted(names):
            held = root.held(keyspace, table)
            if not held.is_dir():
                continue
            yield keyspace, table, "", held
            for index in _index_directories(held):
                yield keyspace, table, index, held / index


def _of_table(root: StagingRoot, keyspace: str, directory: str) -> Iterator[LiveDirectory]:
    path = Path(root.data_directory, keyspace, directory)
    if not path.is_dir():
        return
    yield LiveDirectory("table", root, str(path), (keyspace, directory))
    for index in _index_directories(path):
        yield LiveDirectory("table", root, str(path / index), (keyspace, directory, index))


def _index_directories(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(one.name for one in entries if one.name.startswith(".") and one.is_dir(follow_symlinks=False))
