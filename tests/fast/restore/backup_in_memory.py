"""A backup in memory, as the phases of a restore open one: small, whole, and it counts how often it is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent.jobs.restore.source import Moved, Placed, WantedSstable
from agent.model.manifest import FileEntry, Head, TablePart, TableReference
from agent.model.snapshot import KeyspaceSchema
from agent.wire.node import NodeIdentity

HOST = "f07c0f1d-962d-4981-b44f-35682d1a3fe8"


def identity() -> NodeIdentity:
    return NodeIdentity(HOST, "127.0.0.1", "c", "dc1", "r1", ["0"], "5.0.9", "Murmur3Partitioner", "v")


class BackupInMemory:
    """`sstables`: of the one table ks.t. It is its own `Sources`."""

    def __init__(self, sstables: list[str], schema: tuple[KeyspaceSchema, ...] = ()) -> None:
        self.fetched: list[str] = []
        self.entries = {
            name: tuple(
                FileEntry(f"{name}-{part}", len(self.content(name, part)), 0, "", (), 1 << 20)
                for part in ("Data.db", "Statistics.db")
            )
            for name in sstables
        }
        size = sum(entry.size for entries in self.entries.values() for entry in entries)
        reference = TableReference("ks", "t", "0" * 32, 2 * len(sstables), size, len(sstables), 0)
        self.head = Head(
            1,
            "tag",
            "adhoc",
            "cluster",
            0.0,
            identity(),
            ("/gone",),
            schema,
            None,
            "1",
            "agent",
            "command",
            (reference,),
        )

    @staticmethod
    def content(sstable: str, part: str) -> bytes:
        return f"{sstable} {part}".encode()

    @asynccontextmanager
    async def opened(
        self, arguments: Any, waiting: Any = None, *, indexes: bool = False
    ) -> AsyncIterator["BackupInMemory"]:
        yield self

    async def parts(self, reference: TableReference) -> AsyncIterator[TablePart]:
        for entries in self.entries.values():
            yield TablePart(entries, {})

    async def fetch(self, wanted: AsyncIterator[WantedSstable], placed: Placed, moved: Moved) -> None:
        async for one in wanted:
            for entry in one.files:
                path = one.directory / entry.name
                if not path.exists():
                    path.write_bytes(self.content(one.sstable, entry.name.rpartition("-")[2]))
                    self.fetched.append(entry.name)
                moved(one, entry.size)
            await placed(one)
