"""What the phases that set aside, place, verify and undo work with. Everything is given to them; nothing is global."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.cassandra.node import CassandraNode
from agent.cassandra.waits import NOBODY, Watch
from agent.jobs.in_use import InUse
from agent.jobs.point_in_time.place_errors import CassandraRuns
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.start_settings import NO_CLIENTS
from agent.model.job import JobContext
from agent.model.refusals import TooLate


class NodeService(Protocol):
    """Cassandra's process on this node."""

    def refuse_unconfigured(self) -> None:
        """Raises `ServiceNotConfigured` when the agent can't stop and start it."""

    async def alive(self) -> bool:
        """Whether it runs, answering or not."""

    async def stop(self, watch: Watch = NOBODY) -> None:
        """Stop it; ends when the process is gone."""

    async def keep_down(self, watch: Watch = NOBODY) -> None:
        """As `stop`, and let nobody start it again who does so whenever it ends."""

    async def start(self, watch: Watch = NOBODY) -> None:
        """Start it; ends when the node is NORMAL."""


class JvmOptions(Protocol):
    """The JVM options that Cassandra's next start takes."""

    async def put(self, job: str, lines: Sequence[str]) -> None:
        """Let it start with these lines too, in the place of those that the job gave before. Durable."""

    async def remove(self, job: str) -> None:
        """Take the job's lines away; none is fine. Durable."""


class Orders(Protocol):
    """Orders to the running Cassandra."""

    async def native_running(self) -> bool:
        """Whether clients are let in."""

    async def enable_native(self) -> None:
        """Let clients in."""

    async def rebuild_index(self, keyspace: str, table: str, names: Sequence[str]) -> None:
        """Build the table's indexes of these names anew; ends when they are built."""


@dataclass(frozen=True)
class PlaceTools:
    """`archive`: archives a segment as Cassandra would, None while nothing is archived. `properties_file`: the
    commitlog_archiving.properties that Cassandra reads; `program`: the archive command, which restores too. `log_file`:
    what Cassandra logs to, None: not configured. `group`: Cassandra's, where it is another user. `clock`: unix
    seconds."""

    node: CassandraNode
    service: NodeService
    jvm: JvmOptions
    orders: Orders
    state: Path
    properties_file: Path
    program: Path
    archive: Callable[[Path], Awaitable[None]] | None = None
    log_file: Path | None = None
    clock: Callable[[], float] = time.time
    in_use: InUse = field(default_factory=InUse)

    def notes(self, context: JobContext) -> PlaceNotes:
        """The notes of the command's job. Raises `JobMissing`."""
        return PlaceNotes(self.state, context.job)

    def refuse_when_late(self, context: JobContext) -> None:
        """Raises `TooLate` after the command's `not_after`."""
        if context.not_after is not None and self.clock() > context.not_after:
            raise TooLate("the command's time to begin has passed", not_after=context.not_after, now=self.clock())

    async def start_without_clients(self, notes: PlaceNotes, watch: Watch) -> None:
        """Let Cassandra replay its own log; clients are let in by nobody but PIT_OPEN and PIT_UNDO. Raises what a start
        does."""
        await self.jvm.put(notes.job, [NO_CLIENTS])
        await self.service.start(watch)

    async def refuse_when_alive(self) -> None:
        """Raises `CassandraRuns`."""
        if await self.service.alive():
            raise CassandraRuns("Cassandra runs: its files can't be moved")
