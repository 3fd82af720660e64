"""IMPORT: what stands in held/ goes into the tables, batch by batch. Fenced.

Every batch is journalled before and after it. A new IMPORT command of the same job passes over the batches that are
done and makes the unfinished ones again from held/. Links of batches that were cut go when all is in and Cassandra is
through with them, not sooner: it may still be importing them, or be about to.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from agent.cassandra.imports import Batch, HeldSstable, batches_of, held_size, import_batch, remove_batches
from agent.cassandra.staging import StagingRoot
from agent.jobs.restore.counts import (
    FetchedTables,
    Held,
    held_of,
    held_wrong,
    imported_so_far,
    imported_wrong,
    not_done,
    refuse,
    refuse_when_wiped,
)
from agent.jobs.restore.errors import ImportStopped
from agent.jobs.restore.notes import BatchLine, RestoreNotes
from agent.jobs.restore.tools import RestoreTools, checked, counted_as
from agent.jobs.restore.unended_batches import ENDING, end_batches, unended
from agent.model.job import JobContext, Outcome
from agent.wire.commands import RestoreArguments
from agent.wire.results import ImportResult
from kit.errors import HelenusError
from kit.groups import TaskGroup


class ImportJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Import until nothing is left. Raises `NotFetched`, `ControlOfAnotherNode` (before the import has begun),
        `ImportFailed`, `ImportStopped`, `CountsDiffer` (before Cassandra is told, when held/ isn't what was fetched), …
        """
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        fetched = await notes.must_be_fetched()
        roots = await notes.staging()
        self._tools.refuse_when_late(context)
        await self._tools.node.control.prove()  # the agent may have got another agent.toml since the preflight
        await context.stages.enter("importing")
        await refuse_when_wiped(notes, fetched.tables)
        asked = {
            keyspace: [table for table in sorted(tables) if table in arguments.tables.get(keyspace, ())]
            for keyspace, tables in sorted(fetched.tables.items())
        }
        held = await asyncio.to_thread(held_of, roots, asked)
        await refuse(notes, fetched.tables, held_wrong(held, await notes.batches(), fetched.tables))
        await notes.begin_import()
        run = _Run(context, notes, roots, counted_as(arguments))
        await self._import_all(run, await self._batches(run, arguments, held, fetched.tables))
        cut = unended(await notes.batches())
        if cut:
            await context.stages.enter(ENDING)
        await end_batches(
            self._tools, roots[0], notes, cut, partial(run.heed_stop, "while it waited for batches that were cut")
        )
        await asyncio.to_thread(remove_batches, roots)
        lines = await notes.batches()
        await refuse(notes, fetched.tables, imported_wrong(lines, fetched.tables, asked))
        return Outcome(ImportResult(imported_so_far(lines, fetched.tables)))

    async def _batches(
        self, run: "_Run", arguments: RestoreArguments, held: Held, fetched: FetchedTables
    ) -> list[Batch]:
        """What is left to be imported, cut into numbered batches; files and bytes of what was fetched are the totals,
        and what isn't left of them is done."""
        lines, tally = await run.notes.batches(), run.context.tally
        number = max((line.number for line in lines), default=0) + 1
        batches: list[Batch] = []
        for (keyspace, table), sstables in held.items():
            left = not_done(sstables or (), lines, keyspace, table)
            found = batches_of(left, keyspace, table, max(arguments.batch_sstables, 1), number)
            files, size, _ = fetched[keyspace][table]
            tally.expect(run.destination, keyspace, table, files, size)
            if len(left) < len(sstables or ()):
                files_left, size_left = await run.held(keyspace, table, left)
                tally.done(run.destination, keyspace, table, files - files_left, size - size_left)
            batches += found
            number += len(found)
        return batches

    async def _import_all(self, run: "_Run", batches: Sequence[Batch]) -> None:
        """A few at a time; the first error ends the others after their running batch."""
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

        async with TaskGroup() as group:
            for _ in range(min(self._tools.imports_at_a_time, len(batches))):
                group.create_task(work())
        if errors:
            raise errors[0]

    async def _import_one(self, run: "_Run", batch: Batch) -> None:
        context, notes = run.context, run.notes
        await run.heed_stop(f"before a batch of {batch.keyspace}.{batch.table}")
        await context.stages.enter(f"importing {batch.keyspace}.{batch.table}, batch {batch.number}")
        files, size = await run.held(batch.keyspace, batch.table, batch.sstables)
        await notes.put_batch(_line(batch, done=False))
        await import_batch(self._tools.node.control, run.roots, batch)
        await notes.put_batch(_line(batch, done=True))
        context.tally.done(run.destination, batch.keyspace, batch.table, files, size)


@dataclass(frozen=True)
class _Run:
    """What every batch of a command shares."""

    context: JobContext
    notes: RestoreNotes
    roots: Sequence[StagingRoot]
    destination: str

    async def held(self, keyspace: str, table: str, sstables: Sequence[HeldSstable]) -> tuple[int, int]:
        """How many files, and bytes in held/, SSTables of a table have."""
        return await asyncio.to_thread(held_size, self.roots, keyspace, table, sstables)

    async def heed_stop(self, where: str) -> None:
        """Raises `ImportStopped`, which says where it stopped and what is in, when a person forced the cancel."""
        if self.context.stop_requested:
            imported = imported_so_far(await self.notes.batches(), {})
            raise ImportStopped(f"the import stopped {where}", imported=imported)


def _line(batch: Batch, *, done: bool) -> BatchLine:
    names = [(one.root, one.sstable) for one in batch.sstables]
    return BatchLine(batch.number, batch.keyspace, batch.table, names, done)
