"""PIT_FETCH: the snapshot's SSTables and the archived segments stand verified on the node, before anything is changed.
Repeatable.

    held/<keyspace>/<table>/   on each data volume: SSTables, those of legacy indexes in `.<index>/`
    segments/                  on the commit log's volume: what Cassandra is to replay, but for what it still writes

A table that was made, or truncated for the last time, between snapshot and point begins empty: nothing of it is held.
"""

import asyncio
from collections.abc import Sequence

from agent.cassandra.directories import Volume, volumes
from agent.cassandra.errors import NoDataDirectories
from agent.cassandra.staging import StagingRoot, make_directory
from agent.jobs.point_in_time.dropped_since import refuse_dropped
from agent.jobs.point_in_time.earlier_restores import refuse_restored
from agent.jobs.point_in_time.kept_before_drop import keep_before_drop, refuse_without_keeping
from agent.jobs.point_in_time.notes import SEGMENTS, FetchNotes, NotedPoint, sorted_tables
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.point import (
    checked_point,
    counted_under,
    logs_counted_under,
    pit_seconds,
    snapshot_of,
)
from agent.jobs.point_in_time.point_errors import LogIncomplete, PointBeforeSnapshot, PointInFuture, TruncatedSince
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.seen_logs import read_logs, read_schemas
from agent.jobs.point_in_time.segment_files import Brought, SegmentFetcher, bring_segments, keep_only
from agent.jobs.point_in_time.tables_then import TableThen, refuse_absent, refuse_not_then, tables_then
from agent.jobs.point_in_time.writes import newest_held
from agent.jobs.restore.errors import JobFinished
from agent.jobs.restore.fetch import remove_staging
from agent.jobs.restore.held_files import Counts, bring, noted_roots
from agent.jobs.restore.notes import Asked, Fetched, RestoreNotes
from agent.jobs.restore.source import BackupSource
from agent.model.commit_log import SegmentRecord
from agent.model.job import JobContext, Outcome
from agent.model.manifest import Head
from agent.plan.replay_set import LogNeed, ReplaySet
from agent.wire.point_in_time import PitArguments, PitFetchResult

LOG = ("commitlog", "segments")
"""Keyspace and table under which segments are counted."""


class PitFetchJob:
    """See the module."""

    def __init__(self, tools: PointTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Fetch what is not there yet. Cancelled by a person, what was staged is removed. Raises `PointInFuture`,
        `PointBeforeSnapshot`, `LogIncomplete`, `TruncatedSince`, `DroppedSince`, `DropKeepsNothing`, `RestoredSince`,
        `TableNotThen`, `TableNotInBackup`, `SegmentDamaged`, `JobDiffers`, `JobFinished`, `ArchiveUnread`,
        `ArchivingRefused`, `KeptDown`, and what the sources and a snapshot of what will be dropped raise."""
        arguments = checked_point(context.arguments)
        notes = FetchNotes(self._tools.state, context.job)
        held = RestoreNotes(self._tools.state, context.job)
        async with self._tools.in_use.alone(notes.job):
            if await is_placing(self._tools, context):
                return Outcome(await _as_noted(arguments, notes, held))
            try:
                return Outcome(await self._fetch(context, arguments, notes, held))
            except asyncio.CancelledError:
                if context.undo:
                    await remove_staging(held)
                raise

    async def _fetch(
        self, context: JobContext, arguments: PitArguments, notes: FetchNotes, held: RestoreNotes
    ) -> PitFetchResult:
        node = self._tools.node
        refuse_future(arguments, self._tools.clock())
        host_id = (await node.view.identity()).host_id
        noted = await notes.point()
        if noted is not None and not noted.is_as(arguments):
            noted = None
            await held.forget_fetched()
            await remove_staging(held)
        found = await asyncio.to_thread(volumes, await node.directories.data())
        await context.stages.enter("reading the log")
        async with (
            self._tools.sources.opened(snapshot_of(arguments, host_id), context.waiting, indexes=True) as source,
            self._tools.logs.opened(arguments, host_id, context.waiting) as logs,
        ):
            head = source.head
            refuse_before(arguments, head)
            seen = await read_logs(head.commitlog_floor, logs, self._tools.own)
            wanted = seen.wanted(need_of(arguments, head), force=arguments.force)
            refuse_incomplete(arguments, wanted)
            records = await read_schemas(logs, self._tools.own, head)
            then = await tables_then(self._tools, head, records, arguments)
            refuse_not_then(arguments, then)
            refuse_absent(head, then)
            if not arguments.force:
                await refuse_dropped(node, head, records, then, arguments)
                await refuse_without_keeping(node, then)
            await refuse_restored(self._tools.state, context.job, arguments.tables, head, pit_seconds(arguments))
            empty = noted.empty if noted is not None else _empty(arguments, then)
            roots = await self._roots(held, found)
            if noted is None:
                noted = _noted(arguments, host_id, head, roots[-1], empty)
                await notes.put_point(noted)
            await held.put_asked(_asked(arguments, host_id))
            await notes.forget_covered()
            await context.stages.enter("fetching")
            counts = await self._bring(context, arguments, source, found, roots, empty)
            await self._refuse_later(arguments, roots)
            await context.stages.enter("fetching segments")
            closed = [record for record in wanted.segments if record.name not in seen.written]
            near = seen.nearest(logs, self._tools.own)
            brought = await self._segments(context, arguments, near, closed, noted)
        # Tables are dropped when every node has ended this: what would refuse the stop after it does so before.
        await node.jvm.refuse_kept_down(but=notes.job)
        await self._tools.before_stop()
        await keep_before_drop(node, notes.job, then)
        await held.put_fetched(Fetched(arguments.tag, host_id, counts))
        await notes.put_segments(brought.records, seen.losses)
        return _result(counts, brought.records, brought.left_out)

    async def _roots(self, held: RestoreNotes, found: Sequence[Volume]) -> list[StagingRoot]:
        """Of the data directories, and last that of the commit log."""
        commitlog = await self._tools.node.directories.commitlog()
        if not commitlog:
            raise NoDataDirectories("the node does not name its commit-log directory")
        run_as = self._tools.node.settings.run_as
        roots = await noted_roots(held, [*(volume.path for volume in found), commitlog], run_as)
        await asyncio.to_thread(make_directory, roots[-1], (SEGMENTS,))
        return roots

    async def _bring(
        self,
        context: JobContext,
        arguments: PitArguments,
        source: BackupSource,
        found: Sequence[Volume],
        roots: Sequence[StagingRoot],
        empty: dict[str, list[str]],
    ) -> Counts:
        chosen = [
            one
            for one in source.head.tables
            if one.table in arguments.tables.get(one.keyspace, ()) and one.table not in empty.get(one.keyspace, ())
        ]
        counts = await bring(context.tally, counted_under(arguments), source, chosen, found, roots[:-1], indexes=True)
        return {
            keyspace: {table: counts.get(keyspace, {}).get(table, [0, 0, 0]) for table in tables}
            for keyspace, tables in sorted_tables(arguments).items()
        }

    async def _refuse_later(self, arguments: PitArguments, roots: Sequence[StagingRoot]) -> None:
        """No SSTable may have a write that is later than the point: it would stay. Raises `PointBeforeSnapshot`."""
        newest = await asyncio.to_thread(newest_held, roots[:-1], arguments.tables)
        if newest is not None and newest.micros > arguments.pit_micros and not arguments.force:
            raise PointBeforeSnapshot(
                f"{newest.table} has a write of {newest.micros} µs in the snapshot, later than the point "
                f"{arguments.pit_micros} µs",
                pit=pit_seconds(arguments),
                newest_write_micros=newest.micros,
                table=newest.table,
            )

    async def _segments(
        self,
        context: JobContext,
        arguments: PitArguments,
        source: SegmentFetcher,
        records: Sequence[SegmentRecord],
        noted: NotedPoint,
    ) -> Brought:
        destination = logs_counted_under(arguments)
        context.tally.expect(destination, *LOG, len(records), sum(record.size for record in records))

        def done(record: SegmentRecord) -> None:
            context.tally.done(destination, *LOG, 1, record.size)

        brought = await bring_segments(source, records, noted.root, noted.segments, done, force=arguments.force)
        await asyncio.to_thread(keep_only, noted.segments, {record.name for record in brought.records})
        return brought


async def is_placing(tools: PointTools, context: JobContext) -> bool:
    """Whether PIT_PLACE has begun, or the job has ended, on this node: what stands is not touched any more."""
    placing = PlaceNotes(tools.state, context.job)
    return await placing.plan() is not None or await placing.opened() or await placing.undoing()


async def _as_noted(arguments: PitArguments, notes: FetchNotes, held: RestoreNotes) -> PitFetchResult:
    await notes.must_point(arguments)
    fetched = await held.fetched()
    if fetched is None:
        raise JobFinished(f"the job {notes.job} was finished and cleaned here", job=notes.job)
    standing = await notes.segments()
    return _result(fetched.tables, standing.records if standing is not None else (), [])


def _result(counts: Counts, records: Sequence[SegmentRecord], left_out: Sequence[str]) -> PitFetchResult:
    found = [one for tables in counts.values() for one in tables.values()]
    return PitFetchResult(
        files=sum(files for files, _, _ in found),
        bytes=sum(size for _, size, _ in found),
        segments=len(records),
        segment_bytes=sum(record.size for record in records),
        left_out=list(left_out),
    )


def refuse_future(arguments: PitArguments, now: float) -> None:
    """Raises `PointInFuture`."""
    if pit_seconds(arguments) > now:
        raise PointInFuture(
            f"the point is {pit_seconds(arguments) - now:.1f} s later than now by the node's clock",
            pit=pit_seconds(arguments),
            now=now,
        )


def refuse_before(arguments: PitArguments, head: Head) -> None:
    """Raises `PointBeforeSnapshot` unless the snapshot was whole before the point."""
    if pit_seconds(arguments) < head.ended_at:
        raise PointBeforeSnapshot(
            f"the snapshot {head.tag} was whole {head.ended_at - pit_seconds(arguments):.3f} s after the point",
            pit=pit_seconds(arguments),
            taken_until=head.ended_at,
        )


def refuse_incomplete(arguments: PitArguments, wanted: ReplaySet) -> None:
    """Raises `LogIncomplete` when the log does not reach the point, nor goes on in the node's own. PIT_COVER
    has the last word, when Cassandra is down."""
    pit = pit_seconds(arguments)
    if arguments.force or wanted.goes_on or wanted.reaches(pit):
        return
    gap = next((one for one in wanted.gaps if one.since <= pit), None)
    missing = f": {gap.reason}, between {gap.after or 'the snapshot'} and {gap.before or 'now'}" if gap else ""
    raise LogIncomplete(
        f"the commit log does not reach from the snapshot to the point{missing}",
        covered_until=wanted.covered_until,
        gaps=[{"after": one.after, "before": one.before, "since": one.since, "until": one.until, "reason": one.reason}
              for one in wanted.gaps[:100]],
    )  # fmt: skip


def need_of(arguments: PitArguments, head: Head) -> LogNeed:
    """From where to where the log is needed."""
    return LogNeed(head.commitlog_floor, head.taken_at, pit_seconds(arguments), arguments.late_seconds)


def _empty(arguments: PitArguments, then: list[TableThen]) -> dict[str, list[str]]:
    """The tables that begin empty. Raises `TruncatedSince` without `force`."""
    unknown = [one.name for one in then if one.beginning == "unknown"]
    if unknown and not arguments.force:
        raise TruncatedSince(
            f"truncated between snapshot and point, and again later: {', '.join(unknown)}", tables=unknown
        )
    found: dict[str, list[str]] = {}
    for one in then:
        if one.beginning == "empty":
            found.setdefault(one.table.keyspace, []).append(one.table.table)
    return found


def _noted(
    arguments: PitArguments, host_id: str, head: Head, root: StagingRoot, empty: dict[str, list[str]]
) -> NotedPoint:
    return NotedPoint(
        tag=arguments.tag,
        pit_micros=arguments.pit_micros,
        late_seconds=arguments.late_seconds,
        repository_id=arguments.source.repository_id if arguments.source else None,
        logs_repository_id=arguments.logs.repository_id if arguments.logs else None,
        tables=sorted_tables(arguments),
        host_id=host_id,
        floor=head.commitlog_floor,
        taken_at=head.taken_at,
        root=root,
        empty=empty,
        flushed=head.flushed,
    )


def _asked(arguments: PitArguments, host_id: str) -> Asked:
    repository = arguments.source.repository_id if arguments.source else None
    return Asked(arguments.tag, host_id, repository, sorted_tables(arguments))
