"""Archive the node's commit log from its next start on, or no longer: in, ArchiveArguments; out, ArchiveResult.

    checking → telling → ordering

Repeatable: each step puts what is already there in vain. The directory with its mark and the archive command are there
before the properties file names them, and the order is kept before anything could be archived by it. Switched off, the
node's own properties file is put back; what was archived until Cassandra is restarted goes to the destinations all the
same.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from agent.cassandra.commit_log import archiving_properties
from agent.cassandra.commit_log.archive_command import checked_path, install
from agent.jobs.archiving.archiver import Archiver
from agent.jobs.archiving.errors import ArchivingNotConfigured
from agent.jobs.archiving.order import ArchivingOrder
from agent.jobs.archiving.standing import runs_before
from agent.model.job import JobContext, Outcome
from agent.repository.opened import Repositories
from agent.wire.archiving import ArchiveArguments, ArchiveResult


class ArchiveJob:
    """The command `archive`."""

    def __init__(self, archiver: Archiver, repositories: Repositories, clock: Callable[[], float]) -> None:
        self._archiver = archiver
        self._repositories = repositories
        self._clock = clock

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises ArchivingNotConfigured, ArchivingRefused, StateFailed, what opening raises."""
        asked: ArchiveArguments = context.arguments
        node, before = self._archiver.node, self._archiver.order
        if node.properties_file is None:
            raise ArchivingNotConfigured(
                "the agent isn't told where Cassandra's commitlog_archiving.properties is",
                setting="cassandra.archiving.properties_file",
            )
        await context.stages.enter("checking")
        directory = self._directory(asked, before)
        async with AsyncExitStack() as stack:
            for target in asked.targets:
                await stack.enter_async_context(self._repositories.opened(target.target, context.waiting))
        cut = context.stages.recall("telling") or {}
        changed = cut.get("changed") is True or await asyncio.to_thread(self._differs, asked.enabled, directory)
        if before is None and not asked.enabled and not changed:
            # It never archived: nothing is put back, and no Cassandra restarted for nothing.
            return Outcome(ArchiveResult(False, directory, str(node.properties_file), ""))
        await context.stages.enter("telling", {"changed": changed})
        mark = await self._marked(directory, before) if asked.enabled else before.mark if before is not None else ""
        if changed:
            # Kept before, so that a life of Cassandra that began before it was told never counts as one that archives.
            await self._keep(asked, before, directory, self._clock(), mark)
        if asked.enabled:
            await asyncio.to_thread(self._tell, node.properties_file, directory)
        else:
            await asyncio.to_thread(archiving_properties.put_back, node.properties_file)
        await context.stages.enter("ordering")
        told_at = self._clock() if changed or before is None else before.told_at
        await self._keep(asked, before, directory, told_at, mark)
        self._archiver.wake()
        refused = self._archiver.tail_refused if asked.tail_seconds else ""
        return Outcome(
            ArchiveResult(
                await asyncio.to_thread(runs_before, self._archiver, told_at),
                directory,
                str(node.properties_file),
                node.archiving(directory).archive_command if asked.enabled else "",
                refused,
            )
        )

    def _directory(self, asked: ArchiveArguments, before: ArchivingOrder | None) -> str:
        directory = asked.directory or self._archiver.node.directory
        if not directory and before is not None and not asked.enabled:
            return before.arguments.directory
        if not directory:
            raise ArchivingNotConfigured(
                "neither the request nor the agent's settings name a directory for archived segments",
                setting="cassandra.archiving.directory",
            )
        return checked_path(directory, "the archive directory")

    async def _keep(
        self, asked: ArchiveArguments, before: ArchivingOrder | None, directory: str, told_at: float, mark: str
    ) -> None:
        targets = asked.targets if asked.enabled or asked.targets or before is None else before.arguments.targets
        arguments = msgspec.structs.replace(asked, directory=directory, targets=targets)
        order = ArchivingOrder(arguments, told_at, () if before is None else before.directories, mark)
        if order != self._archiver.order:
            await self._archiver.orders.put(order)

    def _differs(self, enabled: bool, directory: str) -> bool:
        """Whether Cassandra is told something else now. Blocks."""
        node = self._archiver.node
        if enabled or node.properties_file is None:
            return not node.is_told(directory)
        return archiving_properties.is_ours(archiving_properties.read(node.properties_file) or "")

    async def _marked(self, directory: str, before: ArchivingOrder | None) -> str:
        """Have the archive directory, as this node's; its mark."""
        node, known = self._archiver.node, self._archiver.ledger.known
        host_id = known.host_id or (await node.life()).host_id
        mine = before if before is not None and before.arguments.directory == directory else None
        return await node.have_directory(
            directory,
            [host_id] if mine is None or not mine.mark else [host_id, mine.mark],
            marked=mine is not None and mine.arguments.enabled and bool(mine.mark),
        )

    def _tell(self, properties: Path, directory: str) -> None:
        """Have the archive command and the properties file. Blocks."""
        node = self._archiver.node
        install(node.program, node.group())
        archiving_properties.put(properties, node.archiving(directory))
