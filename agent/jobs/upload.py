"""Copies a snapshot that was taken before to its destinations: in, UploadArguments; out, UploadResult.

    opening → storing → publishing → published → clearing

Afterwards the snapshot goes, unless it is an on-server backup. It stays (and is owed) when a destination failed, so
that the upload can be asked for again; a person's cancel clears it.
"""

import asyncio

import msgspec

from agent.cassandra.errors import SnapshotMissing
from agent.cassandra.protocol import Snapshots
from agent.jobs.copying.copied import CLEARING, outcome_of, recalled
from agent.jobs.copying.copier import Copier
from agent.jobs.copying.errors import SnapshotGivenUp
from agent.jobs.snapshot import SnapshotTaker
from agent.model.job import JobContext, Outcome
from agent.repository.on_server import OnServer
from agent.wire.commands import UploadArguments


class UploadJob:
    """The command `upload`."""

    def __init__(self, snapshots: Snapshots, taker: SnapshotTaker, copier: Copier, on_server: OnServer) -> None:
        self._snapshots = snapshots
        self._taker = taker
        self._copier = copier
        self._on_server = on_server

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises SnapshotMissing, CopyFailed, what concerns no single destination."""
        arguments: UploadArguments = context.arguments
        if context.stages.current == CLEARING:
            cleared = await self._taker.clear(arguments.tag)
            return outcome_of(recalled(context), arguments.targets, None, cleared=cleared)
        info = await self._snapshots.info(arguments.tag)
        if info is None:
            gone = SnapshotMissing(f"the agent has no snapshot {arguments.tag}", tag=arguments.tag)
            copied = self._copier.without(context, arguments.targets, gone)
            return outcome_of(copied, arguments.targets, None, cleared=False)
        # Owed since an earlier upload failed: asked for again, it is wanted until this one has ended.
        if not info.kept:
            await self._on_server.disown_debt(arguments.tag)
        try:
            copied = await self._copier.copy(context, info, arguments.targets, arguments.throttle_bytes_per_second)
            whole = not info.kept and all(one.outcome != "failed" for one in copied.targets.values())
            if whole:
                await context.stages.enter(CLEARING, msgspec.to_builtins(copied))
        except asyncio.CancelledError:
            if context.undo and not info.kept:
                await asyncio.shield(self._taker.clear(arguments.tag))
            raise
        except SnapshotGivenUp:
            raise  # it is gone: nothing is owed
        except Exception:
            if not info.kept:
                await self._taker.owe(arguments.tag)
            raise
        cleared = False
        if whole:
            cleared = await self._taker.clear(arguments.tag)
        elif not info.kept:
            await self._taker.owe(arguments.tag)
        return outcome_of(copied, arguments.targets, None, cleared=cleared)
