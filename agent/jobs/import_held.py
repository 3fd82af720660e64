"""IMPORT: what stands in held/ goes into the tables, batch by batch. Fenced.

Every batch is journalled before and after it. A new IMPORT command of the same job passes over the batches that are
done and makes the unfinished ones again from held/.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.cassandra.imports import Batch, HeldSstable, batches_of, held_sstables, import_batch, remove_batch
from agent.cassandra.staging import StagingRoot
from agent.jobs.restore_errors import ImportStopped
from agent.jobs.restore_notes import BatchLine, RestoreNotes
from agent.jobs.restore_tools import RestoreTools, checked, counted_as
from agent.model.job import JobContext, Outcome
from agent.wire.commands import RestoreArguments
from agent.wire.results import ImportResult
from kit.errors import HelenusError

_SIDE_BY_SIDE = 2

Imported = dict[str, dict[str, int]]


class ImportJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Import until nothing is left. Raises `NotFetched`, `ImportFailed`, `ImportStopped`, …"""
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        fetched = await notes.must_be_fetched()
        roots = await notes.staging()
        self._tools.refuse_when_late(context)
        await context.stages.enter("importing")
        await notes.begin_import()
        asked = {
            keyspace: [table for table in sorted(tables) if table in arguments.tables.get(keyspace, ())]
            for keyspace, tables in sorted(fetched.tables.items())
        }
        batches = await self._batches(context, arguments, notes, roots, asked)
        await self._import_all(_Run(context, notes, roots, counted_as(arguments)), batches)
        await _remove_cut(notes, roots)
        return Outcome(ImportResult(imported_so_far(await notes.batches(), fetched.tables)))

    async def _batches(
        self,
        context: JobContext,
        arguments: RestoreArguments,
        notes: RestoreNotes,
        roots: Sequence[StagingRoot],
        asked: Mapping[str, Sequence[str]],
    ) -> list[Batch]:
        """What is left to be imported, cut into numbered batches; the totals are told."""
        lines = await notes.batches()
        number = max((line.number for line in lines), default=0) + 1
        batches: list[Batch] = []
        for keyspace, tables in asked.items():
            for table in tables:
                held = await asyncio.to_thread(held_sstables, roots, keyspace, table)
                left = _not_done(held, lines, keyspace, table)
                context.tally.expect(counted_as(arguments), keyspace, table, len(held), 0)
                context.tally.done(counted_as(arguments), keyspace, table, len(held) - len(left), 0)
                found = batches_of(left, keyspace, table, max(arguments.batch_sstables, 1), number)
                batches += found
                number += len(found)
        return batches

    async def _import_all(self, run: "_Run", batches: Sequence[Batch]) -> None:
        """Two at a time, because half of a call is the start of nodetool's JVM; the first error ends the others after
        their running batch."""
        waiting = iter(batches)
        errors: list[HelenusError] = []

        async def work() -> None:
            for batch in waiting:
                if errors:
                    return
                try:
                    await self._import_one(run, batch)
                except HelenusError as error:
                    errors.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_SIDE_BY_SIDE, len(batches))):
                group.create_task(work())
        if errors:
            raise errors[0]

    async def _import_one(self, run: "_Run", batch: Batch) -> None:
        context, notes = run.context, run.notes
        if context.stop_requested:
            raise ImportStopped(
                f"the import stopped before a batch of {batch.keyspace}.{batch.table}",
                imported=imported_so_far(await notes.batches(), {}),
            )
        await context.stages.enter(f"importing {batch.keyspace}.{batch.table}, batch {batch.number}")
        await notes.put_batch(_line(batch, done=False))
        await import_batch(self._tools.node.control, run.roots, batch)
        await notes.put_batch(_line(batch, done=True))
        context.tally.done(run.destination, batch.keyspace, batch.table, len(batch.sstables), 0)


@dataclass(frozen=True)
class _Run:
    """What every batch of a command shares."""

    context: JobContext
    notes: RestoreNotes
    roots: Sequence[StagingRoot]
    destination: str


async def _remove_cut(notes: RestoreNotes, roots: Sequence[StagingRoot]) -> None:
    """Links of batches that an earlier run began and didn't end go: all of them were made again. Not sooner, for
    Cassandra itself may still have been importing them, and it does one import of a table after the other."""
    lines = await notes.batches()
    for number in {line.number for line in lines} - {line.number for line in lines if line.done}:
        await asyncio.to_thread(remove_batch, roots, number)


def _line(batch: Batch, *, done: bool) -> BatchLine:
    names = [(one.root, one.sstable) for one in batch.sstables]
    return BatchLine(batch.number, batch.keyspace, batch.table, names, done)


def _not_done(held: Sequence[HeldSstable], lines: Sequence[BatchLine], keyspace: str, table: str) -> list[HeldSstable]:
    """By name alone: fetched anew, an SSTable may stand on another volume than the one it was imported from."""
    done = {
        name
        for line in lines
        if line.done and (line.keyspace, line.table) == (keyspace, table)
        for _, name in line.sstables
    }
    return [one for one in held if one.sstable not in done]


def imported_so_far(lines: Sequence[BatchLine], tables: Mapping[str, Mapping[str, object]]) -> Imported:
    """SSTables in batches that are done, each counted once; of `tables` also those without any."""
    names: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        if line.done:
            names.setdefault((line.keyspace, line.table), set()).update(name for _, name in line.sstables)
    counts: Imported = {keyspace: dict.fromkeys(found, 0) for keyspace, found in tables.items()}
    for (keyspace, table), found in names.items():
        counts.setdefault(keyspace, {})[table] = len(found)
    return counts
