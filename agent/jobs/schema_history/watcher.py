"""Watch the schema while the commit log is archived. In: the order, the node. Out: a record of each schema and ring
that is seen, kept on the node first and then put in every destination of the order.

A look every ten seconds asks for the schema's version and the ring; the whole schema is read only when either is new.
It is taken only if the version is the same before and after. Between two looks that differ the change happened at an
unknown moment: both times are in the record. An agent that was away leaves a longer time between two looks.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from agent.cassandra.errors import CassandraError
from agent.jobs.archiving.order import ArchivingOrder, place_of
from agent.jobs.schema_history.kept import KeptHistory, Looked
from agent.model.commit_log import SchemaRecord
from agent.model.snapshot import KeyspaceSchema
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import Repositories
from agent.wire.archiving import LogTarget
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES
from agent.wire.node import KeyspaceView, NodeIdentity, RingMember
from kit.errors import HelenusError

EVERY_SECONDS = 10.0
_KEPT_EVERY = 60.0
"""Seconds between two looks that are made durable when nothing is new: what a crash adds to the time in doubt."""
_log = structlog.get_logger(__name__)

Capture = Callable[[Sequence[str]], Awaitable[tuple[KeyspaceSchema, ...]]]


class SchemaView(Protocol):
    """What is asked of the node; see agent.cassandra.node_view.NodeView."""

    async def identity(self) -> NodeIdentity:
        """Who it is, and its schema's version."""

    async def ring(self) -> list[RingMember]:
        """Every member."""

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        """Every keyspace."""


class SchemaWatcher:
    """Runs as long as the agent does. `repositories` must not be patient. `clock`: unix seconds."""

    def __init__(
        self,
        kept: KeptHistory,
        view: SchemaView,
        capture: Capture,
        order: Callable[[], ArchivingOrder | None],
        repositories: Repositories,
        clock: Callable[[], float],
        *,
        every: float = EVERY_SECONDS,
    ) -> None:
        self.seen: tuple[str, float] | None = None
        """The version that the last look showed, and when that was."""
        self._kept = kept
        self._view = view
        self._capture = capture
        self._order = order
        self._repositories = repositories
        self._clock = clock
        self._every = every
        self._host_id = ""
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._troubles: dict[str, str] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._tried("node", self.look)
            await self._tell_all()
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Look once, if archiving is ordered. Raises CassandraError, StateFailed."""
        order = self._order()
        if order is not None and order.arguments.enabled:
            async with self._looking:
                await self._look()

    async def look_now(self) -> None:
        """Have the history reach to now, where there is one: a point of a second ago may be before the last change. A
        node that doesn't answer is passed over: what it had seen counts on. Raises StateFailed."""
        async with self._looking:
            if self._kept.newest is not None:
                with contextlib.suppress(CassandraError):
                    await self._look()

    async def _look(self) -> None:
        at = self._clock()
        identity = await self._view.identity()
        ring = {member.host_id: tuple(sorted(member.tokens)) for member in await self._view.ring()}
        answered = self._clock()  # what it told may have come into force while it was asked
        self._host_id = identity.host_id
        newest = self._kept.newest
        if newest is not None and (newest.version, newest.ring) == (identity.schema_version, ring):
            self.seen = newest.version, at
            self._looked_at = at
            if at - self._kept.looked.at >= _KEPT_EVERY:
                await self._kept.look(msgspec.structs.replace(self._kept.looked, at=at))
            return
        names = sorted(await self._view.keyspaces())
        keyspaces = await self._capture([name for name in names if name not in NODE_KEYSPACES | CLUSTER_KEYSPACES])
        if (await self._view.identity()).schema_version != identity.schema_version:
            return  # it is changing just now: the next look takes it
        unseen_since = None
        if newest is not None:
            unseen_since = max(newest.first_seen, self._kept.looked.at, self._looked_at)
        await self._kept.add(SchemaRecord(identity.schema_version, unseen_since, answered, keyspaces, ring))
        self.seen = identity.schema_version, at
        self._looked_at = at

    async def tell(self, target: LogTarget) -> None:
        """Put in a destination what it doesn't have. Raises a StorageError, StateFailed, what opening raises."""
        place = place_of(target)
        untold = self._kept.untold(place)
        if not untold or not self._host_id:
            return
        async with self._repositories.opened(target.target) as opened:
            logs = CommitLogs(opened, self._host_id)
            for name, record in untold:
                await logs.put_schema(record)
                told = {**self._kept.looked.told, place: [*self._kept.looked.told.get(place, ()), name]}
                await self._kept.look(Looked(max(self._kept.looked.at, self._looked_at), told))

    async def _tell_all(self) -> None:
        order = self._order()
        for target in [] if order is None else order.arguments.targets:

            async def tell(target: LogTarget = target) -> None:
                await self.tell(target)

            await self._tried(target.target.destination, tell)

    async def _tried(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
            self._troubles.pop(what, None)
        except HelenusError as error:
            # A node that is down is no news of the schema; what it is at is told elsewhere.
            if self._troubles.get(what) != error.code and not isinstance(error, CassandraError):
                _log.warning("schema_history_in_trouble", at=what, code=error.code, reason=error.message)
            self._troubles[what] = error.code
        except Exception:  # noqa: BLE001 - none of this may end the daemon
            _log.exception("schema_history_in_trouble", at=what)
