"""An agent's life. In: its parts, put together. Out: a start in which each part finds what it needs, and a stop in the
opposite order, also when the start fails halfway."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from aiohttp import web

from agent.cassandra.node import CassandraNode
from agent.commands.errors import JournalFailed
from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.reporting import Reporter
from agent.commands.runner import Runner
from agent.jobs.archiving.archiver import Archiver
from agent.jobs.owed import OwedSnapshots
from agent.jobs.schema_history.watcher import SchemaWatcher
from agent.pipeline.digest_cache import DigestCache
from agent.repository.destinations import Destinations
from agent.wire.node import HealthView
from kit.background import Background, run_until
from kit.heartbeat import beat
from kit.http_server import HttpServer
from kit.metrics import ProcessMetrics
from kit.notify import Notifier
from kit.state_lock import StateLock


@dataclass(frozen=True)
class Making:
    """How the parts are made that tests replace. `clock` gives unix seconds. `application` is called with the HTTP
    application before it is served."""

    journal: Callable[[Path, Callable[[], float]], Journal] = Journal
    clock: Callable[[], float] = time.time
    application: Callable[[web.Application], None] | None = None


@dataclass
class Health:
    """What /health answers; changed by the agent's life, and by a journal that can't be written."""

    journal: Journal
    view: HealthView = field(default_factory=lambda: HealthView("ok"))

    def __call__(self) -> HealthView:
        if self.view.status == "ok" and self.journal.failing:
            return HealthView("unwell", JournalFailed.code)
        return self.view


@dataclass(frozen=True)
class Parts:
    """Everything that has a beginning or an end."""

    lock: StateLock
    journal: Journal
    events: EventLog
    runner: Runner
    destinations: Destinations
    digests: DigestCache
    node: CassandraNode
    archiver: Archiver
    watcher: SchemaWatcher
    owed: OwedSnapshots
    server: HttpServer
    reporters: Sequence[Reporter]
    metrics: ProcessMetrics
    notifier: Notifier
    health: Health


class Agent:
    """The agent as a whole: `start`, `run_until`, `stop`, each once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._endings = AsyncExitStack()
        self._endings.callback(parts.lock.release)
        self._endings.callback(parts.digests.close)
        self._told = ""

    @property
    def url(self) -> str:
        """Where the agent is reached from this machine."""
        return self._parts.server.url

    async def start(self) -> None:
        """Recover the journal, take up what an earlier process left, and listen."""
        parts = self._parts
        await parts.journal.open()
        self._endings.push_async_callback(parts.journal.close)
        await parts.events.open()
        self._endings.push_async_callback(parts.events.close)
        await parts.destinations.load()
        self._endings.push_async_callback(parts.destinations.close)
        self._endings.push_async_callback(parts.node.close)
        self._endings.push_async_callback(parts.runner.stop)
        await parts.runner.start()
        self._endings.push_async_callback(parts.server.stop)
        await parts.server.start()

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises what ended a part that should not end."""
        parts = self._parts
        background: list[Background] = [beat(parts.notifier, self._pulse, healthy=self._healthy)]
        background += [
            parts.owed.run(),
            parts.archiver.run(),
            parts.watcher.run(),
            parts.journal.mend(),
            *(reporter.run() for reporter in parts.reporters),
        ]
        await run_until(stop, background)

    async def stop(self) -> None:
        """Give everything back; commands that run are resumed by the next start."""
        self._parts.health.view = HealthView("stopping")
        await self._endings.aclose()

    def _pulse(self, lag: float) -> None:
        self._parts.metrics.observe_lag(lag)
        count = self._parts.runner.unfinished
        text = f"{count} command{'' if count == 1 else 's'} unfinished"
        if text != self._told:
            self._told = text
            self._parts.notifier.status(text)

    def _healthy(self) -> bool:
        died = [*self._parts.runner.died, *self._parts.events.died]
        if not died:
            return True
        if self._parts.health.view.status == "ok":
            structlog.get_logger("agent").error("a part has died; the agent must be started anew", died=died)
            self._parts.health.view = HealthView("unwell", "internal")
        return False
