"""An agent that archives, on real files and with stores in memory."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.node_view import NodeLife
from agent.jobs.archiving.archive import ArchiveJob
from agent.jobs.archiving.archiver import Archiver
from agent.jobs.archiving.node_side import NodeSide
from agent.jobs.archiving.shipper import Shipper
from agent.model.commit_log import SegmentRecord
from agent.pipeline.segments import SegmentBytes
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Storage
from agent.storage.threads import Workers
from agent.wire.archiving import ArchiveArguments, ArchiveResult, LogTarget
from agent.wire.commands import Target
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Command, Repositories
from tests.fast.jobs.toy_log import ToyLog
from tests.fast.storage.memory import MemoryStorage

NOW = 1_750_000_000.0
DEADLINE = 60.0


class ArchivingSite:
    """`stores`: by destination id. One Cassandra, which restarts when told; agents come and go."""

    def __init__(self, directory: Path, stores: dict[str, MemoryStorage]) -> None:
        self.directory = directory
        self.stores = stores
        self.state = directory / "state"
        self.program = directory / "bin" / "archive-commitlog"
        self.properties = directory / "conf" / "commitlog_archiving.properties"
        self.properties.parent.mkdir(parents=True)
        self.archive = directory / "archive"
        self.log = ToyLog(directory / "commitlog", self.program, self.archive, NOW)
        self.host_id = "h1"
        self.up = True
        self.flushes = 0
        self.leftover_bytes = 1 << 30
        self.repositories = Repositories(dict[str, Storage](stores))
        self.archiver = self._agent()
        self._running: asyncio.Task[None] | None = None

    def _agent(self) -> Archiver:
        async def life() -> NodeLife:
            if not self.up:
                raise CassandraUnavailable("it is down")
            return NodeLife(self.host_id, self.log.lives)

        async def commitlog() -> str:
            return str(self.log.directory)

        async def flush() -> None:
            self.flushes += 1

        async def setting(name: str) -> str | None:
            return None

        async def own_directories() -> list[str]:
            return [str(self.log.directory)]

        node = NodeSide(
            self.properties,
            self.program,
            str(self.archive),
            self.leftover_bytes,
            life,
            commitlog,
            flush,
            setting,
            own_directories,
        )
        return Archiver(self.state, node, self.repositories, lambda: self.log.now, every=0.02)

    def run(self) -> None:
        """The daemon's part of it begins."""
        self._running = asyncio.create_task(self.archiver.run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
            self._running = None

    async def restart(self) -> None:
        """Another process over the same state."""
        await self.stop()
        self.archiver = self._agent()
        self.run()

    async def order(self, **changes: object) -> ArchiveResult:
        """The command, for all stores unless told otherwise."""
        targets = [LogTarget(Target(name, REPOSITORY, CLUSTER)) for name in self.stores]
        arguments = msgspec.structs.replace(ArchiveArguments(True, targets=targets), **changes)
        job = ArchiveJob(self.archiver, self.repositories, lambda: self.log.now)
        outcome = await job.run(Command("c", arguments))
        assert isinstance(outcome.result, ArchiveResult)
        return outcome.result

    async def begin(self, **changes: object) -> None:
        """Archiving is on, in a Cassandra that was started with it."""
        self.log.start()
        self.run()
        await self.order(**changes)
        self.log.now += 10
        self.log.start()
        await self.until(lambda: self.archiver.ledger.known.in_force)
        # What it deletes is of the life that it asked for before its look: that must be this one from here on.
        await self.until(lambda: self.archiver._generation == self.log.lives or self._ask_soon())

    def _ask_soon(self) -> bool:
        self.archiver._next.pop("node", None)
        return False

    def segment(self, *payloads: bytes, delete: bool = True, archives: bool = True) -> str:
        """A segment with these writes, closed after ten seconds; its name."""
        self.log.write(*(payloads or (b"a write of some bytes",)))
        self.log.now += 10
        return self.log.rotate(delete=delete, archives=archives).name

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for it: a deadline against hanging."""
        for _ in range(int(DEADLINE / 0.01)):
            if reached():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError

    def shipper(self, store: str) -> Shipper:
        return next(one for one in self.archiver.places if one.target.target.destination == store)

    def has(self, name: str, store: str) -> bool:
        """Whether the agent knows that the destination has the segment."""
        known = self.archiver.ledger.get(name)
        return known is not None and self.shipper(store).place in known.places

    async def shipped(self, *names: str) -> None:
        """Wait until all are in every destination, and off the node."""
        await self.until(lambda: not self._left(names))

    def _left(self, names: tuple[str, ...]) -> bool:
        segments = self.archiver.ledger.known.segments
        here = {path.name for path in self.archive.iterdir()}
        return any(name in here or len(segments[name].places) < len(self.stores) for name in names)

    def logs(self, store: str, host_id: str = "h1") -> CommitLogs:
        opened = OpenedRepository(store, self.stores[store], REPOSITORY, CLUSTER, OPEN, 4)
        return CommitLogs(opened, host_id)

    async def records(self, store: str) -> list[SegmentRecord]:
        return await self.logs(store).records()

    async def content(self, store: str, record: SegmentRecord, to: Path) -> bytes:
        """What a restore gets of it."""
        workers = Workers(2, "read")
        to.mkdir(parents=True, exist_ok=True)
        try:
            fetched = await SegmentBytes(workers, lambda: 0.0).fetch(self.logs(store), record, to)
        finally:
            await workers.close()
        return (to / fetched.name).read_bytes()
