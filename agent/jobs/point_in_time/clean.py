"""PIT_CLEAN: what the job staged goes, and of what it set aside all but the tables' files. Repeatable.

It runs only when what is set aside is no longer what the node runs on: the restore was opened to clients, or was
undone, or never placed anything. The replaced SSTables are kept as a snapshot of their tables, helenus-before-<job>, as
Cassandra itself keeps what is truncated or dropped: only a person's `nodetool clearsnapshot` removes them. What goes is
the drained commit log, whose segments were archived where that is ordered, hints for a time that is no more, and what
an undone restore had brought. What Cassandra itself had written to the tables before an undo stays in `undone`, and it
is told where: should somebody have let clients in, it is all that is left of their writes.
"""

import asyncio

from agent.cassandra.kept_snapshot import keep_as_snapshot
from agent.cassandra.live_directories import roots_of
from agent.cassandra.set_aside import UNDONE, left_by_undo
from agent.cassandra.staging import StagingRoot, remove_root
from agent.jobs.point_in_time.place_errors import RestoreUnfinished
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.restore.errors import StagingLeft
from agent.jobs.restore.notes import RestoreNotes
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult
from kit.errors import HelenusError

BEFORE = "helenus-before-"
"""How the tag of the snapshot begins in which the replaced SSTables are kept; the job follows."""
_SHOWN = 20


class PitCleanJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Remove every staging root of the job; nothing there is fine. Raises `RestoreUnfinished`; `FilesAppeared`,
        `StagingRefused` when the replaced SSTables can't be kept, with nothing removed; `StagingLeft`, when all others
        are gone, for those that can't be removed."""
        notes = self._tools.notes(context)
        fetched = RestoreNotes(self._tools.state, context.job)
        if not await notes.opened() and (await notes.plan() is not None or await notes.undoing()):
            raise RestoreUnfinished(f"the node's own files are set aside for the job {notes.job}", job=notes.job)
        kept = await self._keep(context, notes)
        await context.stages.enter("cleaning")
        removed: list[str] = []
        left: dict[str, str] = {}
        warnings = [*kept]
        for root in dict.fromkeys([*await fetched.all_staging(), *await self._own_roots(notes)]):
            try:
                written = await asyncio.to_thread(left_by_undo, root)
                if written:
                    warnings.append(
                        f"what was moved out of Cassandra's directories, and may be nowhere else, is kept in "
                        f"{root.path / UNDONE}: {written:,} bytes; remove it when nobody needs it"
                    )
                if await asyncio.to_thread(remove_root, root, UNDONE):
                    removed.append(str(root.path))
            except HelenusError as error:
                left[str(root.path)] = error.message
            except OSError as error:
                left[str(root.path)] = error.strerror or str(error)
        await fetched.put_cleaned()
        if left:
            told = "; ".join(f"{path} ({reason})" for path, reason in left.items())
            raise StagingLeft(f"what the restore staged or set aside is left in {told}", left=left)
        return Outcome(PhaseResult(removed, warnings))

    async def _keep(self, context: JobContext, notes: PlaceNotes) -> list[str]:
        """Keep the replaced SSTables as a snapshot; what is to be told of it. Raises as `keep_as_snapshot`."""
        plan = await notes.plan() if await notes.opened() else None
        if not plan:
            return []
        await context.stages.enter("keeping what was replaced")
        tag = f"{BEFORE}{notes.job}"
        kept = await asyncio.to_thread(keep_as_snapshot, plan, tag)
        if not kept:
            return []
        told = ", ".join(f"{table} {size:,} bytes" for table, size in sorted(kept.items())[:_SHOWN])
        return [
            f"what the tables held before is kept as the snapshot {tag} ({told}): `nodetool clearsnapshot -t {tag}`"
            f" frees {sum(kept.values()):,} bytes"
        ]

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
