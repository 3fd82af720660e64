"""Ends what other restores' imports may still bring into a table. In: the tables that a restore is about to change.
Out: the certainty that Cassandra is at no import of them that another job's command began and did not see the end of.

Rows that come in after a TRUNCATE stay. A job that goes on sees to its batches itself: it is not waited for, for that
may take hours; a restore that empties tables which it imports, or may begin to import, is refused instead.
"""

import asyncio

from agent.jobs.restore.errors import ImportRunning
from agent.jobs.restore.notes import BatchLine, RestoreNotes
from agent.jobs.restore.preflight_rules import emptied_keyspaces
from agent.jobs.restore.replaced_jobs import other_jobs
from agent.jobs.restore.tools import RestoreTools
from agent.jobs.restore.unended_batches import end_batches, unended
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
        if met:
            await context.stages.enter(f"waiting for the import of {other.job}")
        emptied = await _imported_and_emptied(other, arguments)
        # No await from this look to the turn: a command of the other job that came in between would be waited for.
        if tools.in_use.has(other.job):
            if emptied:
                raise ImportRunning(
                    f"the restore {other.job} goes on here and may import into {', '.join(emptied)} at any moment",
                    job=other.job,
                    tables=emptied,
                )
        elif met:
            async with tools.in_use.alone(other.job):
                await end_batches(tools, (await notes.staging())[0], other, await _met(other, arguments))


async def _met(other: RestoreNotes, arguments: RestoreArguments) -> list[BatchLine]:
    return [line for line in unended(await other.batches()) if line.table in arguments.tables.get(line.keyspace, ())]


async def _imported_and_emptied(other: RestoreNotes, arguments: RestoreArguments) -> list[str]:
    """The tables that are emptied and that the other job has begun to import, or holds ready for it: its IMPORT may be
    queued, or still looking at what it holds."""
    emptied = emptied_keyspaces(arguments)
    asked = await other.asked() if emptied else None
    if asked is None or not (other.import_begun() or await other.fetched() is not None):
        return []
    return sorted(
        f"{keyspace}.{table}"
        for keyspace in emptied
        for table in arguments.tables[keyspace]
        if table in asked.tables.get(keyspace, ())
    )
