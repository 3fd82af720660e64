"""PIT_COVER: Cassandra is down, and the node's own commit log completes the set of segments. Repeatable.

Only now is the log an end: whatever the node acknowledged is in a file. Segments that nobody fetched, for they were
being written, or closed since, are linked (else copied) from the node; those that were shipped and removed meanwhile
are fetched. Of those in which the snapshot was taken what it has is passed over. Nothing of the node is changed.
Whether the set reaches the point is a barrier for all nodes before any of them sets anything aside; PIT_PLACE looks at
it again.
"""

import asyncio
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from agent.cassandra.commit_log.passing_over import pass_over
from agent.jobs.point_in_time.fetch import is_placing
from agent.jobs.point_in_time.notes import FetchNotes, NotedPoint
from agent.jobs.point_in_time.place_errors import CassandraRuns
from agent.jobs.point_in_time.point import checked_point, logs_counted_under, pit_seconds
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.seen_logs import SeenLogs, read_logs
from agent.jobs.point_in_time.segment_files import Brought, SegmentFetcher, bring_segments, keep_only
from agent.jobs.restore.errors import NotFetched
from agent.model.commit_log import SegmentRecord
from agent.model.job import JobContext, Outcome
from agent.plan.replay_set import LogNeed, ReplaySet
from agent.storage.protocol import Denied, Transient
from agent.wire.point_in_time import PitArguments, PitCoverResult

_LOG = ("commitlog", "segments")
_log = structlog.get_logger(__name__)


class PitCoverJob:
    """See the module."""

    def __init__(self, tools: PointTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Ends well also when the log does not reach the point: the result says how far. Raises `CassandraRuns`,
        `NotFetched`, `JobDiffers`, `SegmentDamaged` (not with `force`), `NotEnoughSpace`, and what the destination
        raises where segments have to be fetched."""
        arguments = checked_point(context.arguments)
        notes = FetchNotes(self._tools.state, context.job)
        async with self._tools.in_use.alone(notes.job):
            point = await notes.must_point(arguments)
            if await is_placing(self._tools, context):
                return Outcome(await notes.must_covered(arguments))
            standing = await notes.segments()
            if standing is None:
                raise NotFetched(f"nothing is fetched for the job {notes.job}", job=notes.job)
            if await self._tools.process.alive():
                raise CassandraRuns("Cassandra runs: its commit log has no end yet")
            await notes.forget_covered()
            await context.stages.enter("reading the node's log")
            own = self._tools.own
            stands = SeenLogs(standing.records, await own.records(point.since), [*standing.losses, *await own.losses()])
            wanted, source = stands.wanted(_need(point), force=arguments.force), stands.nearest(own, own)
            have = await asyncio.to_thread(_sizes, point.segments, {record.name for record in standing.records})
            if wanted.goes_on or wanted.reaches(pit_seconds(arguments) + arguments.late_seconds):
                brought = await self._bring(context, arguments, source, wanted, point, have)
            else:
                try:
                    wanted, brought = await self._with_archive(context, arguments, point, stands, have)
                except (Transient, Denied) as error:
                    if not wanted.reaches(pit_seconds(arguments)):
                        raise
                    _log.warning("late_segments_left_out", job=notes.job, code=error.code, reason=error.message)
                    brought = await self._bring(context, arguments, source, wanted, point, have)
            await asyncio.to_thread(keep_only, point.segments, {record.name for record in brought.records})
            await asyncio.to_thread(_pass_over_flushed, point, brought)
            await notes.put_segments(brought.records, standing.losses)
            result = PitCoverResult(
                covered_until=self._covered_until(wanted, brought),
                gaps=[gap for gap in wanted.gaps if gap.since <= pit_seconds(arguments) + arguments.late_seconds],
                segments=len(brought.records),
                left_out=list(brought.left_out),
            )
            await notes.put_covered(result)
            return Outcome(result)

    def _covered_until(self, wanted: ReplaySet, brought: Brought) -> float | None:
        """A node that is down receives nothing: where the set ends with its newest segment, it lacks nothing up to
        now, however long ago the last write was."""
        until = wanted.covered_until
        if until is None or not wanted.goes_on or brought.left_out:
            return until
        return max(until, self._tools.clock())

    async def _with_archive(
        self, context: JobContext, arguments: PitArguments, point: NotedPoint, stands: SeenLogs, have: Mapping[str, int]
    ) -> tuple[ReplaySet, Brought]:
        """As without, where the destination may have what was closed, shipped and removed since PIT_FETCH: writes of
        before the point may have come late in these."""
        await context.stages.enter("reading the archive")
        async with self._tools.logs.opened(arguments, point.host_id, context.waiting) as logs:
            seen = await read_logs(point.floor, logs, self._tools.own)
            both = SeenLogs([*stands.archived, *seen.archived], seen.own, [*stands.losses, *seen.losses])
            wanted = both.wanted(_need(point), force=arguments.force)
            source = seen.nearest(logs, self._tools.own)
            return wanted, await self._bring(context, arguments, source, wanted, point, have)

    async def _bring(
        self,
        context: JobContext,
        arguments: PitArguments,
        source: SegmentFetcher,
        wanted: ReplaySet,
        point: NotedPoint,
        have: Mapping[str, int],
    ) -> Brought:
        """Those that stand, verified, stay as they are; a copy of a part makes room for the whole segment."""
        await context.stages.enter("adding the node's log")
        missing = [record for record in wanted.segments if have.get(record.name) != record.size]
        destination = logs_counted_under(arguments)
        context.tally.expect(destination, *_LOG, len(missing), sum(record.size for record in missing))

        def done(record: SegmentRecord) -> None:
            context.tally.done(destination, *_LOG, 1, record.size)

        brought = await bring_segments(source, missing, point.root, point.segments, done, force=arguments.force)
        stays = [record for record in wanted.segments if have.get(record.name) == record.size]
        return Brought((*stays, *brought.records), brought.left_out)


def _sizes(directory: Path, names: Collection[str]) -> dict[str, int]:
    """Of those of the files that are there."""
    with os.scandir(directory) as entries:
        return {one.name: one.stat().st_size for one in entries if one.name in names}


def _pass_over_flushed(point: NotedPoint, brought: Brought) -> None:
    """What the snapshot has is not replayed."""
    for record in brought.records:
        if record.name in point.flushed:
            pass_over(point.root, point.segments / record.name, point.flushed[record.name])


def _need(point: NotedPoint) -> LogNeed:
    return LogNeed(point.floor, point.taken_at, point.pit_micros / 1e6, point.late_seconds)
