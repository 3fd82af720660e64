"""Ends what other restores' imports may still bring into a table. In: the tables that a restore is about to change.
Out: the certainty that Cassandra is at no import of them that another job's command began and did not see the end of.
Rows that come in after a TRUNCATE stay.
"""

import asyncio

from agent.jobs.replaced_jobs import other_jobs
from agent.jobs.restore_notes import BatchLine, RestoreNotes
from agent.jobs.restore_tools import RestoreTools
from agent.jobs.unended_batches import end_batches, unended
from agent.model.job import JobContext
from agent.wire.node import Tables


async def end_other_imports(tools: RestoreTools, context: JobContext, notes: RestoreNotes, tables: Tables) -> None:
    """Return once no batch of unknown outcome of another job can bring anything into the tables. Costs nothing when
    there is none. Needs the job's staging. Raises what `end_batches` does."""
    for other in await asyncio.to_thread(other_jobs, tools.state, notes.job):
        if not await _met(other, tables):
            continue
        await context.stages.enter(f"waiting for the import of {other.job}")
        async with tools.in_use.alone(other.job):
            await end_batches(tools, (await notes.staging())[0], other, await _met(other, tables))


async def _met(other: RestoreNotes, tables: Tables) -> list[BatchLine]:
    return [line for line in unended(await other.batches()) if line.table in tables.get(line.keyspace, ())]
