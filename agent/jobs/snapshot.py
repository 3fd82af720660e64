"""Takes a snapshot, and keeps it as an on-server backup when asked: in, SnapshotArguments; out, SnapshotResult.

snapshot → listing → done
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from agent.cassandra.protocol import Snapshots, unheard
from agent.jobs.copying.rate import CopyRate
from agent.jobs.giving_up import give_up
from agent.jobs.in_use import InUse
from agent.jobs.taken_files import TakenFiles
from agent.model.job import JobContext, Outcome
from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.repository.errors import ZeroBackup
from agent.repository.on_server import OnServer
from agent.wire.commands import SnapshotArguments
from agent.wire.destinations import ON_SERVER
from agent.wire.node import Tables
from agent.wire.results import SnapshotResult
from kit.errors import HelenusError

_log = structlog.get_logger(__name__)


class SnapshotTaker:
    """Takes, describes and clears snapshots, for every job that does."""

    def __init__(
        self, snapshots: Snapshots, on_server: OnServer, taken_files: TakenFiles, in_use: InUse, rate: CopyRate
    ) -> None:
        self._snapshots = snapshots
        self._on_server = on_server
        self._taken_files = taken_files
        self._in_use = in_use
        self._rate = rate

    async def take(
        self,
        context: JobContext,
        arguments: SnapshotArguments,
        limits: Sequence[float] = (),
        chosen: Callable[[Tables], None] = unheard,
    ) -> tuple[SnapshotInfo, tuple[SnapshotTable, ...], SnapshotResult]:
        """The snapshot, its files and the result. What fails or is cancelled by a person leaves no snapshot. `limits`:
        of the copy that follows, bytes per second, 0 = none. `chosen`: see `Snapshots.take`."""
        try:
            await self.clear_owed(but=arguments.tag)
            await context.stages.enter("snapshot")
            rate = self._rate.expected(arguments.throttle_bytes_per_second, *limits)
            async with self._in_use.clearing:  # one of this tag that began before the command was there
                if await self._snapshots.own(arguments.tag) is None:
                    await self._on_server.disown_debt(arguments.tag)  # of an earlier one that is gone
            info = await self._snapshots.take(arguments, context.command_id, copy_rate=rate, chosen=chosen)
            # Nor is what was owed of a failed try any more: that is gone, and this snapshot is wanted.
            await self._on_server.disown_debt(arguments.tag)
        except asyncio.CancelledError:
            if context.undo:
                await asyncio.shield(self._clear_of(arguments.tag, context.command_id))
            raise
        except Exception:
            await self._owe_half_done(arguments.tag, context.command_id)
            raise
        try:
            await context.stages.enter("listing")
            tables = await self._snapshots.inventory(arguments.tag)
            if not tables and not info.schema:
                raise ZeroBackup(f"the snapshot {arguments.tag} holds no table", tag=arguments.tag)
            await self._taken_files.note(info, tables, context.command_id)
            return info, tables, snapshot_result(info, tables)
        except asyncio.CancelledError:
            if context.undo:
                await asyncio.shield(self.clear(arguments.tag))
            raise
        except Exception:
            await self.clear(arguments.tag)
            raise

    async def taken(self, tag: str, command_id: str) -> SnapshotInfo | None:
        """The snapshot, if an earlier run of the command completed it."""
        own = await self._snapshots.own(tag)
        return await self._snapshots.info(tag) if own is not None and own.command_id == command_id else None

    async def clear(self, tag: str) -> bool:
        """Clear the agent's own snapshot with all that is kept of it. One that can't be cleared now (False) is owed: it
        is tried again. A full disk takes no debt: the log tells. Raises nothing, for who clears after an error has that
        one to tell."""
        try:
            await give_up(tag, self._snapshots, self._on_server)
        except HelenusError as error:
            event = "snapshot_owed" if await self._is_owed(tag) else "snapshot_not_cleared"
            _log.warning(event, tag=tag, code=error.code, reason=error.message)
            return False
        except Exception:  # noqa: BLE001 - whatever it is
            _log.exception("snapshot_not_cleared", tag=tag)
            return False
        return True

    async def _is_owed(self, tag: str) -> bool:
        try:
            return tag in {*await self._on_server.owed(), *await self._half_done()}
        except HelenusError:
            return False

    async def owe(self, tag: str) -> None:
        """Note that a complete snapshot is to go, unless it is uploaded again before. Where the disk takes no debt it
        goes now: else nobody would ever clear it. Raises nothing, as `clear`."""
        try:
            await self._on_server.owe(tag)
        except HelenusError as error:
            _log.warning("debt_not_written", tag=tag, code=error.code, reason=error.message)
            await self.clear(tag)

    async def clear_owed(self, but: str = "") -> list[str]:
        """Clear the snapshots that are owed, or half done, and that no command works on; those that still are owed."""
        tags = sorted({*await self._on_server.owed(), *await self._half_done()})
        return [tag for tag in tags if tag != but and not await self._clear_idle(tag)]

    async def clear_unwanted(self) -> list[str]:
        """As `clear_owed`, of those that were never complete or that nobody will want any more: the others that are
        owed may yet be uploaded again."""
        tags = sorted({*await self._on_server.doomed(), *await self._half_done()})
        return [tag for tag in tags if not await self._clear_idle(tag)]

    async def _clear_idle(self, tag: str) -> bool:
        """False if the snapshot is still owed: one that a command works on is that command's business."""
        async with self._in_use.clearing:
            return self._in_use.has(tag) or await self.clear(tag)

    async def _half_done(self) -> list[str]:
        return [one.tag for one in await self._snapshots.ours() if not one.complete]

    async def _clear_of(self, tag: str, command_id: str) -> None:
        """Clear the snapshot if it is the command's: it may have ended before it took any, for another has the tag."""
        own = await self._snapshots.own(tag)
        if own is not None and own.command_id == command_id:
            await self.clear(tag)

    async def _owe_half_done(self, tag: str, command_id: str) -> None:
        """Where a try of the command has left something that could not be cleared. Its note is a debt of its own."""
        try:
            own = await self._snapshots.own(tag)
            if own is not None and own.command_id == command_id and not own.complete:
                await self._on_server.owe(tag)
        except HelenusError as error:
            _log.warning("debt_not_written", tag=tag, code=error.code, reason=error.message)


class SnapshotJob:
    """The command `snapshot`."""

    def __init__(self, taker: SnapshotTaker) -> None:
        self._taker = taker

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises what `Snapshots.take` and `inventory` raise. Counts the snapshot's files, and so the
        tables that are done, under OPSC_ON_SERVER."""
        tally = context.tally
        wanted: set[tuple[str, str]] = set()

        def chosen(tables: Tables) -> None:
            # How many files a table has shows when the snapshot is listed: until then it is one that isn't done.
            for keyspace, names in tables.items():
                for table in names:
                    wanted.add((keyspace, table))
                    tally.expect(ON_SERVER, keyspace, table, 1, 0)

        _, tables, result = await self._taker.take(context, context.arguments, chosen=chosen)
        for keyspace, name in wanted - {(table.keyspace, table.table) for table in tables}:
            tally.expect(ON_SERVER, keyspace, name, 0, 0)  # dropped since
        for table in tables:
            size = sum(file.size for file in table.files)
            tally.expect(ON_SERVER, table.keyspace, table.table, len(table.files), size)
            tally.done(ON_SERVER, table.keyspace, table.table, len(table.files), size)
        return Outcome(result)


def snapshot_result(info: SnapshotInfo, tables: Sequence[SnapshotTable]) -> SnapshotResult:
    """What a snapshot holds, counted."""
    sizes: dict[str, int] = dict.fromkeys(info.tables, 0)
    for table in tables:
        sizes[table.keyspace] = sizes.get(table.keyspace, 0) + sum(file.size for file in table.files)
    return SnapshotResult(
        tag=info.tag,
        taken_at=info.taken_at,
        schema_version=info.node.schema_version,
        tables=info.tables,
        files=sum(len(table.files) for table in tables),
        bytes=sum(sizes.values()),
        sizes=sizes,
    )
