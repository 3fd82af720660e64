"""CHECK: is everything in? Nothing may be left in staging, and what was imported must be what was fetched.

A few reads on this node at ONE only warn: rows may have expired, or belong to other nodes.
"""

import asyncio
from collections.abc import Sequence

from agent.cassandra.cql_text import quote
from agent.cassandra.imports import left_in_staging
from agent.cassandra.inventory import held_by, snapshot_tags
from agent.jobs.restore.counts import imported_so_far, imported_wrong, refuse, refuse_when_wiped
from agent.jobs.restore.tools import RestoreTools, checked
from agent.model.job import JobContext, Outcome
from agent.wire.results import CheckRestoreResult
from kit.errors import HelenusError

AUTO_SNAPSHOTS = ("truncated-", "dropped-")
"""How Cassandra's own snapshots of emptied and dropped tables begin [X: ColumnFamilyStore]."""
_SAMPLED = 50
"""Tables that are read from at most."""


class CheckJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `CountsDiffer`, after which the job must fetch and import again, and `NotFetched`."""
        checked(context.arguments)
        notes = self._tools.notes(context)
        await context.stages.enter("checking")
        fetched = await notes.must_be_fetched()
        await refuse_when_wiped(notes, fetched.tables)
        left = await asyncio.to_thread(left_in_staging, await notes.staging())
        lines = await notes.batches()
        await refuse(notes, fetched.tables, imported_wrong(lines, fetched.tables, fetched.tables), left)
        imported = imported_so_far(lines, fetched.tables)
        warnings = await self._sampled(fetched.tables)
        kept, held = await self._kept(warnings)
        return Outcome(CheckRestoreResult(imported, warnings, kept, held))

    async def _kept(self, warnings: list[str]) -> tuple[int, int]:
        """What `auto_snapshots` counts on this node. It is told a person, and no reason to call a restore that is in
        failed: where it can't be counted `warnings` says so."""
        try:
            return await asyncio.to_thread(auto_snapshots, await self._tools.node.directories.data())
        except (HelenusError, OSError) as error:
            warnings.append(f"Cassandra's own snapshots of emptied and dropped tables could not be counted: {error}")
            return 0, 0

    async def _sampled(self, tables: dict[str, dict[str, list[int]]]) -> list[str]:
        """Read a row of each table (of the first ones) that got SSTables."""
        warnings: list[str] = []
        asked = [(keyspace, table) for keyspace in tables for table, counts in tables[keyspace].items() if counts[2]]
        for keyspace, table in asked[:_SAMPLED]:
            try:
                rows = await self._tools.node.cql.rows(f"SELECT * FROM {quote(keyspace)}.{quote(table)} LIMIT 1")  # noqa: S608
            except HelenusError as error:
                warnings.append(f"{keyspace}.{table} could not be read: {error.message}")
                continue
            if not rows:
                warnings.append(f"{keyspace}.{table} shows no row (expired or deleted data, or another node's)")
        return warnings


def auto_snapshots(directories: Sequence[str]) -> tuple[int, int]:
    """Count of the snapshots that Cassandra made of emptied and dropped tables, and the bytes that only they hold:
    nobody clears them but a person. Raises OSError."""
    tags = snapshot_tags(directories, AUTO_SNAPSHOTS)
    return len(tags), sum(held_by(places) for places in tags.values())
