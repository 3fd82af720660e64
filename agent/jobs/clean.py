"""CLEAN: the job's staged files go. Its notes stay, so that a late TRUNCATE of the same job is still refused."""

import asyncio

from agent.cassandra.staging import remove_root
from agent.jobs.restore_tools import RestoreTools
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult


class CleanJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Remove every staging root that was noted; nothing there is fine. Needs no Cassandra."""
        notes = self._tools.notes(context)
        await context.stages.enter("cleaning")
        removed = [str(root.path) for root in await notes.staging() if await asyncio.to_thread(remove_root, root)]
        await notes.put_cleaned()
        return Outcome(PhaseResult(removed))
