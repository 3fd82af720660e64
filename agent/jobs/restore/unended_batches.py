"""Ends import batches that nobody saw the end of. In: a job's notes, and batches of it that began. Out: the certainty
that Cassandra is at none of them and never will be; their links are gone, and the job forgets that they began.

Such a batch goes on in Cassandra when its agent was killed or its nodetool gave up. Cassandra (4.0 to 5.0) does one
import of a table after the other: it holds the table's importer alone, and finds nothing to do in an empty directory.
So to import one returns when the running one has ended, but not always after those that wait: a Java monitor lets in
whom it likes (HotSpot 17 the one that came last). Between two empty imports one that waits begins, and the second of
them waits for it. So there are as many as batches, and one more, before their links are removed: if they went under a
batch in its midst, it would stop and leave files in the table's directory that Cassandra knows nothing of, and loads
when it starts again. A batch that had not even reached Cassandra by then finds its directory gone, which Cassandra
refuses; one that came just before that is waited for by a last empty import.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from agent.cassandra.imports import remove_batch
from agent.cassandra.staging import StagingRoot, make_directory, remove_below
from agent.jobs.restore.notes import BatchLine, RestoreNotes
from agent.jobs.restore.tools import RestoreTools

_EMPTY = "empty"
ENDING = "waiting for batches that were cut"
"""The stage of a job that ends batches of its own."""


def unended(lines: Sequence[BatchLine]) -> list[BatchLine]:
    """The batches that began and have no end, also when later ones brought in all that they had: Cassandra may still
    have to begin them."""
    ended = {line.number for line in lines if line.done}
    return [line for line in lines if line.number not in ended]


Before = Callable[[], Awaitable[None]]
"""Called before each empty import, which may take as long as a batch. What it raises ends the wait: the batches stay
of unknown outcome."""


async def _nothing() -> None:
    return None


async def end_batches(
    tools: RestoreTools,
    root: StagingRoot,
    notes: RestoreNotes,
    batches: Sequence[BatchLine],
    before: Before = _nothing,
) -> None:
    """Return once Cassandra is through with these batches of the job of `notes`, of which no other phase may run
    meanwhile. Nothing is asked of Cassandra when there are none. `root`: where to make an empty directory. Raises what
    the control's import raises (Cassandra's time-out too, when a batch outlasts it) and what `before` does."""
    if not batches:
        return
    present = await tools.node.view.keyspaces()
    # What was dropped, or made anew, since isn't what a batch goes into.
    of_table = Counter(
        (line.keyspace, line.table)
        for line in batches
        if line.keyspace in present and line.table in present[line.keyspace].tables
    )
    await _import_nothing(tools, root, {table: count + 1 for table, count in of_table.items()}, before)
    roots = await notes.all_staging()
    for line in batches:
        await asyncio.to_thread(remove_batch, roots, line.number)
    await _import_nothing(tools, root, dict.fromkeys(of_table, 1), before)
    await notes.forget_unknown({line.number for line in batches})


async def _import_nothing(
    tools: RestoreTools, root: StagingRoot, times: Mapping[tuple[str, str], int], before: Before
) -> None:
    for (keyspace, table), count in times.items():
        directory = await asyncio.to_thread(make_directory, root, (_EMPTY, keyspace, table))
        for _ in range(count):
            await before()
            await tools.node.control.import_sstables(keyspace, table, [directory])
    await asyncio.to_thread(remove_below, root, _EMPTY)
