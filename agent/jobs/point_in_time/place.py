"""PIT_PLACE: the node's own files are set aside, what was fetched takes their place, and the next start is told to
replay. Fenced; the same command again finishes what was cut. Cassandra is down.

    archiving the log   while archiving is on: every segment of the commit-log directory, as Cassandra would have it
    setting aside       the SSTables of the asked tables, all hints, the whole commit log: renames on their own volumes
    placing             held/ → the directories of the live ids, by hard links
    telling Cassandra   the properties file of one start, which PIT_START lets it make

What makes it safe, whenever the agent is killed (tests/fast/point_in_time/test_place_kills.py tries every moment):

- Cassandra must have been drained: all that it acknowledged is in SSTables, so that no write to another table is in the
  commit-log files alone. PIT_STOP notes it with what the commit-log directory held then: a segment more, and somebody
  has started Cassandra since.
- What is set aside is listed durably before the first rename, and stays where it is put until PIT_CLEAN (see
  agent/cassandra/set_aside.py). Segments that no destination has yet are archived first, so that shipping finds them;
  where archiving was switched off nobody wants them.
- Cassandra does not start meanwhile, whoever tries: see KEEP_DOWN. Should one come up all the same, nothing that it is
  told to do at its start is in place before all files are: it opens tables with less data, but replays nothing.
  PIT_PLACE then refuses to go on (`files_appeared`), PIT_UNDO puts everything back.
- PIT_START needs `placed.json`, which is written last.
"""

import asyncio
from pathlib import Path

from agent.cassandra.jvm_options import KEEP_DOWN
from agent.cassandra.live_directories import NodeFacts, live_directories
from agent.cassandra.placing import indexes_to_rebuild, place, placed_names, refuse_unlike
from agent.cassandra.set_aside import planned, refuse_strangers, set_aside
from agent.cassandra.staging import make_directory, make_root
from agent.jobs.point_in_time.given_back import names_in, refuse_other_files
from agent.jobs.point_in_time.node_facts import restored_of
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_errors import BeingUndone, NotDrained, RestoreOpened
from agent.jobs.point_in_time.place_notes import Placed, PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.restore_settings import put_restore_settings
from agent.jobs.restore.notes import RestoreNotes
from agent.model.job import JobContext, Outcome
from agent.plan.point_precision import fraction_digits
from agent.plan.segment_names import parse_segment
from agent.wire.names import check_tables
from agent.wire.point_in_time import PitArguments, PitPlaceResult


class PitPlaceJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `NotQuiesced`, `NotDrained`, `CassandraRuns`, `NotFetched`, `NotCovered`, `JobDiffers`, `BeingUndone`,
        `RestoreOpened`, `FilesAppeared`, `FilesVanished`, `SegmentUnreadable`, `StagingRefused`, `NotEnoughSpace`,
        `ArchivingRefused`, `KeptDown`, `TooLate`, …"""
        arguments: PitArguments = context.arguments
        check_tables(arguments.tables, "tables")
        notes = self._tools.notes(context)
        done = await notes.placed()
        if done is not None:
            return Outcome(done.result)
        facts = await notes.must_facts()
        await _refuse_unready(notes)
        await FetchNotes(self._tools.state, context.job).must_covered(arguments)
        await asyncio.to_thread(refuse_other_files, facts)
        fetched = await RestoreNotes(self._tools.state, context.job).must_be_fetched()
        await self._tools.refuse_when_alive()
        self._tools.refuse_when_late(context)
        await self._tools.node.jvm.refuse_kept_down(but=notes.job)
        await self._tools.jvm.put(notes.job, [KEEP_DOWN])
        if await notes.plan() is None:
            await context.stages.enter("archiving the log")
            await self._archive(facts)
        await context.stages.enter("setting aside")
        aside = await self._set_aside(notes, facts)
        await context.stages.enter("placing")
        placed = await asyncio.to_thread(place, facts)
        refuse_unlike(placed, fetched.tables)
        await context.stages.enter("telling Cassandra")
        await asyncio.to_thread(make_directory, facts.commitlog, (restored_of(facts).name,))
        await put_restore_settings(self._tools, notes, facts, arguments, fraction_digits(facts.version))
        result = PitPlaceResult(aside, placed)
        await notes.put_placed(Placed(result, tuple(await asyncio.to_thread(indexes_to_rebuild, facts))))
        return Outcome(result)

    async def _archive(self, facts: NodeFacts) -> None:
        """Have every segment archived that is still in the commit-log directory: one that is archived is fine."""
        archive = self._tools.archive
        if archive is None:
            return
        directory = Path(facts.commitlog.data_directory)
        for name in sorted(filter(parse_segment, await asyncio.to_thread(names_in, directory))):
            await archive(directory / name)

    async def _set_aside(self, notes: PlaceNotes, facts: NodeFacts) -> dict[str, int]:
        directories = await asyncio.to_thread(live_directories, facts)
        plan = await notes.plan()
        placed: dict[str, set[str]] = {}
        if plan is None:
            for root in facts.roots:
                await asyncio.to_thread(make_root, root)
            plan = await asyncio.to_thread(planned, directories)
            await _refuse_unready(notes)  # the last looks: archiving a large log takes a while
            await self._tools.refuse_when_alive()
            await notes.put_plan(plan)
        else:
            placed = await asyncio.to_thread(placed_names, facts)
            await asyncio.to_thread(refuse_strangers, plan, directories, placed)
        return await asyncio.to_thread(set_aside, plan, placed)


async def _refuse_unready(notes: PlaceNotes) -> None:
    if await notes.opened():
        raise RestoreOpened(f"the job {notes.job} is finished on this node", job=notes.job)
    if await notes.undoing():
        raise BeingUndone(f"the job {notes.job} is being undone on this node", job=notes.job)
    if await notes.plan() is None and not await notes.is_drained():
        raise NotDrained(f"Cassandra was not drained for the job {notes.job} before it ended", job=notes.job)
