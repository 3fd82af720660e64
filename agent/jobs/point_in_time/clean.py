"""PIT_CLEAN: what the job staged, and what it set aside, is removed from every volume. Repeatable.

It is the only thing that ever removes what a node had before, and only when that is no longer what the node runs on:
the restore was opened to clients, or was undone, or never placed anything. What waits in `aside` then is data that was
replaced (or a drained commit log, whose segments were archived), in `undone` what a restore had brought.
"""

import asyncio

from agent.cassandra.live_directories import roots_of
from agent.cassandra.staging import StagingRoot, remove_root
from agent.jobs.point_in_time.place_errors import RestoreUnfinished
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.restore.errors import StagingLeft
from agent.jobs.restore.notes import RestoreNotes
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult
from kit.errors import HelenusError


class PitCleanJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Remove every staging root of the job; nothing there is fine. Raises `RestoreUnfinished`; `StagingLeft`, when
        all others are gone, for those that can't be removed."""
        notes = self._tools.notes(context)
        fetched = RestoreNotes(self._tools.state, context.job)
        if not await notes.opened() and (await notes.plan() is not None or await notes.undoing()):
            raise RestoreUnfinished(f"the node's own files are set aside for the job {notes.job}", job=notes.job)
        await context.stages.enter("cleaning")
        removed: list[str] = []
        left: dict[str, str] = {}
        for root in dict.fromkeys([*await fetched.all_staging(), *await self._own_roots(notes)]):
            try:
                if await asyncio.to_thread(remove_root, root):
                    removed.append(str(root.path))
            except HelenusError as error:
                left[str(root.path)] = error.message
            except OSError as error:
                left[str(root.path)] = error.strerror or str(error)
        await fetched.put_cleaned()
        if left:
            told = "; ".join(f"{path} ({reason})" for path, reason in left.items())
            raise StagingLeft(f"what the restore staged or set aside is left in {told}", left=left)
        return Outcome(PhaseResult(removed))

    async def _own_roots(self, notes: PlaceNotes) -> list[StagingRoot]:
        """Where segments were fetched to and files set aside; of a job that never got so far as to note it, where it
        would have been."""
        facts = await notes.facts()
        if facts is not None:
            return list(facts.roots)
        node = self._tools.node
        commitlog = await node.directories.commitlog()
        if not commitlog:
            return []
        return [await asyncio.to_thread(staging_of, commitlog, notes.job, node.settings.run_as)]


def staging_of(commitlog: str, job: str, run_as: str) -> StagingRoot:
    """Where a job's segments wait: on the commit log's volume, so that they can be linked back. Raises
    `StagingRefused`."""
    return roots_of([], commitlog, commitlog, job, run_as)[0]
