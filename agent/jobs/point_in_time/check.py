"""PIT_CHECK: may this node be brought to the point, and how? Changes nothing; what it tries on the volumes is removed.

Facts for whoever judges over all nodes: how far the log reaches, what the schema was, what the snapshot holds. Refusals
are only what no other field says.
"""

import asyncio
import shutil
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.cassandra.errors import ControlOfAnotherNode
from agent.cassandra.schema_compare import views_on
from agent.cassandra.service_errors import KeptDown, ServiceNotConfigured
from agent.jobs.archiving.errors import ArchiveCopyDiffers, ArchiveUnread
from agent.jobs.point_in_time.dropped_since import refuse_dropped
from agent.jobs.point_in_time.earlier_restores import none_until, refuse_restored, told_restored
from agent.jobs.point_in_time.fetch import need_of, refuse_future
from agent.jobs.point_in_time.history import told_history
from agent.jobs.point_in_time.kept_before_drop import refuse_without_keeping
from agent.jobs.point_in_time.other_backups import OtherBackups, windows_of
from agent.jobs.point_in_time.point import checked_point, pit_seconds, snapshot_of
from agent.jobs.point_in_time.point_errors import (
    DropKeepsNothing,
    DroppedSince,
    PointInFuture,
    RestoredSince,
    SettingsNotWritable,
    TableNotThen,
    TooManyTables,
    TruncatedSince,
)
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.room import room_for
from agent.jobs.point_in_time.schema_told import replication_told, views_refused
from agent.jobs.point_in_time.seen_logs import SeenLogs, read_logs, read_schemas
from agent.jobs.point_in_time.tables_then import (
    TableThen,
    keyspaces_of,
    named_tables,
    refuse_absent,
    refuse_not_then,
    schema_then,
    tables_then,
)
from agent.jobs.point_in_time.warned import warnings_of
from agent.jobs.point_in_time.writes import NewestWrite, newest_in_snapshot
from agent.jobs.restore.errors import TableNotInBackup
from agent.jobs.restore.source import BackupSource
from agent.model.commit_log import SchemaRecord
from agent.model.job import JobContext, Outcome
from agent.model.manifest import Head, TableReference
from agent.plan.point_precision import fraction_digits
from agent.plan.replay_set import ReplaySet
from agent.wire.node import NodeIdentity, Tables
from agent.wire.point_in_time import PitArguments, PitCheckResult
from kit.atomic_files import make_directory
from kit.errors import HelenusError

Refusal = dict[str, Any]
_NO_AUTO_SNAPSHOT = (
    "auto_snapshot is off: of several TRUNCATEs of a table between snapshot and point only the last one can be seen"
)


class PitCheckJob:
    """See the module."""

    def __init__(self, tools: PointTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Everything that speaks for or against the point, gathered. Raises what reading the sources raises, and what
        the node's answers raise (Cassandra must be up)."""
        arguments = checked_point(context.arguments, named=False)
        identity = await self._tools.node.view.identity()
        await context.stages.enter("reading the log")
        async with (
            self._tools.sources.opened(snapshot_of(arguments, identity.host_id), context.waiting) as source,
            self._tools.logs.opened(arguments, identity.host_id, context.waiting) as logs,
        ):
            seen = await read_logs(source.head.commitlog_floor, logs, self._tools.own)
            records = await read_schemas(logs, self._tools.own, source.head)
            found = await self._judge(context, arguments, identity, source, seen, records)
            if not arguments.others:
                return Outcome(found)
            asked: dict[str, list[str]] = {}
            for one in found.tables:
                asked.setdefault(one.keyspace, []).append(one.table)
            restored = partial(none_until, self._tools.state, context.job, asked, now=found.now)
            others = OtherBackups(self._tools.sources, logs, self._tools.own, restored)
            windows, unread = await others.windows(context, arguments, identity.host_id, source.head, seen, found.now)
            return Outcome(msgspec.structs.replace(found, other_windows=windows, warnings=[*found.warnings, *unread]))

    async def _judge(
        self,
        context: JobContext,
        arguments: PitArguments,
        identity: NodeIdentity,
        source: BackupSource,
        seen: SeenLogs,
        records: Sequence[SchemaRecord],
    ) -> PitCheckResult:
        node, head, now = self._tools.node, source.head, self._tools.clock()
        await context.stages.enter("comparing the schema")
        then = schema_then(head, records, pit_seconds(arguments))
        tables = await tables_then(self._tools, head, records, arguments)
        asked = named_tables(arguments.tables, then, keyspaces_of(head))
        live = await self._tools.live(sorted(asked))
        history = told_history(head, records, live, then, asked, pit_seconds(arguments), now)
        wanted = seen.wanted(need_of(arguments, head))
        archived = seen.archived_alone(need_of(arguments, head))
        chosen = _chosen(head, tables)
        await context.stages.enter("reading the snapshot")
        newest = await self._newest(context, arguments, source, chosen)
        size = sum(record.size for record in wanted.segments)
        room = await room_for(
            source,
            chosen,
            size,
            await node.directories.data(),
            await node.directories.commitlog(),
            context.job or f"check-{context.command_id}",
            node.settings.run_as,
            on_server=arguments.source is None,
        )
        lwt, unseen = await self._lwt(tables)
        restored = await none_until(self._tools.state, context.job, asked, head.taken_at, now)
        return PitCheckResult(
            taken_from=head.taken_at,
            taken_until=head.ended_at,
            floor=wanted.first,
            segments=len(wanted.segments),
            segment_bytes=size,
            files=room.files,
            bytes=room.bytes,
            covered_until=_covered(archived, wanted, head),
            own_log=wanted.goes_on,
            windows=windows_of(wanted, head, now, restored),
            gaps=list(wanted.gaps),
            tables=[one.table for one in tables],
            schema_changes=history.changes,
            schema_doubt=history.doubt,
            topology_changes=[*history.ring_changes, *_own_tokens(head, identity)],
            lwt_tables=lwt,
            counter_tables=[
                one.name
                for one in tables
                if any(column.type == "counter" for column in then[one.table.keyspace].columns[one.table.table])
            ],
            live_views=views_on(asked, live),
            views_at_pit=views_on(asked, then),
            precision="microseconds" if fraction_digits(identity.version) else "seconds",
            volumes=room.volumes,
            refusals=[
                *await self._refusals(context, arguments, head, records, tables, asked, now),
                *views_refused(asked, then, live, enabled=await node.view.views_enabled()),
                *room.refusals,
            ],
            warnings=[
                *warnings_of(arguments, head, tables, wanted, newest),
                *unseen,
                *await told_restored(self._tools.state, context.job, asked, pit_seconds(arguments), now),
                *history.warnings,
                *replication_told(asked, then, live),
                *([] if await node.view.auto_snapshot() else [_NO_AUTO_SNAPSHOT]),
            ],
            now=now,
            newest_write_micros=newest.micros if newest is not None else None,
            newest_write_in=newest.table if newest is not None else "",
            hosts_at_snapshot=history.ring or {identity.host_id: list(head.node.tokens)},
        )

    async def _newest(
        self, context: JobContext, arguments: PitArguments, source: BackupSource, chosen: Sequence[TableReference]
    ) -> NewestWrite | None:
        scratch = self._tools.state / "checks" / context.command_id
        snapshots = self._tools.node.snapshots if arguments.source is None else None
        try:
            await asyncio.to_thread(make_directory, scratch)
            return await newest_in_snapshot(source, snapshots, chosen, scratch)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    async def _refusals(
        self,
        context: JobContext,
        arguments: PitArguments,
        head: Head,
        records: Sequence[SchemaRecord],
        tables: Sequence[TableThen],
        asked: Tables,
        now: float,
    ) -> list[Refusal]:
        found: list[Refusal] = []
        try:
            refuse_future(arguments, now)
        except PointInFuture as error:
            found.append(error.as_dict())
        try:
            refuse_not_then(arguments, tables)
        except TableNotThen as error:
            found.append(error.as_dict())
        try:
            refuse_absent(head, tables)
        except TableNotInBackup as error:
            found.append(error.as_dict())
        tools = self._tools
        for refuse in (tools.refuse_unconfigured, tools.node.control.prove, tools.refuse_unarchived):
            try:
                await refuse()
            except (
                ServiceNotConfigured,
                ControlOfAnotherNode,
                ArchiveUnread,
                ArchiveCopyDiffers,
                ArchivingRefused,
            ) as error:
                found.append(error.as_dict())
        if self._tools.settings is not None:
            try:
                await self._tools.settings.refuse_unsettable(asked, force=arguments.force)
                await self._tools.settings.jvm.refuse_kept_down(but=context.job)
            except (ServiceNotConfigured, SettingsNotWritable, TooManyTables, KeptDown) as error:
                found.append(error.as_dict())
        unknown = [one.name for one in tables if one.beginning == "unknown"]
        if unknown:
            told = f"truncated between snapshot and point, and again later: {', '.join(unknown)}"
            found.append({**TruncatedSince(told, tables=unknown).as_dict(), "lifted_by": "force"})
        try:
            await refuse_dropped(self._tools.node, head, records, tables, arguments)
        except DroppedSince as error:
            found.append({**error.as_dict(), "lifted_by": "force"})
        try:
            await refuse_without_keeping(self._tools.node, tables)
        except DropKeepsNothing as error:
            found.append({**error.as_dict(), "lifted_by": "force"})
        try:
            await refuse_restored(self._tools.state, context.job, asked, head, pit_seconds(arguments))
        except RestoredSince as error:
            found.append(error.as_dict())
        return found

    async def _lwt(self, tables: Sequence[TableThen]) -> tuple[list[str], list[str]]:
        """The tables of which Cassandra keeps the state of lightweight transactions, and a warning when that could not
        be seen. Only so many rows are looked at."""
        try:
            rows = await self._tools.node.cql.rows("SELECT cf_id FROM system.paxos LIMIT 5000")
        except HelenusError as error:
            return [], [f"whether tables were written by lightweight transactions could not be seen: {error.message}"]
        ids = {str(row["cf_id"]).replace("-", "") for row in rows}
        return [one.name for one in tables if one.table.id_at_pit.replace("-", "") in ids], []


def _chosen(head: Head, tables: Sequence[TableThen]) -> list[TableReference]:
    """The snapshot's tables whose SSTables are placed."""
    wanted = {(one.table.keyspace, one.table.table) for one in tables if one.beginning != "empty"}
    return [one for one in head.tables if (one.keyspace, one.table) in wanted]


def _covered(archived: ReplaySet, wanted: ReplaySet, head: Head) -> float | None:
    """How far the archive goes; of one that has nothing yet the snapshot's time, where the own log has it all."""
    if archived.covered_until is None and wanted.goes_on:
        return head.taken_at
    return archived.covered_until


def _own_tokens(head: Head, identity: NodeIdentity) -> list[str]:
    if sorted(head.node.tokens) == sorted(identity.tokens):
        return []
    return [f"{identity.host_id} has other tokens than at the snapshot"]
