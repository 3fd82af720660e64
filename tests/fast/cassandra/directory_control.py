"""A node control over directories alone: it does to files what Cassandra does, so that flows run without a node.

An import moves every component of the SSTables into the table's directory under a new generation, Data.db last, and
rewrites Statistics.db at its source first, as Cassandra does.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.cassandra.errors import CassandraError, ImportFailed, SnapshotExists
from agent.cassandra.protocol import MemberState
from agent.plan.sstables import parse
from agent.wire.node import Tables

ID = "0" * 32


class DirectoryControl:
    """`before_data`: called before a Data.db moves; what it raises is what the import raises."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._generations = itertools.count(1000)
        self.before_data: Callable[[str], None] = lambda name: None
        self.calls: list[tuple[str, ...]] = []
        self.down: list[str] = []

    def directory(self, keyspace: str, table: str) -> Path:
        """The table's live directory."""
        directory = self._data / keyspace / f"{table}-{ID}"
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def data_files(self, keyspace: str, table: str) -> list[bytes]:
        """The content of every live Data.db, sorted."""
        return sorted(path.read_bytes() for path in self.directory(keyspace, table).glob("*-Data.db"))

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """Hard-link all files of the tables."""
        self.calls.append(("snapshot", tag, str(ttl_seconds)))
        for keyspace, names in tables.items():
            for table in names:
                live = self.directory(keyspace, table)
                target = live / "snapshots" / tag
                if target.exists():
                    raise SnapshotExists(f"{tag} exists")
                target.mkdir(parents=True)
                for path in live.iterdir():
                    if path.is_file():
                        (target / path.name).hardlink_to(path)
                data = sorted(path.name for path in live.glob("*-Data.db"))
                (target / "manifest.json").write_text(json.dumps({"files": data}))

    async def clear_snapshot(self, tag: str) -> None:
        """Remove it everywhere."""
        self.calls.append(("clear", tag))
        for directory in self._data.glob(f"*/*/snapshots/{tag}"):
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        """Move the SSTables in."""
        self.calls.append(("import", keyspace, table, *(path.name for path in directories)))
        live = self.directory(keyspace, table)
        for directory in directories:
            names = sorted(path.name for path in directory.iterdir())
            for sstable in sorted({found.sstable for name in names if (found := parse(name)) is not None}):
                version, _, form = sstable.split("-")
                new = f"{version}-{next(self._generations)}-{form}"
                statistics = directory / f"{sstable}-Statistics.db"
                if statistics.exists():  # rewritten beside, then renamed over it: another inode
                    statistics.with_suffix(".tmp").write_bytes(statistics.read_bytes() + b" rewritten")
                    statistics.with_suffix(".tmp").rename(statistics)
                components = [name for name in names if name.startswith(f"{sstable}-")]
                for name in sorted(components, key=lambda name: name.endswith("-Data.db")):
                    if name.endswith("-Data.db"):
                        self.before_data(name)
                    (directory / name).rename(live / name.replace(sstable, new, 1))
        return ""

    async def members(self) -> dict[str, MemberState]:
        """One node, and those that are set down."""
        return {"127.0.0.1": MemberState(True, "NORMAL")} | {one: MemberState(False, "NORMAL") for one in self.down}

    async def prove(self) -> None:
        """These directories are the node."""

    async def cause(self, error: CassandraError) -> CassandraError:
        """As it seems."""
        return error


def refuse(name: str) -> None:
    """For `before_data`: Cassandra refuses the SSTable."""
    raise ImportFailed(f"{name} was refused")
