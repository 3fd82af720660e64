"""Copies a kept on-server snapshot to destinations: in, SyncArguments; out, UploadResult. The snapshot stays.

opening → storing → publishing → published
"""

from agent.cassandra.errors import SnapshotMissing
from agent.cassandra.protocol import Snapshots
from agent.jobs.copying.copied import outcome_of
from agent.jobs.copying.copier import Copier
from agent.jobs.copying.errors import SnapshotNotKept
from agent.model.job import JobContext, Outcome
from agent.wire.commands import SyncArguments


class SyncJob:
    """The command `sync`."""

    def __init__(self, snapshots: Snapshots, copier: Copier) -> None:
        self._snapshots = snapshots
        self._copier = copier

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises SnapshotMissing, SnapshotNotKept, CopyFailed, what concerns no single destination."""
        arguments: SyncArguments = context.arguments
        info = await self._snapshots.info(arguments.tag)
        if info is None:
            raise SnapshotMissing(f"there is no on-server backup {arguments.tag}", tag=arguments.tag)
        if not info.kept:
            raise SnapshotNotKept(f"the snapshot {arguments.tag} is no on-server backup", tag=arguments.tag)
        copied = await self._copier.copy(context, info, arguments.targets, arguments.throttle_bytes_per_second)
        return outcome_of(copied, arguments.targets, None, cleared=False)
