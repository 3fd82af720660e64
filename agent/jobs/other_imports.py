"""Ends what other restores' imports may still bring into a table. In: the tables that a restore is about to change.
Out: the certainty that Cassandra is at no import of them that another job's command began and did not see the end of.

Rows that come in after a TRUNCATE stay. A job that goes on sees to its batches itself: it is not waited for, for that
may take hours; a restore that empties tables which it imports is refused instead.
"""

import asyncio
from collections.abc import Sequence

from agent.jobs.preflight_rules import emptied_keyspaces
from agent.jobs.replaced_jobs import other_jobs
from agent.jobs.restore_errors import ImportRunning
from agent.jobs.restore_notes import BatchLine, RestoreNotes
from agent.jobs.restore_tools import RestoreTools
from agent.jobs.unended_batches import end_batches, unended
from agent.model.job import JobContext
from agent.wire.commands import RestoreArguments


async def end_other_imports(
    tools: RestoreTools, context: JobContext, notes: RestoreNotes, arguments: RestoreArguments
) -> None:
    """Return once no batch of unknown outcome of another job can bring anything into the asked tables; of a job that
    goes on, into none that is emptied. Costs nothing when there is none. Needs the job's staging. Raises
    `ImportRunning`, and what `end_batches` does."""
    for other in await asyncio.to_thread(other_jobs, tools.state, notes.job):
        met = await _met(other, arguments)
        if not met:
            continue
        if tools.in_use.has(other.job):  # before its turn is waited for: its import may take hours
            _refuse_emptied(other, arguments, met)
            continue
        await context.stages.enter(f"waiting for the import of {other.job}")
        async with tools.in_use.alone(other.job):
            await end_batches(tools, (await notes.staging())[0], other, await _met(other, arguments))


async def _met(other: RestoreNotes, arguments: RestoreArguments) -> list[BatchLine]:
    return [line for line in unended(await other.batches()) if line.table in arguments.tables.get(line.keyspace, ())]


def _refuse_emptied(other: RestoreNotes, arguments: RestoreArguments, met: Sequence[BatchLine]) -> None:
    emptied = emptied_keyspaces(arguments)
    tables = sorted({f"{line.keyspace}.{line.table}" for line in met if line.keyspace in emptied})
    if tables:
        raise ImportRunning(
            f"the restore {other.job} goes on here, and how its import of {', '.join(tables)} ended is not known",
            job=other.job,
            tables=tables,
        )
