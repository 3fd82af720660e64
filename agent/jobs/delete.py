"""Deletes a backup: in, DeleteArguments; out, FreedResult.

In a destination that is one put, the mark: the backup is not listed or restored any more, its data goes in the sweeps.
On the server the snapshot itself goes, at once.
"""

from agent.cassandra.protocol import Snapshots
from agent.jobs.in_use import InUse
from agent.model.job import JobContext, Outcome
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupNotFound
from agent.repository.on_server import OnServer
from agent.repository.opened import Repositories
from agent.wire.commands import DeleteArguments
from agent.wire.results import FreedResult


class DeleteJob:
    """The command `delete`."""

    def __init__(
        self,
        snapshots: Snapshots,
        repositories: Repositories,
        on_server: OnServer,
        records: RecordCache,
        in_use: InUse,
    ) -> None:
        self._snapshots = snapshots
        self._repositories = repositories
        self._on_server = on_server
        self._records = records
        self._in_use = in_use

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises BackupNotFound, what opening a destination raises, what clearing a snapshot does."""
        arguments: DeleteArguments = context.arguments
        if arguments.target is not None:
            async with self._repositories.opened(arguments.target, context.waiting) as opened:
                await context.stages.enter("marking")
                await Catalogue(opened, self._records).mark_deleted(arguments.tag)
            return Outcome(FreedResult())
        there = await self._on_server.has(arguments.tag) or await self._is_own(context, arguments.tag)
        if not there and context.stages.current != "clearing":
            raise BackupNotFound(f"there is no on-server backup {arguments.tag}", tag=arguments.tag)
        await context.stages.enter("clearing")
        # The manifest first: what is half gone is not listed or restored any more.
        await self._on_server.forget(arguments.tag)
        cleared = await self._snapshots.clear(arguments.tag)
        return Outcome(FreedResult(cleared.bytes_freed, cleared.files, [arguments.tag]))

    async def _is_own(self, context: JobContext, tag: str) -> bool:
        """Whether the agent owns up to the snapshot: a complete one, or what a failed try has left. One that another
        command is just taking is not there yet."""
        own = next((one for one in await self._snapshots.ours() if one.tag == tag), None)
        return own is not None and (own.info is not None or not self._in_use.has(tag, but=context.command_id))
