"""Ends what other restores' imports may still bring into a table. In: the tables that a restore is about to change.
Out: the certainty that Cassandra is at no import of them that another job's command began and did not see the end of.

Such a batch goes on in Cassandra when its agent was killed or its nodetool gave up, and rows that come in after a
TRUNCATE stay. Cassandra (4.0 to 5.0) does one import of a table after the other: it holds the table's importer alone,
and finds nothing to do in an empty directory. So to import one returns when the running one has ended. One that was
asked for and had not begun by then finds its directory gone, which Cassandra refuses; one that began just before that
is waited for by a second empty import. Then the other job forgets that these batches began: they stand in the way of
nobody's restore any more, nor of the removal of what that job fetched.
"""

import asyncio

from agent.cassandra.imports import remove_batches
from agent.cassandra.staging import StagingRoot, make_directory, remove_below
from agent.jobs.replaced_jobs import other_jobs, undecided
from agent.jobs.restore_notes import RestoreNotes
from agent.jobs.restore_tools import RestoreTools
from agent.model.job import JobContext
from agent.wire.node import Tables

_EMPTY = "empty"


async def end_other_imports(tools: RestoreTools, context: JobContext, notes: RestoreNotes, tables: Tables) -> None:
    """Return once no batch of unknown outcome of another job can bring anything into the tables. Costs nothing when
    there is none. Needs the job's staging. Raises what the control's import raises: Cassandra's time-out too, when the
    other import outlasts it."""
    for other in await asyncio.to_thread(other_jobs, tools.state, notes.job):
        unknown = set(undecided(await other.batches()))
        asked = [(keyspace, table) for keyspace, names in tables.items() for table in names]
        of_unknown_end = [(keyspace, table) for keyspace, table in asked if f"{keyspace}.{table}" in unknown]
        if not of_unknown_end:
            continue
        await context.stages.enter(f"waiting for the import of {other.job}")
        present = await tools.node.view.keyspaces()
        # What was dropped, or made anew, since isn't what that batch goes into.
        met = [
            (keyspace, table)
            for keyspace, table in of_unknown_end
            if keyspace in present and table in present[keyspace].tables
        ]
        root = (await notes.staging())[0]
        await _wait(tools, root, met)
        async with tools.in_use.alone(other.job):
            if not tools.in_use.has(other.job):
                await asyncio.to_thread(remove_batches, await other.all_staging())
        await _wait(tools, root, met)
        async with tools.in_use.alone(other.job):
            if not tools.in_use.has(other.job):  # else it may have begun another one just now
                await other.forget_unknown(of_unknown_end)


async def _wait(tools: RestoreTools, root: StagingRoot, tables: list[tuple[str, str]]) -> None:
    for keyspace, table in tables:
        directory = await asyncio.to_thread(make_directory, root, (_EMPTY, keyspace, table))
        await tools.node.control.import_sstables(keyspace, table, [directory])
    await asyncio.to_thread(remove_below, root, _EMPTY)
