"""A node with a table ks.t, a snapshot of it in memory, and a commit log of real files: what a restore to a point in
time is made of before anything is placed.

Times are seconds after `BEGAN`. Segment `n` (an id from 1 on) was opened at n·10 and closed at n·10 + 10; the snapshot
was taken from 25 to 26, when segment 2 was written, so that its floor is segment 1.
"""

import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.node import CassandraNode
from agent.cassandra.node_view import NodeView
from agent.cassandra.service_errors import ServiceNotConfigured
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.staging import staging_root
from agent.jobs.point_in_time.check import PitCheckJob
from agent.jobs.point_in_time.cover import PitCoverJob
from agent.jobs.point_in_time.fetch import PitFetchJob
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.restore.notes import RestoreNotes
from agent.model.commit_log import LossRecord, SchemaRecord, SegmentRecord
from agent.model.manifest import FileEntry, Head, TableReference
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from agent.repository.errors import BackupNotFound
from agent.storage.protocol import NotFound
from agent.wire.commands import Target
from agent.wire.node import KeyspaceView, NodeIdentity
from agent.wire.point_in_time import PitArguments, PitCheckResult, PitCoverResult, PitFetchResult
from tests.cluster.log_segments import name_of, segment
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.restore.backup_in_memory import BackupInMemory, identity
from tests.fast.restore.context import Context

BEGAN = 1_700_000_000.0
TARGET = Target("store", "repository", "cluster")
JOB = "job-1"
ID = "0" * 32
Result = TypeVar("Result", bound=msgspec.Struct)


def micros(seconds: float) -> int:
    """A point, so many seconds after `BEGAN`."""
    return round((BEGAN + seconds) * 1_000_000)


def record(number: int, *, whole: bool = True, follows: bool = True) -> SegmentRecord:
    """The record of segment `number`; a partial copy was taken 5 s after the segment was opened."""
    return SegmentRecord(
        name=name_of(number),
        size=len(segment(number)),
        digest="",
        piece_size=0,
        pieces=(),
        objects={},
        codecs={},
        whole=whole,
        opened_at=BEGAN + 10 * number,
        closed_at=BEGAN + 10 * number + (10 if whole else 5),
        previous=name_of(number - 1),
        follows=follows,
        copied_at=BEGAN + 10 * number + 11,
    )


def statistics(newest: int) -> bytes:
    """A Statistics.db (version nb) with a newest write."""
    histogram = struct.pack(">iqq", 1, 0, 0)
    part = histogram * 2 + struct.pack(">qiqq", 1, 0, newest - 1, newest)
    head = struct.pack(">ii", 1, 0)
    places = struct.pack(">ii", 2, len(head) + 12)
    return head + places + struct.pack(">I", zlib.crc32(places)) + part + struct.pack(">I", zlib.crc32(part))


def schema(
    tables: Sequence[str] = ("t",), *, ids: dict[str, str] | None = None, of: str = "int", index: str = ""
) -> KeyspaceSchema:
    """The keyspace ks; `of`: the type of each table's only column; `index`: one on t."""
    indexes = (SchemaObject("index", "ks", index, f"CREATE INDEX {index} ON ks.t (v);", "t"),) if index else ()
    return KeyspaceSchema(
        name="ks",
        replication={"class": "SimpleStrategy", "replication_factor": "1"},
        durable_writes=True,
        objects=(
            *(SchemaObject("table", "ks", name, f"CREATE TABLE ks.{name} (v {of} PRIMARY KEY);") for name in tables),
            *indexes,
        ),
        columns={name: (Column("v", of, "partition_key", 0, "none"),) for name in tables},
        types={},
        table_ids={name: ID if name == "t" else f"{ord(name[0]):032x}" for name in tables} | (ids or {}),
    )


class Snapshot(BackupInMemory):
    """Of ks.t, with an SSTable of a legacy index. `newest`: the newest write in it. `others`: other backups' heads."""

    def __init__(self) -> None:
        self.newest = micros(24)
        self.others: dict[str, Head] = {}
        super().__init__(["nb-1-big"], (schema(),))
        names = (".idx/nb-1-big-Data.db", ".idx/nb-1-big-Statistics.db")
        self.entries[".idx/nb-1-big"] = tuple(FileEntry(name, 10, 0, "", (), 1 << 20) for name in names)
        self.head = msgspec.structs.replace(
            self.head,
            taken_at=BEGAN + 25,
            taken_until=BEGAN + 26,
            commitlog_floor=name_of(1),
            tables=(TableReference("ks", "t", ID, 4, 60, 2, 0),),
        )

    @asynccontextmanager
    async def opened(
        self, arguments: Any, waiting: Any = None, *, indexes: bool = False
    ) -> AsyncIterator[BackupInMemory]:
        if arguments.tag == "tag":
            yield self
            return
        if arguments.tag not in self.others:
            raise BackupNotFound("no part", tag=arguments.tag)
        other = Snapshot()
        other.head = self.others[arguments.tag]
        yield other

    async def fetch(self, wanted: Any, placed: Any, moved: Any) -> None:
        async for one in wanted:
            for entry in one.files:
                path = one.directory / entry.name
                if not path.exists():
                    found = statistics(self.newest) if "Statistics" in entry.name else b"of the snapshot"
                    path.write_bytes(found)
                    self.fetched.append(entry.name)
                moved(one, entry.size)
            await placed(one)


class LogInMemory:
    """A `LogSource`, and its own `LogSources`. `damaged`: names whose bytes Cassandra would stop at; `gone`: names
    whose objects are missing; `fetched` lists what was asked for."""

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        self.found = [record(number) for number in numbers]
        self.lost: list[LossRecord] = []
        self.history: list[SchemaRecord] = []
        self.damaged: set[str] = set()
        self.gone: set[str] = set()
        self.fetched: list[str] = []
        self.cut: dict[str, str] = {}
        self.away: Exception | None = None
        self.missing: type[Exception] = NotFound

    @asynccontextmanager
    async def opened(self, arguments: Any, host_id: str, waiting: Any = None) -> AsyncIterator["LogInMemory"]:
        if self.away is not None:
            raise self.away
        yield self

    async def records(self, since: int = 0) -> Sequence[SegmentRecord]:
        return [one for one in self.found if int(one.name.split("-")[-1][:-4]) >= since]

    async def outlined(self, since: int, before: int) -> Sequence[SegmentRecord]:
        return [one for one in await self.records(since) if int(one.name.split("-")[-1][:-4]) < before]

    async def losses(self) -> Sequence[LossRecord]:
        return self.lost

    async def schemas(self) -> Sequence[SchemaRecord]:
        return self.history

    async def incomplete(self, records: Sequence[SegmentRecord]) -> dict[str, str]:
        return self.cut

    async def fetch(self, record: SegmentRecord, directory: Path) -> SegmentRecord:
        known = {one.name: one for one in self.found}
        if record.name in self.gone or record.name not in known:
            raise self.missing(f"{record.name} is gone")
        self.fetched.append(record.name)
        content = bytearray(segment(int(record.name.split("-")[-1][:-4])))
        if record.name in self.damaged:
            content[60] ^= 1
        (directory / record.name).write_bytes(content)
        return known[record.name]


class View(NodeView):
    """`last_truncate`: table id → milliseconds."""

    def __init__(self) -> None:
        self.last_truncate: dict[str, int] = {}
        self.version = "5.0.9"
        self.keeps = True

    async def identity(self) -> NodeIdentity:
        return msgspec.structs.replace(identity(), version=self.version)

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        return {}

    async def views_enabled(self) -> bool:
        return True

    async def auto_snapshot(self) -> bool:
        return self.keeps

    async def truncated_at(self) -> dict[str, int]:
        return self.last_truncate


class Rows:
    """Answers of system.paxos: ids of tables."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        return [{"cf_id": one} for one in self.ids]


class Process:
    """Cassandra's process."""

    def __init__(self) -> None:
        self.running = True
        self.configured = True

    async def alive(self) -> bool:
        return self.running

    def refuse_unconfigured(self) -> None:
        if not self.configured:
            raise ServiceNotConfigured("the agent was not told how to stop Cassandra", setting="cassandra.service.stop")


@dataclass(frozen=True)
class Tools(PointTools):
    """With a live schema in memory."""

    schemas: dict[str, KeyspaceSchema] = field(default_factory=dict)

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        return {name: one for name, one in self.schemas.items() if name in keyspaces}


class PointInMemory:
    """Segments 1 to 6 are archived, 7 is the node's own, which is written; now is 78."""

    def __init__(self, directory: Path) -> None:
        self.data, self.commitlog = directory / "cassandra" / "data", directory / "cassandra" / "commitlog"
        for one in (self.data / "system", self.commitlog):
            one.mkdir(parents=True)
        self.state = directory / "state"
        settings = CassandraSettings(data_directories=(str(self.data),), commitlog_directory=str(self.commitlog))
        self.node = CassandraNode(settings, self.state)
        self.view = View()
        self.node.view = self.view
        self.node.control = DirectoryControl(self.data)
        self.cql = Rows()
        self.node.cql = cast(Any, self.cql)
        self.snapshot, self.archive, self.own = Snapshot(), LogInMemory(range(1, 7)), LogInMemory()
        self.own.found = [record(7, whole=False)]
        self.own.missing = SegmentUnreadable
        self.archive.history = [SchemaRecord("v", None, BEGAN + 1, (schema(),), {})]
        self.process = Process()
        self.now = BEGAN + 78
        self.tools = Tools(
            self.node, self.snapshot, self.archive, self.own, self.process, self.state, clock=lambda: self.now
        )
        self.tools.schemas["ks"] = schema()
        self.notes, self.held_notes = FetchNotes(self.state, JOB), RestoreNotes(self.state, JOB)
        self.root = staging_root(str(self.data), JOB)
        self.segments = staging_root(str(self.commitlog), JOB).path / "segments"

    def arguments(self, pit: float = 55.0, **changed: Any) -> PitArguments:
        return PitArguments("tag", micros(pit), changed.pop("tables", {"ks": ["t"]}), TARGET, TARGET, **changed)

    async def check(self, pit: float = 55.0, **changed: Any) -> PitCheckResult:
        return await _run(PitCheckJob(self.tools), self.arguments(pit, **changed), PitCheckResult)

    async def fetch(self, pit: float = 55.0, **changed: Any) -> PitFetchResult:
        return await _run(PitFetchJob(self.tools), self.arguments(pit, **changed), PitFetchResult)

    async def cover(self, pit: float = 55.0, **changed: Any) -> PitCoverResult:
        return await _run(PitCoverJob(self.tools), self.arguments(pit, **changed), PitCoverResult)

    def stop(self) -> None:
        """Cassandra is down, its last segment has an end."""
        self.process.running = False
        self.own.found = [*self.own.found[:-1], record(int(self.own.found[-1].name.split("-")[-1][:-4]))]
        self.now += 10

    def held(self) -> list[str]:
        held = self.root.held("ks", "t")
        return sorted(str(path.relative_to(held)) for path in held.rglob("*") if path.is_file())

    def standing(self) -> list[str]:
        return sorted(path.name for path in self.segments.iterdir())


async def _run(job: Any, arguments: PitArguments, kind: type[Result]) -> Result:
    result = (await job.run(Context(arguments, JOB))).result
    assert isinstance(result, kind)
    return result
