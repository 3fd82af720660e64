"""PIT_TABLES alone on a real node: what was there at the point is noted, the test changes it, the job brings it back.

In: a node, statements. Out: the schema at the point and the one that the job made, to be compared.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.staging import StagingRoot
from agent.jobs.point_in_time.notes import FetchNotes, NotedPoint
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.tables import PitTablesJob
from agent.jobs.restore.tools import RestoreTools
from agent.model.commit_log import SchemaRecord
from agent.model.job import Outcome
from agent.model.snapshot import KeyspaceSchema
from agent.wire.node import Tables
from agent.wire.point_in_time import PitArguments
from tests.fast.restore.context import Context
from tests.real.cassandra.rig import Rig

MICROS = 1_000_000


class Killed(BaseException):
    """The agent died."""


@dataclass
class Dying:
    """RestoreTools' changes, of which the one after `left` is never sent."""

    left: int

    def wrap(self, change: Callable[..., Any]) -> Callable[..., Any]:
        async def dying(*arguments: Any) -> None:
            if self.left == 0:
                raise Killed
            self.left -= 1
            await change(*arguments)

        return dying


class Nothing:
    """A node's own log, which saw nothing that the archive was not told."""

    async def schemas(self) -> list[SchemaRecord]:
        """No record."""
        return []


class SchemaThen:
    """One keyspace, whose schema at the point is taken with `note`."""

    def __init__(self, rig: Rig, session: Any, keyspace: str) -> None:
        self._rig = rig
        self._session = session
        self.keyspace = keyspace
        self.then: KeyspaceSchema | None = None
        self._records: list[SchemaRecord] = []
        self._pit = 0.0

    def run(self, *statements: str) -> None:
        """Execute statements, `{}` being the keyspace."""
        for statement in statements:
            self._session.execute(statement.replace("{}", f'"{self.keyspace}"'))

    def rows(self, statement: str) -> list[Any]:
        """What a SELECT finds."""
        return list(self._session.execute(statement.replace("{}", f'"{self.keyspace}"')))

    async def note(self, *, now: bool = False) -> None:
        """A look at the schema: the one at the point, or `now` after it."""
        found = await self.live()
        self._pit = self._pit or time.time()
        at = self._pit + 10.0 * len(self._records)
        keyspaces = () if found is None else (found,)
        unseen = self._records[-1].first_seen if self._records else None
        self._records.append(SchemaRecord(f"version-{len(self._records)}", unseen, at, keyspaces, {}))
        if not now:
            self.then = found

    async def live(self) -> KeyspaceSchema | None:
        """The keyspace now."""
        present = await self._rig.node.view.keyspaces()
        if self.keyspace not in present:
            return None
        return (await capture_schema(self._rig.node.cql, [self.keyspace]))[0]

    async def bring_back(
        self, tables: Sequence[str], *, views: Sequence[str] = (), job: str = "job-1", dying: Dying | None = None
    ) -> Outcome:
        """Run PIT_TABLES, which dies where it is told to."""
        own: Tables = {self.keyspace: list(tables)}
        arguments = PitArguments(
            "snap", int((self._pit + 1) * MICROS), own, views={self.keyspace: list(views)} if views else {}
        )
        notes = FetchNotes(self._rig.state, job)
        identity = await self._rig.node.view.identity()
        root = StagingRoot("/d", "/d", ("x",))
        await notes.put_point(
            NotedPoint("snap", arguments.pit_micros, arguments.late_seconds, None, None,
                       {self.keyspace: sorted(tables)}, identity.host_id, None, self._pit - 60, root, {})
        )  # fmt: skip
        restore = RestoreTools(self._rig.node, cast(Any, self), self._rig.state)
        if dying is not None:
            object.__setattr__(restore, "change", dying.wrap(restore.change))
        tools = PointTools(
            self._rig.node, cast(Any, self), cast(Any, self), cast(Any, Nothing()), cast(Any, None), self._rig.state
        )
        return await PitTablesJob(tools, restore).run(Context(arguments, job))

    @asynccontextmanager
    async def opened(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """The snapshot, and the log, of which only the schema's history is asked."""

        async def schemas() -> list[SchemaRecord]:
            return self._records

        head = SimpleNamespace(schema=(), tables=(), taken_at=self._pit - 60)
        yield SimpleNamespace(head=head, schemas=schemas)
