"""CLEAN: the job's staged files go, and those of older restores that it replaced. The notes stay, so that a late
TRUNCATE of the same job is still refused. Repeatable: killed anywhere, it is simply done again.

No file goes from under a batch that Cassandra may still be importing: those that nobody saw the end of are ended first.
"""

import asyncio
from pathlib import Path

from agent.cassandra.staging import StagingRoot, is_made, remove_root
from agent.jobs.restore.errors import StagingLeft
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.replaced_jobs import remove_replaced
from agent.jobs.restore.tools import RestoreTools
from agent.jobs.restore.unended_batches import ENDING, end_batches, unended
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult
from kit.errors import HelenusError


class CleanJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Remove every staging root that was ever noted; nothing there is fine. Needs Cassandra only for batches
        whose end nobody saw. Raises `StagingLeft`, when all the others are gone, for those that can't be removed; for
        all of them, with the job not cleaned, when such batches can't be ended."""
        notes = self._tools.notes(context)
        await self._end_batches(context, notes)
        await context.stages.enter("cleaning")
        removed: list[str] = []
        left: dict[str, str] = {}
        for root in await notes.all_staging():
            try:
                if await asyncio.to_thread(_removed, root):
                    removed.append(str(root.path))
            except HelenusError as error:
                left[str(root.path)] = error.message
            except OSError as error:
                left[str(root.path)] = error.strerror or str(error)
        others, stay = await remove_replaced(self._tools.state, notes, self._tools.in_use)
        await notes.put_cleaned()
        if left:
            told = "; ".join(f"{path} ({reason})" for path, reason in left.items())
            raise StagingLeft(f"what the restore staged is left in {told}", left=left)
        return Outcome(PhaseResult(removed + others, stay))

    async def _end_batches(self, context: JobContext, notes: RestoreNotes) -> None:
        cut = unended(await notes.batches())
        made = [root for root in await notes.all_staging() if await asyncio.to_thread(is_made, root)] if cut else []
        if not made:
            return
        await context.stages.enter(ENDING)
        try:
            await end_batches(self._tools, made[0], notes, cut)
        except (HelenusError, OSError) as error:
            left = {str(root.path): str(error) for root in made}
            raise StagingLeft(
                f"batches of {notes.job} that were cut could not be ended ({error}), so what it staged is left in "
                f"{', '.join(left)}: Cassandra may still be importing it",
                left=left,
            ) from error


def _removed(root: StagingRoot) -> bool:
    """Whether there was something to remove. Raises `OSError` when the volume itself is not there."""
    Path(root.base).stat()
    return remove_root(root)
