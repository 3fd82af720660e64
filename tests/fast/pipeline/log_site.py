"""Segments on a disk and a destination in memory that keeps a node's commit log."""

import os
import random
from pathlib import Path

from agent.crypto.keyring import Keyring
from agent.model.commit_log import SegmentRecord
from agent.pipeline.segments import SegmentBytes, SegmentSource
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from agent.storage.threads import Workers
from tests.fast.storage.memory import MemoryStorage

RING = Keyring(bytes(32), {1: bytes(range(32))})
HOST = "h1"
FIRST = 1_700_000_000_000


def name_of(number: int) -> str:
    return f"CommitLog-7-{FIRST + number}.log"


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that no codec makes smaller, the same ones each time."""
    return random.Random(seed).randbytes(size)


class LogSite:
    """A directory of segments, a store, and what goes between."""

    def __init__(self, directory: Path, store: MemoryStorage, keyring: Keyring | None = None) -> None:
        self.directory = directory
        self.store = store
        self.workers = Workers(2, "segments")
        self.bytes = SegmentBytes(self.workers, lambda: 5.0)
        self.logs = CommitLogs(OpenedRepository("d1", store, "r1", "c1", OPEN, 4, keyring), HOST)

    async def close(self) -> None:
        await self.workers.close()

    def source(self, number: int, body: bytes, *, size: int | None = None) -> SegmentSource:
        """A segment with that content; `size`: a copy of so many bytes, taken while it is written."""
        path = self.directory / name_of(number)
        path.write_bytes(body)
        os.utime(path, (number + 10, number + 10))
        whole = size is None
        return SegmentSource(
            path, path.name, len(body) if size is None else size, whole, number, number + 1, name_of(number - 1), True
        )

    async def ship(self, source: SegmentSource, *, compressed: bool = False) -> SegmentRecord:
        """As an agent does it: objects, record, what is superseded."""
        record = await self.bytes.put(self.logs, source, compressed=compressed)
        await self.logs.put_record(record)
        await self.logs.supersede(record)
        return record

    async def back(self, record: SegmentRecord, to: Path) -> bytes:
        """What a restore gets of it."""
        to.mkdir(exist_ok=True)
        fetched = await self.bytes.fetch(self.logs, record, to)
        return (to / fetched.name).read_bytes()

    def keys(self, part: str) -> list[str]:
        return sorted(key for key in self.store._objects if f"/commitlogs/{part}/" in key)
