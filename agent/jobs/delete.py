"""Deletes a backup: in, DeleteArguments; out, FreedResult.

In a destination that is one put, the mark: the backup is not listed or restored any more, its data goes in the sweeps.
On the server the snapshot itself goes, at once; where that fails it is owed, and goes as soon as Cassandra lets it.
"""

from agent.cassandra.protocol import Held, Snapshots
from agent.jobs.giving_up import give_up
from agent.jobs.in_use import InUse
from agent.model.job import JobContext, Outcome
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupNotFound
from agent.repository.on_server import OnServer
from agent.repository.opened import Repositories
from agent.wire.commands import DeleteArguments
from agent.wire.results import FreedResult
from kit.errors import HelenusError


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
                catalogue = Catalogue(opened, self._records)
                if arguments.made_by:
                    plan = (await catalogue.view(arguments.tag)).plan
                    if plan is None or plan.made_by != arguments.made_by:
                        raise BackupNotFound(
                            f"the destination has no backup {arguments.tag} that {arguments.made_by} made",
                            tag=arguments.tag,
                        )
                await catalogue.mark_deleted(arguments.tag)
            return Outcome(FreedResult())
        if not await self._is_there(context, arguments):
            if context.stages.current != "clearing":
                raise BackupNotFound(f"there is no on-server backup {arguments.tag}", tag=arguments.tag)
            return Outcome(FreedResult(0, 0, [arguments.tag]))
        if arguments.dry_run:
            held = (
                Held() if await self._is_beside_another(arguments) else await self._snapshots.held_alone(arguments.tag)
            )
            return Outcome(FreedResult(held.bytes, held.files, [arguments.tag], dry_run=True))
        await context.stages.enter("clearing")
        if await self._is_beside_another(arguments):
            await self._on_server.forget(arguments.tag)
            return Outcome(FreedResult(0, 0, [arguments.tag]))
        try:
            held = await self._snapshots.held_alone(arguments.tag)
        except HelenusError:  # what can't be counted goes all the same, or is owed
            held = Held()
        await give_up(arguments.tag, self._snapshots, self._on_server)
        return Outcome(FreedResult(held.bytes, held.files, [arguments.tag]))

    async def _is_there(self, context: JobContext, arguments: DeleteArguments) -> bool:
        """Whether the agent has what is to go: a complete snapshot, what a failed try has left of one, or only files.
        A snapshot that another command is just taking is not there yet, nor is anything else of its tag to go."""
        tag, made_by = arguments.tag, arguments.made_by
        own = await self._snapshots.own(tag)
        if own is not None:
            is_being_taken = not own.complete and self._in_use.has(tag, but=context.command_id)
            if not is_being_taken and made_by in ("", own.made_by):
                return True
            return not is_being_taken and await self._is_beside_another(arguments)
        if made_by:
            return await self._on_server.made_by(tag) == made_by
        return await self._on_server.has(tag)

    async def _is_beside_another(self, arguments: DeleteArguments) -> bool:
        """Whether only the files are what `made_by` made: its own snapshot was refused, for another backup has taken
        one of that tag to copy it."""
        own = await self._snapshots.own(arguments.tag)
        if own is None or arguments.made_by in ("", own.made_by) or (own.complete and own.kept):
            return False
        return await self._on_server.made_by(arguments.tag) == arguments.made_by
