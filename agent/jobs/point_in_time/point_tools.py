"""What the phases that check, fetch and cover work with. Everything is given to them; nothing is global."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.cassandra.node import CassandraNode
from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.schema_compare import by_name
from agent.jobs.in_use import InUse
from agent.jobs.point_in_time.log_sources import LogSources
from agent.jobs.point_in_time.start_settings import StartSettings
from agent.jobs.restart import BeforeStop, nothing
from agent.jobs.restore.source import Sources
from agent.model.snapshot import KeyspaceSchema
from agent.pipeline.log_source import LogSource


class Process(Protocol):
    """Cassandra's process on this node."""

    async def alive(self) -> bool:
        """Whether it runs, answering or not."""

    def refuse_unconfigured(self) -> None:
        """Raises `ServiceNotConfigured` when the agent can't stop and start it."""


@dataclass(frozen=True)
class PointTools:
    """`logs`: archived segments; `own`: every segment that is on the node, in Cassandra's directory and in the
    archive's (Cassandra being down, all of them are final). `settings`: what Cassandra's start is told by, None where
    a point can only be checked. `clock`: unix seconds. `refuse_unarchived`: raises `ArchiveUnread`,
    `ArchiveCopyDiffers` and `ArchivingRefused` where the log is to be archived and has no place to go; `before_stop`
    archives what waits, and raises as PIT_QUIESCE would."""

    node: CassandraNode
    sources: Sources
    logs: LogSources
    own: LogSource
    process: Process
    state: Path
    settings: StartSettings | None = None
    clock: Callable[[], float] = time.time
    in_use: InUse = field(default_factory=InUse)
    refuse_unarchived: Callable[[], Awaitable[None]] = nothing
    before_stop: BeforeStop = nothing

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        """The live schema of those of the keyspaces that exist. Raises what the node's answers raise."""
        present = await self.node.view.keyspaces()
        return by_name(await capture_schema(self.node.cql, [name for name in keyspaces if name in present]))

    async def refuse_unconfigured(self) -> None:
        """Raises `ServiceNotConfigured`."""
        self.process.refuse_unconfigured()
