"""A node without Cassandra: tables as directories of SSTable files, snapshots as hard links, like a real node's."""

import asyncio
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.cassandra.directories import Volume
from agent.cassandra.errors import CassandraUnavailable, SnapshotExists, SnapshotMissing
from agent.cassandra.inventory import held_where_readable, read_inventory
from agent.cassandra.protocol import Held, OwnSnapshot, unheard
from agent.model.snapshot import KeyspaceSchema, SnapshotInfo, SnapshotTable
from agent.plan.snapshot_ttl import UNMEASURED
from agent.wire.commands import SnapshotArguments
from agent.wire.node import DataDirectory, NodeIdentity, Tables

HOST = "11111111-2222-3333-4444-555555555555"


class Node:
    """Tables under `root`/data, and the agent's own snapshots of them. Keeps the protocol of `Snapshots`."""

    def __init__(self, root: Path, host_id: str = HOST, seed: int = 1) -> None:
        self.data = root / "data"
        self.host_id = host_id
        self.full: list[str] = []
        self.fail_half_way: Exception | None = None
        self.refuse_clear: BaseException | None = None
        self._random = random.Random(seed)
        self._ids: dict[tuple[str, str], str] = {}
        self._ours: dict[str, OwnSnapshot] = {}
        self._taken: dict[str, SnapshotInfo] = {}
        self._takes = 0
        self.imported = 0
        """SSTables that were ever imported: each gets a number of its own"""
        self.importing: dict[tuple[str, str], list[asyncio.Event]] = {}
        """of each table that is imported into, the turns of the imports that wait: one goes after the other"""
        self.data.mkdir(parents=True, exist_ok=True)

    def table(self, keyspace: str, table: str) -> Path:
        """The table's directory."""
        number = self._ids.setdefault((keyspace, table), f"{len(self._ids) + 1:032x}")
        path = self.data / keyspace / f"{table}-{number}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def sstable(self, keyspace: str, table: str, number: int, size: int, *, index: str = "") -> Path:
        """Write an SSTable with `size` random bytes of data; the path of its Data.db."""
        directory = self.table(keyspace, table) / index
        directory.mkdir(exist_ok=True)
        base = directory / f"nb-{number}-big"
        data = self._random.randbytes(size)
        components = {
            "Data.db": data,
            "Digest.crc32": str(zlib.crc32(data)).encode(),
            "Index.db": self._random.randbytes(200 + size // 100),
            "Filter.db": self._random.randbytes(24),
            "Summary.db": self._random.randbytes(96),
            "Statistics.db": self._random.randbytes(1_200) + bytes(3_600),
            "CompressionInfo.db": self._random.randbytes(47),
            "TOC.txt": b"Data.db\nTOC.txt\n",
        }
        for component, content in components.items():
            Path(f"{base}-{component}").write_bytes(content)
        return Path(f"{base}-Data.db")

    @property
    def tables(self) -> list[tuple[str, str]]:
        """Keyspace and name of every table."""
        return list(self._ids)

    def files(self) -> dict[tuple[str, str, str], bytes]:
        """(keyspace, table, name) → bytes, of every live file."""
        found = {}
        for keyspace, table in self._ids:
            directory = self.table(keyspace, table)
            for path in directory.rglob("*"):
                name = path.relative_to(directory).as_posix()
                if path.is_file() and not name.startswith("snapshots/"):
                    found[keyspace, table, name] = path.read_bytes()
        return found

    def identity(self) -> NodeIdentity:
        return NodeIdentity(self.host_id, "127.0.40.1", "test", "dc1", "r1", ["1"], "5.0.9", "Murmur3", "v1")

    async def take(
        self,
        arguments: SnapshotArguments,
        command_id: str,
        *,
        copy_rate: float = UNMEASURED,
        chosen: Callable[[Tables], None] = unheard,
    ) -> SnapshotInfo:
        self.copy_rate = copy_rate
        own = self._ours.get(arguments.tag)
        if own is not None and own.command_id != command_id:
            is_ours = not own.complete and own.made_by and own.made_by == arguments.made_by
            if not is_ours:
                raise SnapshotExists("another command has it")
        if own is not None and own.complete:
            return self._taken[arguments.tag]
        if own is not None:  # half done
            await self.clear(arguments.tag)
        elif await self.exists(arguments.tag):
            raise SnapshotExists("it is somebody else's")
        tables: Tables = {}
        for keyspace, table in self._ids:
            if arguments.keyspaces is None or keyspace in arguments.keyspaces:
                tables.setdefault(keyspace, []).append(table)
        chosen(tables)
        for keyspace, names in tables.items():
            for table in names:
                self._link(self.table(keyspace, table), arguments.tag)
        if self.fail_half_way is not None:
            self._ours[arguments.tag] = OwnSnapshot(
                arguments.tag, command_id, 1_700_000_000.0, False, arguments.made_by, arguments.keep
            )
            raise self.fail_half_way
        self._takes += 1
        info = SnapshotInfo(
            tag=arguments.tag,
            backup_id=arguments.backup_id,
            kept=arguments.keep,
            taken_at=1_700_000_000.0 + self._takes,
            node=self.identity(),
            schema=tuple(KeyspaceSchema(name, {"class": "x"}, True, (), {}, {}) for name in tables),
            tables=tables,
            data_directories=(str(self.data),),
        )
        self._ours[arguments.tag] = OwnSnapshot(
            arguments.tag, command_id, info.taken_at, True, arguments.made_by, arguments.keep
        )
        self._taken[arguments.tag] = info
        return info

    async def inventory(self, tag: str, tables: Mapping[str, Sequence[str]] | None = None) -> tuple[SnapshotTable, ...]:
        volume = Volume(str(self.data), 1, "fs", 1, 1)
        wanted = None if tables is None else {name: frozenset(inside) for name, inside in tables.items()}
        found = read_inventory([volume], tag, wanted)
        own = await self.info(tag)
        asked = tables if tables is not None else {} if own is None else own.tables
        there = {(one.keyspace, one.table) for one in found}
        if (own is None and not found) or {(keyspace, name) for keyspace in asked for name in asked[keyspace]} - there:
            raise SnapshotMissing("it is gone")
        return found

    async def info(self, tag: str) -> SnapshotInfo | None:
        return self._taken.get(tag)

    async def own(self, tag: str) -> OwnSnapshot | None:
        return self._ours.get(tag)

    async def exists(self, tag: str) -> bool:
        return any(self.data.glob(f"*/*/snapshots/{tag}"))

    async def clear(self, tag: str) -> None:
        if self.refuse_clear is not None:
            raise self.refuse_clear
        if tag not in self._ours and await self.exists(tag):
            raise SnapshotExists("it is somebody else's")
        for path in self.data.glob(f"*/*/snapshots/{tag}"):
            shutil.rmtree(path)
        self._ours.pop(tag, None)
        self._taken.pop(tag, None)

    async def ours(self) -> tuple[OwnSnapshot, ...]:
        return tuple(self._ours.values())

    async def volumes_below(self, free_percent: float) -> tuple[DataDirectory, ...]:
        return tuple(DataDirectory(path, "v", 100, 1) for path in self.full)

    async def held_alone(self, tag: str) -> Held:
        if isinstance(self.refuse_clear, CassandraUnavailable):  # where the data lies is asked of Cassandra too
            raise self.refuse_clear
        return held_where_readable([str(self.data)], tag)

    def _link(self, table: Path, tag: str) -> None:
        target = table / "snapshots" / tag
        target.mkdir(parents=True)
        for path in sorted(table.rglob("*")):
            name = path.relative_to(table)
            if path.is_file() and name.parts[0] != "snapshots":
                (target / name).parent.mkdir(exist_ok=True)
                os.link(path, target / name)
        (target / "manifest.json").write_text(json.dumps({"tag": tag, "taken": self._takes}))
        (target / "schema.cql").write_text(f"CREATE TABLE {table.name};")
