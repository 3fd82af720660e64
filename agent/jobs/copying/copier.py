"""A snapshot's way into its destinations: in, the snapshot and targets; out, a result for each destination.

See `delivery` for the stages. Beside them: Cassandra's disks are watched, and digests of dropped tables are forgotten.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager
from functools import partial

from agent.cassandra.protocol import Snapshots
from agent.jobs.copying.copied import Copied, missing, results_in, with_failed
from agent.jobs.copying.delivery import Delivery
from agent.jobs.copying.errors import SnapshotGivenUp
from agent.jobs.copying.openings import Openings
from agent.jobs.copying.supply import SnapshotSupply
from agent.jobs.taken_files import TakenFiles
from agent.jobs.watermark import Watermark
from agent.model.job import JobContext
from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.pipeline.digest_cache import DigestCache
from agent.storage.threads import MakeWorkers, Workers
from agent.wire.commands import Target
from kit.errors import HelenusError

LiveTables = Callable[[], Awaitable[Set[str]]]
"""Gives the ids of the tables that exist now, as 32 hex digits."""


class Copier:
    """Copies snapshots. Its collaborators are those of every job that does."""

    def __init__(
        self,
        snapshots: Snapshots,
        delivery: Delivery,
        cache: DigestCache,
        watermark: Watermark,
        live_tables: LiveTables,
        taken_files: TakenFiles,
        workers: MakeWorkers = Workers,
    ) -> None:
        self._snapshots = snapshots
        self._delivery = delivery
        self._cache = cache
        self._watermark = watermark
        self._live_tables = live_tables
        self._taken_files = taken_files
        self._workers = workers

    def opening(self, context: JobContext, targets: Sequence[Target]) -> AbstractAsyncContextManager[Openings]:
        """See `Delivery.opening`."""
        return self._delivery.opening(context, targets)

    async def copy(
        self,
        context: JobContext,
        info: SnapshotInfo,
        targets: Sequence[Target],
        throttle: int,
        inventory: list[SnapshotTable] | None = None,
        opened: Openings | None = None,
    ) -> Copied:
        """Copy `info`'s snapshot to all targets; a result for each destination. `throttle`: the command's own limit,
        bytes per second, 0 = none. `inventory`: the snapshot's files, if they were listed already; it is emptied.
        `opened`: the targets, if their opening was begun already. While nothing is published anywhere raises what
        concerns no single destination (SnapshotVanished, DamagedOnServer, SnapshotGivenUp, …)."""
        given_up: list[str] = []
        left = missing(targets, results_in(context))
        supply = SnapshotSupply(self._cache, partial(self._listed, info), self._workers, inventory)
        del inventory
        guarded = partial(self._watermark.guarded, info.tag, given_up=given_up)
        try:
            results = await self._delivery.deliver(context, info, supply, targets, throttle, opened, guarded)
        except HelenusError as error:
            if isinstance(error, SnapshotGivenUp):
                await self.undo(info, left)
            return Copied(with_failed(results_in(context), targets, error), given_up)
        if supply.table_ids:
            await self._forget_dropped(supply.table_ids)
        return Copied(results, given_up)

    def without(self, context: JobContext, targets: Sequence[Target], error: HelenusError) -> Copied:
        """The same, when there is no snapshot to be copied any more. Raises `error` where nothing was published."""
        return Copied(with_failed(self._delivery.published(context, targets), targets, error))

    async def undo(self, info: SnapshotInfo, targets: Sequence[Target]) -> None:
        """See `Delivery.undo`."""
        await self._delivery.undo(info.tag, info.node.host_id, targets)

    async def _listed(self, info: SnapshotInfo) -> list[SnapshotTable]:
        found = await self._snapshots.inventory(info.tag)
        await self._taken_files.compare(info, found)  # else a backup of what is left would pass for the whole
        return list(found)

    async def _forget_dropped(self, copied: Set[str]) -> None:
        """Tables that were dropped since need no digests any more; those that a node can't name now, the next time."""
        with contextlib.suppress(HelenusError):
            await self._cache.keep_tables(copied | await self._live_tables())
