"""FETCH: every file of this node's part stands verified in held/, before anything is changed. Repeatable."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from agent.cassandra.directories import Volume, volumes
from agent.cassandra.staging import StagingRoot, make_directory, make_root, remove_root, settle_file, staging_root
from agent.jobs.restore.counts import all_held
from agent.jobs.restore.errors import JobDiffers
from agent.jobs.restore.notes import Asked, Fetched, RestoreNotes
from agent.jobs.restore.other_imports import end_other_imports
from agent.jobs.restore.source import BackupSource, WantedSstable
from agent.jobs.restore.tools import RestoreTools, checked, counted_as, references
from agent.jobs.restore.volumes import StagingPlan, begun_sstables, remove_strays, staged_sstables
from agent.model.job import JobContext, Outcome
from agent.model.manifest import FileEntry
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
        roots = await self._roots(notes, found)
        await context.stages.enter("fetching")
        async with self._tools.sources.opened(arguments, context.waiting) as source:
            counts = await self._bring(context, arguments, source, found, roots)
        result = {keyspace: dict(tables) for keyspace, tables in counts.items()}
        await notes.put_fetched(Fetched(arguments.tag, arguments.source_host_id, result))
        return FetchResult(result)

    async def _roots(self, notes: RestoreNotes, found: Sequence[Volume]) -> list[StagingRoot]:
        """The staging roots of the data directories; those that an earlier run noted stay."""
        run_as = self._tools.node.settings.run_as
        noted = {root.data_directory: root for root in await notes.all_staging()}
        roots: list[StagingRoot] = []
        for volume in found:
            root = noted.get(volume.path)
            if root is None:
                root = await asyncio.to_thread(staging_root, volume.path, notes.job, run_as)
            roots.append(root)
        await notes.put_staging(roots)
        for root in roots:
            await asyncio.to_thread(make_root, root)
        return roots

    async def _bring(
        self,
        context: JobContext,
        arguments: RestoreArguments,
        source: BackupSource,
        found: Sequence[Volume],
        roots: Sequence[StagingRoot],
    ) -> dict[str, dict[str, list[int]]]:
        destination = counted_as(arguments)
        plan = StagingPlan(source.head.data_directories, found)
        counts: dict[str, dict[str, list[int]]] = {}
        placed_on: dict[tuple[str, str], dict[str, int]] = {}
        for reference in references(source.head, arguments.tables):
            counts.setdefault(reference.keyspace, {})[reference.table] = [0, 0, 0]
            # What Cassandra writes anew with each snapshot is of no use to a restore, and isn't fetched.
            files = reference.files - len(reference.own)
            size = reference.bytes - sum(entry.size for entry in reference.own)
            context.tally.expect(destination, reference.keyspace, reference.table, files, size)

        async def wanted() -> AsyncIterator[WantedSstable]:
            for reference in references(source.head, arguments.tables):
                made: dict[int, Path] = {}
                begun = await asyncio.to_thread(begun_sstables, roots, reference.keyspace, reference.table)
                on = placed_on.setdefault((reference.keyspace, reference.table), {})
                count = counts[reference.keyspace][reference.table]
                async for sstable, entries, part in staged_sstables(source, reference):
                    number = on[sstable] = plan.place(entries, begun.get(sstable))
                    if number not in made:
                        below = ("held", reference.keyspace, reference.table)
                        made[number] = await asyncio.to_thread(make_directory, roots[number], below)
                    count[0] += len(entries)
                    count[1] += sum(entry.size for entry in entries)
                    count[2] += 1
                    yield WantedSstable(
                        reference.keyspace,
                        reference.table,
                        sstable,
                        entries,
                        roots[number],
                        made[number],
                        part.objects,
                        part.coded,
                    )
                context.tally.expect(destination, reference.keyspace, reference.table, count[0], count[1])

        async def placed(one: WantedSstable) -> None:
            await asyncio.to_thread(_settle, one.root, one.directory, one.files)
            context.tally.done(destination, one.keyspace, one.table, len(one.files), 0)

        def moved(one: WantedSstable, size: int) -> None:
            context.tally.done(destination, one.keyspace, one.table, 0, size)

        await source.fetch(wanted(), placed, moved)
        for (keyspace, table), on in placed_on.items():
            await asyncio.to_thread(remove_strays, roots, keyspace, table, on)
        return counts


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


def _settle(root: StagingRoot, directory: Path, files: Sequence[FileEntry]) -> None:
    """Rights for files of ours; a hard link to the snapshot has Cassandra's own already."""
    for entry in files:
        path = directory / entry.name
        if path.stat().st_nlink == 1:
            settle_file(root, path)


async def remove_staging(notes: RestoreNotes) -> bool:
    """Remove all that the job staged on this node; whether there was anything."""
    removed = [await asyncio.to_thread(remove_root, root) for root in await notes.all_staging()]
    return any(removed)
