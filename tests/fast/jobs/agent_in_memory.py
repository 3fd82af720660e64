"""The jobs of an agent over stores in memory, and commands that survive its «restarts»."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agent.crypto.keyring import Keyring
from agent.jobs.backup import BackupJob
from agent.jobs.copying.copier import Copier
from agent.jobs.copying.delivery import Delivery
from agent.jobs.copying.rate import CopyRate
from agent.jobs.delete import DeleteJob
from agent.jobs.in_use import InUse
from agent.jobs.scrub.notes import ScrubNotes
from agent.jobs.scrub.scrub import ScrubJob
from agent.jobs.snapshot import SnapshotJob, SnapshotTaker
from agent.jobs.sweep import SweepJob
from agent.jobs.sync import SyncJob
from agent.jobs.taken_files import TakenFiles
from agent.jobs.upload import UploadJob
from agent.jobs.watermark import Watermark
from agent.pipeline.digest_cache import DigestCache
from agent.repository.catalogue import RecordCache
from agent.repository.errors import UnknownDestination
from agent.repository.holding import Lock
from agent.repository.intents import Writer
from agent.repository.on_server import OnServer
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.storage.protocol import OPEN, Storage
from agent.wire.commands import Target
from tests.fast.jobs.node import Node
from tests.fast.storage.memory import MemoryStorage

CLUSTER = "c1"
REPOSITORY = "r1"


class Crash(BaseException):
    """The process is gone: nothing catches it, and nothing reaches the store afterwards."""


class Faults:
    """The hook of a memory store: counts operations, and kills the agent before the one numbered `at`."""

    def __init__(self) -> None:
        self.count = 0
        self.at: int | None = None
        self.puts: list[str] = []
        self.fail: dict[str, BaseException] = {}

    def begin(self, at: int | None) -> None:
        """A new process, to be killed before its operation number `at`."""
        self.count, self.at, self.puts = 0, at, []

    async def __call__(self, verb: str, key: str) -> None:
        self.count += 1
        if self.at is not None and self.count >= self.at:
            raise Crash
        if verb in self.fail:
            raise self.fail[verb]
        if verb == "put":
            self.puts.append(key)


class MemoryReader:
    """What the oracle reads of a memory store."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._objects = storage._objects

    def list(self) -> Any:
        return iter([(key, len(body)) for key, (body, _) in sorted(self._objects.items())])

    def get(self, key: str) -> bytes:
        return self._objects[key][0]


class Repositories:
    """Destinations in memory. `keyrings`: the keys of those that are encrypted; `locks`: of those under object lock."""

    def __init__(
        self,
        storages: dict[str, Storage],
        keyrings: Mapping[str, Keyring] | None = None,
        locks: Mapping[str, Lock] | None = None,
    ) -> None:
        self._storages = storages
        self._keyrings = keyrings or {}
        self._locks = locks or {}

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
        storage = self._storages.get(target.destination)
        if storage is None:
            raise UnknownDestination(f"nobody told of {target.destination}")
        keyring = self._keyrings.get(target.destination)
        lock = self._locks.get(target.destination)
        yield OpenedRepository(
            target.destination, storage, target.repository_id, target.cluster_id, OPEN, 4, keyring, lock
        )


@dataclass
class Command:
    """A command, its journal and its context in one."""

    command_id: str
    arguments: Any
    undo: bool = False
    job: str | None = None
    current: str = ""
    saved: dict[str, Any] = field(default_factory=dict)
    expected: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)
    counted: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    waits: list[dict[str, Any] | None] = field(default_factory=list)
    not_after: float | None = None
    stop_requested: bool = False

    @property
    def stages(self) -> "Command":
        return self

    @property
    def tally(self) -> "Command":
        return self

    def waiting(self, error: dict[str, Any] | None) -> None:
        self.waits.append(error)

    def recall(self, stage: str) -> Any | None:
        return self.saved.get(stage)

    async def enter(self, stage: str, data: Any | None = None) -> None:
        self.current = stage
        if data is not None:
            self.saved[stage] = msgspec.json.decode(msgspec.json.encode(data))

    def expect(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        self.expected[destination, keyspace, table] = (files, size)
        self.counted[destination, keyspace, table] = [0, 0]

    def anew(self, destination: str) -> None:
        for key, counted in self.counted.items():
            if key[0] == destination:
                counted[:] = [0, 0]

    def done(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        counted = self.counted[destination, keyspace, table]
        counted[0] += files
        counted[1] += size

    def error(self, destination: str, keyspace: str, table: str, text: str) -> None:
        self.errors.append(text)


class Agent:
    """One process of an agent: its jobs over a node, stores and a state directory that outlive it."""

    def __init__(
        self,
        node: Node,
        storages: dict[str, Storage],
        state: Path,
        agent_id: str = "a1",
        repositories: Repositories | None = None,
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.slept: list[float] = []
        self.cache = DigestCache(state / "digests.sqlite")
        writer = Writer(agent_id, "i1", "0.1.0")
        self.storages = storages
        repositories = repositories or Repositories(storages)
        self.on_server = OnServer(state / "on-server")
        self.in_use = InUse()
        self.rate = CopyRate()
        taken = TakenFiles(self.on_server, writer)
        taker = SnapshotTaker(node, self.on_server, taken, self.in_use, self.rate)
        watermark = Watermark(node, self.on_server, 5.0, self.in_use)
        self.watermark = watermark

        async def live_tables() -> frozenset[str]:
            return frozenset(path.name.rpartition("-")[2] for path in node.data.glob("*/*"))

        delivery = Delivery(repositories, writer, self.rate)
        copier = Copier(node, delivery, self.cache, watermark, live_tables, taken)
        self.taker = taker
        self.snapshot = SnapshotJob(taker)
        self.upload = UploadJob(node, taker, copier, self.on_server)
        self.backup = BackupJob(taker, copier)
        self.delete = DeleteJob(node, repositories, self.on_server, RecordCache(), self.in_use)

        async def host_id() -> str:
            return node.host_id

        self.ring = {"127.0.0.1": node.host_id}

        async def ring() -> dict[str, str]:
            return self.ring

        self.sync = SyncJob(node, copier, repositories, delivery, host_id, ring)
        self.sweep = SweepJob(repositories, host_id, ring, writer, margin=600.0, sleep=self._sleep)
        self.scrub_notes = ScrubNotes(state)
        self.now = 2_000_000.0
        self.busy: set[str] = set()
        self.scrub = ScrubJob(
            repositories,
            self.scrub_notes,
            host_id,
            ring,
            lambda destination: destination in self.busy,
            lambda: self.now,
            period=30 * 86_400.0,
            sample=8,
            sleep=self._sleep,
        )
        self.on_sleep: list[Any] = []

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        for step in self.on_sleep:
            await step(seconds)

    def close(self) -> None:
        self.cache.close()


def target(destination: str = "d1") -> Target:
    return Target(destination, REPOSITORY, CLUSTER)
