"""What there is of a node's commit log at one moment, archived and on the node. In: two sources, a floor. Out: records,
and what of them a restore needs."""

from collections.abc import Sequence

import msgspec

from agent.jobs.point_in_time.log_sources import NearestSegments
from agent.model.commit_log import LossRecord, SchemaRecord, SegmentRecord
from agent.model.manifest import Head
from agent.pipeline.log_source import LogSource
from agent.plan.log_windows import chosen
from agent.plan.replay_set import LogNeed, ReplaySet, replay_set
from agent.plan.schema_history import merged, with_snapshot
from agent.plan.segment_names import parse_segment


class SeenLogs(msgspec.Struct, frozen=True):
    """`archived`: of the destination (or kept on the node), `own`: everything that is on the node."""

    archived: Sequence[SegmentRecord]
    own: Sequence[SegmentRecord]
    losses: Sequence[LossRecord]

    def wanted(self, need: LogNeed, *, force: bool = False) -> ReplaySet:
        """What is to be replayed, of both."""
        return replay_set(need, self.archived, self.own, self.losses, force=force)

    def archived_alone(self, need: LogNeed) -> ReplaySet:
        """What is to be replayed if the node itself were lost."""
        return replay_set(need, self.archived, (), self.losses)

    @property
    def written(self) -> set[str]:
        """Names of segments that Cassandra still writes: they come when it is down."""
        return {record.name for record in self.own if not record.whole}

    def nearest(self, logs: LogSource, own: LogSource) -> NearestSegments:
        """From where each segment is brought."""
        near = {record.name for record in self.own if record.whole}
        return NearestSegments(own, near, logs, {record.name: record for record in chosen(self.archived)})


async def read_logs(floor: str | None, logs: LogSource, own: LogSource) -> SeenLogs:
    """The node's own first: a segment that is shipped and removed meanwhile is seen in the archive then. One that is
    listed there and not whole is told as lost. Raises what the sources raise."""
    named = parse_segment(floor) if floor else None
    since = 0 if named is None else named.id
    on_node = await own.records(since)
    archived = await logs.records(since)
    cut = await logs.incomplete(archived)
    known = [
        *await own.losses(),
        *await logs.losses(),
        *(_lost(one, cut[one.name]) for one in archived if one.name in cut),
    ]
    losses = {(one.after, one.before): one for one in known}
    return SeenLogs([one for one in archived if one.name not in cut], on_node, list(losses.values()))


async def read_schemas(logs: LogSource, own: LogSource, head: Head) -> list[SchemaRecord]:
    """The node's schema over time: what the archive was told, what the node saw since, up to now, and what it was when
    the snapshot was taken. Raises what the sources raise."""
    seen = merged(await logs.schemas(), await own.schemas())
    return with_snapshot(seen, head.node.schema_version, head.schema, head.taken_at)


def _lost(record: SegmentRecord, reason: str) -> LossRecord:
    """A segment that is listed and can't be had, as a loss: where the node has it itself, it counts for nothing."""
    named = parse_segment(record.name)
    after, before = (named.neighbour(-1).file_name, named.neighbour(1).file_name) if named is not None else ("", "")
    return LossRecord(after, before, record.opened_at, record.closed_at, reason)
