"""Snapshot and upload in one command: in, BackupArguments; out, UploadResult with the snapshot's own.

    snapshot → listing → opening → storing → publishing → published → clearing

The destinations are being opened from the beginning on. The snapshot goes in any case, unless it is to be kept as an
on-server backup.
"""

import asyncio

import msgspec

from agent.jobs.copying.copied import CLEARING, Copied, outcome_of, recalled
from agent.jobs.copying.copier import Copier
from agent.jobs.copying.openings import Openings
from agent.jobs.snapshot import SnapshotTaker
from agent.model.job import JobContext, Outcome
from agent.wire.commands import BackupArguments
from agent.wire.results import SnapshotResult

TAKEN = "taken"


class BackupJob:
    """The command `backup`."""

    def __init__(self, taker: SnapshotTaker, copier: Copier) -> None:
        self._taker = taker
        self._copier = copier

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises what a snapshot and an upload raise."""
        arguments: BackupArguments = context.arguments
        snapshot = arguments.snapshot
        if context.stages.current == CLEARING:
            taken = msgspec.convert(context.stages.recall(TAKEN), SnapshotResult)
            cleared = await self._taker.clear(snapshot.tag)
            return outcome_of(recalled(context), arguments.targets, taken, cleared=cleared)
        async with self._copier.opening(context, arguments.targets) as opened:
            return await self._backed_up(context, arguments, opened)

    async def _backed_up(self, context: JobContext, arguments: BackupArguments, opened: Openings) -> Outcome:
        snapshot = arguments.snapshot
        before = await self._taker.taken(snapshot.tag, context.command_id)
        try:
            info, tables, taken = await self._taker.take(context, snapshot, _limits(arguments))
        except asyncio.CancelledError:
            if context.undo and before is not None:  # resumed only to be undone: the earlier run may have gone further
                await asyncio.shield(self._copier.undo(before, arguments.targets))
            raise
        inventory = list(tables)
        del tables
        try:
            await context.stages.enter(TAKEN, msgspec.to_builtins(taken))
            if not arguments.targets:
                return outcome_of(Copied({}), (), taken, cleared=False)
            copied = await self._copier.copy(
                context, info, arguments.targets, arguments.throttle_bytes_per_second, inventory, opened
            )
            if not snapshot.keep:
                await context.stages.enter(CLEARING, msgspec.to_builtins(copied))
        except asyncio.CancelledError:
            if context.undo:
                await asyncio.shield(self._taker.clear(snapshot.tag))
            raise
        except Exception:
            if not snapshot.keep:
                await self._taker.clear(snapshot.tag)
            raise
        cleared = False
        if not snapshot.keep:
            cleared = await self._taker.clear(snapshot.tag)
        return outcome_of(copied, arguments.targets, taken, cleared=cleared)


def _limits(arguments: BackupArguments) -> list[float]:
    """Bytes per second of each copy at most: destinations share the command's own limit."""
    shared = arguments.throttle_bytes_per_second / max(len(arguments.targets), 1)
    return [shared, *(target.throttle_bytes_per_second for target in arguments.targets)]
