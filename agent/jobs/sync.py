"""Copies a backup that is there already to destinations: in, SyncArguments; out, UploadResult. The backup stays.

    opening → storing → publishing → published

It is a kept on-server snapshot, or this node's part in another destination; or that of a node that left the ring, for
which somebody has to do it. Of the other destination only those objects are read that a target lacks.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from agent.cassandra.errors import SnapshotMissing
from agent.cassandra.protocol import Snapshots
from agent.jobs.copying.copied import Copied, missing, outcome_of, results_in, with_failed
from agent.jobs.copying.copier import Copier
from agent.jobs.copying.delivery import Delivery
from agent.jobs.copying.errors import SnapshotNotKept
from agent.jobs.copying.other_destination import DestinationSupply, info_of
from agent.model.job import JobContext, Outcome
from agent.plan.adoption import refusal
from agent.repository.errors import AdoptionRefused
from agent.repository.manifest import Manifest
from agent.repository.opened import OpenedRepository, Repositories
from agent.repository.undeleted import undeleted_manifest
from agent.storage.threads import MakeWorkers, Workers
from agent.wire.commands import SyncArguments, Target
from kit.errors import HelenusError


class SyncJob:
    """The command `sync`. `host_id`: asks the node who it is, `ring` for the host ids of all members by address (""
    where one has none yet)."""

    def __init__(
        self,
        snapshots: Snapshots,
        copier: Copier,
        repositories: Repositories,
        delivery: Delivery,
        host_id: Callable[[], Awaitable[str]],
        ring: Callable[[], Awaitable[Mapping[str, str]]],
        workers: MakeWorkers = Workers,
    ) -> None:
        self._snapshots = snapshots
        self._copier = copier
        self._repositories = repositories
        self._delivery = delivery
        self._host_id = host_id
        self._ring = ring
        self._workers = workers

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises SnapshotMissing, SnapshotNotKept, AdoptionRefused, CopyFailed; while nothing is
        published anywhere also what reading the source raises, and what concerns no single destination."""
        arguments: SyncArguments = context.arguments
        if arguments.source is None:
            copied = await self._from_snapshot(context, arguments)
        else:
            copied = await self._from_destination(context, arguments, arguments.source)
        return outcome_of(copied, arguments.targets, None, cleared=False)

    async def _from_snapshot(self, context: JobContext, arguments: SyncArguments) -> Copied:
        info = await self._snapshots.info(arguments.tag)
        if info is None:
            gone = SnapshotMissing(f"there is no on-server backup {arguments.tag}", tag=arguments.tag)
            return self._copier.without(context, arguments.targets, gone)
        if not info.kept:
            raise SnapshotNotKept(f"the snapshot {arguments.tag} is no on-server backup", tag=arguments.tag)
        return await self._copier.copy(context, info, arguments.targets, arguments.throttle_bytes_per_second)

    async def _from_destination(self, context: JobContext, arguments: SyncArguments, source: Target) -> Copied:
        host_id, targets = arguments.source_host_id, arguments.targets
        if not missing(targets, results_in(context)):
            # An earlier run came to its end, and was not told of: the source may be gone by now.
            return Copied(self._delivery.published(context, targets))
        resumed = bool(context.stages.current)
        delivered = False
        try:
            adopting = host_id != await self._host_id()
            if adopting and (why := refusal(await self._ring(), host_id)) is not None:
                raise AdoptionRefused(why, host_id=host_id)
            async with self._read_from(context, arguments, source) as (opened, manifest):
                delivered = True
                supply = DestinationSupply(opened, manifest, self._workers, adopting=adopting)
                throttle = arguments.throttle_bytes_per_second
                return Copied(await self._delivery.deliver(context, info_of(manifest.head), supply, targets, throttle))
        except BaseException as error:
            # What an earlier run has begun at the targets is not gone on with.
            if resumed and not delivered and (context.undo or isinstance(error, Exception)):
                await asyncio.shield(self._delivery.undo(arguments.tag, host_id, targets))
            if not isinstance(error, HelenusError):
                raise
            results = results_in(context) if delivered else self._delivery.published(context, targets)
            return Copied(with_failed(results, targets, error))

    @asynccontextmanager
    async def _read_from(
        self, context: JobContext, arguments: SyncArguments, source: Target
    ) -> AsyncIterator[tuple[OpenedRepository, Manifest]]:
        # Not `discerning`: a table that is left out of a copy is never added to it, and a store that is merely slow
        # gives small files long after it gives no large ones.
        async with self._repositories.opened(source, context.waiting) as opened:
            yield opened, await undeleted_manifest(opened, arguments.tag, arguments.source_host_id)
