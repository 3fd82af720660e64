"""FETCH: every file of this node's part stands verified in held/, before anything is changed. Repeatable."""

import asyncio

import msgspec

from agent.cassandra.directories import volumes
from agent.cassandra.staging import remove_root
from agent.jobs.restore.counts import all_held
from agent.jobs.restore.errors import JobDiffers
from agent.jobs.restore.held_files import bring, noted_roots
from agent.jobs.restore.notes import Asked, Fetched, RestoreNotes
from agent.jobs.restore.other_imports import end_other_imports
from agent.jobs.restore.tools import RestoreTools, checked, counted_as, references
from agent.model.job import JobContext, Outcome
from agent.wire.commands import RestoreArguments
from agent.wire.results import FetchResult


class FetchJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Fetch what is not there yet. Cancelled by a person, what was staged is removed. Raises `ImportRunning`, …"""
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        await notes.refuse_when_finished()
        try:
            await _settle_what_is_asked(notes, arguments)
            done = await notes.fetched()
            if done is not None and await all_held(notes, done.tables):
                # An earlier command of the job did it all: held/ stays until CLEAN.
                await context.stages.enter("fetching")  # by which one that is resumed only to be undone is told so
                _count_again(context, counted_as(arguments), done)
                result = FetchResult(done.tables)
            else:
                result = await self._fetch(context, arguments, notes)
            # The last that happens on every node before a table is emptied.
            await end_other_imports(self._tools, context, notes, arguments)
            return Outcome(result)
        except asyncio.CancelledError:
            if context.undo and not notes.import_begun():
                await remove_staging(notes)
            raise

    async def _fetch(self, context: JobContext, arguments: RestoreArguments, notes: RestoreNotes) -> FetchResult:
        found = await asyncio.to_thread(volumes, await self._tools.node.directories.data())
        roots = await noted_roots(notes, [volume.path for volume in found], self._tools.node.settings.run_as)
        await context.stages.enter("fetching")
        async with self._tools.sources.opened(arguments, context.waiting) as source:
            chosen = references(source.head, arguments.tables)
            result = await bring(context.tally, counted_as(arguments), source, chosen, found, roots)
        await notes.put_fetched(Fetched(arguments.tag, arguments.source_host_id, result))
        return FetchResult(result)


def _count_again(context: JobContext, destination: str, done: Fetched) -> None:
    for keyspace, tables in done.tables.items():
        for table, (files, size, _) in tables.items():
            context.tally.expect(destination, keyspace, table, files, size)
            context.tally.done(destination, keyspace, table, files, size)


async def _settle_what_is_asked(notes: RestoreNotes, arguments: RestoreArguments) -> None:
    """Go on with what the job staged only if the same is asked for; else, while nothing is imported, begin afresh.
    Raises `JobDiffers` once the import has begun."""
    now = Asked(
        arguments.tag,
        arguments.source_host_id,
        arguments.source.repository_id if arguments.source is not None else None,
        {keyspace: sorted(tables) for keyspace, tables in sorted(arguments.tables.items())},
    )
    before = await notes.asked()
    if before == now:
        await notes.ask_again()
    if notes.import_begun():
        if before is not None and before != now:
            raise JobDiffers(
                f"the job {notes.job} imports {before.tag} of {before.source_host_id} with other tables or from "
                "elsewhere",
                before=msgspec.to_builtins(before),
                now=msgspec.to_builtins(now),
            )
        return
    await notes.begin_again()
    if before != now:
        await notes.forget_fetched()
        await remove_staging(notes)
        await notes.put_asked(now)


async def remove_staging(notes: RestoreNotes) -> bool:
    """Remove all that the job staged on this node; whether there was anything."""
    removed = [await asyncio.to_thread(remove_root, root) for root in await notes.all_staging()]
    return any(removed)
