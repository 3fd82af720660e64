"""Which segments a restore to a point needs, and how far they reach. In: a snapshot's floor, records of segments that
are archived and of the node's own log, losses, the point. Out: the segments in the order of replay, coverage, gaps.
Pure.

What Cassandra replays is cut off by the writes' own times. So segments too many do no harm, and one that is missing
goes without any complaint: the set is a beginning of the log without holes, up to the last segment that may have a
write with a time before the point.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from agent.model.commit_log import LossRecord, SegmentRecord
from agent.plan.log_windows import chosen, coverage, to_replay
from agent.plan.segment_names import parse_segment, segment_id
from agent.wire.archiving import LogGap

_STEP_SECONDS = 15.0
"""A clock that goes back by less can't be told from segments that wait for their last sync: Cassandra lets writes go on
into the next ones for so long (1.5 × commitlog_sync_period) [X: PeriodicCommitLogService]."""


class LogNeed(msgspec.Struct, frozen=True):
    """From where to where: `floor` and `taken_at` as SnapshotInfo has them; `pit` unix seconds; `late`: seconds that a
    write may arrive after its time."""

    floor: str | None
    taken_at: float
    pit: float
    late: float


class ReplaySet(msgspec.Struct, frozen=True):
    """`segments`: to be replayed. `covered_until`: nothing is missing from the floor up to then, None: not even the
    first segment is there. `gaps`: what is missing from the floor on. `first`: the first segment that is needed.
    `goes_on`: the last segment of the node's own log belongs to it, and nothing is known to be lost after that one, so
    that it grows with what the node writes."""

    segments: tuple[SegmentRecord, ...]
    covered_until: float | None
    gaps: tuple[LogGap, ...]
    first: str
    goes_on: bool

    def reaches(self, pit: float) -> bool:
        """Whether nothing is missing up to the point (unix seconds)."""
        return self.covered_until is not None and self.covered_until >= pit


def replay_set(
    need: LogNeed,
    archived: Iterable[SegmentRecord],
    own: Sequence[SegmentRecord] = (),
    losses: Sequence[LossRecord] = (),
    *,
    force: bool = False,
) -> ReplaySet:
    """`own`: of the node itself, whether archived as well or not. `force`: segments behind gaps too."""
    # What comes after the segment that is being written is allocated ahead, and empty.
    newest = min((segment_id(record.name) for record in own if not record.whole), default=None)
    if newest is None:
        newest = max((segment_id(record.name) for record in own), default=None)
    known = [record for record in chosen([*archived, *own]) if newest is None or segment_id(record.name) <= newest]
    found = coverage(need.floor, need.taken_at, known, losses)
    run = found.run
    if force:
        lowest = parse_segment(need.floor) if need.floor else None
        run = tuple(record for record in known if lowest is None or segment_id(record.name) > lowest.id)
    wanted = to_replay(run, need.pit, need.late)
    # By order, not by times alone: a clock that was set back must not make a hole.
    segments = run[: run.index(wanted[-1]) + 1] if wanted else ()
    goes_on = bool(found.run) and newest is not None and segment_id(found.run[-1].name) >= newest
    # Of a node that is down the newest segments may be the ones that were lost.
    lost_after = newest is not None and any(not gap.before or segment_id(gap.before) > newest for gap in found.gaps)
    return ReplaySet(
        segments=tuple(segments),
        covered_until=found.covered_until,
        gaps=found.gaps,
        first=found.first,
        goes_on=goes_on and not lost_after,
    )


def clock_steps(segments: Sequence[SegmentRecord]) -> list[tuple[float, float]]:
    """(before, after) of each moment at which the node's clock went back, as the segments tell: the times between
    happened twice, and maybe some before. Told by a segment whose last write is from before an earlier one was opened.
    Of its own opening may be known no more than when its Cassandra started; and the last one of a life, which stays
    empty, is closed before the writes of the one before it."""
    steps: list[tuple[float, float]] = []
    opened, closed = -math.inf, -math.inf
    for record in segments:
        if record.closed_at < opened - _STEP_SECONDS:
            steps.append((closed, record.closed_at))
            opened, closed = record.opened_at, record.closed_at
        opened, closed = max(opened, record.opened_at), max(closed, record.closed_at)
    return steps
