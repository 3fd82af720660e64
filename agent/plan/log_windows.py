"""Which points in time a node's archived commit log reaches. In: records of segments, known losses, the floors of
snapshots, a point. Out: runs without a gap, the gaps between them, how far a snapshot can be brought, what to replay.
Pure: no clock, no files.

Two neighbouring segments (by id) belong together when their ids are consecutive, or when the later one says that it is
known to follow the earlier one (a new life of Cassandra has other ids), and the earlier one is whole. A partial copy
ends its run: what was written after it is not there. A loss recorded between two segments parts them, unless their ids
are consecutive: then what was lost has come after all. A loss with no known end ends at the next segment that is there.

A node may have tens of thousands of segments: everything here sorts once and looks up.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from agent.model.commit_log import LossRecord, SegmentRecord
from agent.plan.segment_names import parse_segment, segment_id
from agent.wire.archiving import LogGap

NOT_ARCHIVED = "segments are missing in the archive"
CUT_SHORT = "only a part of the segment was copied before it was lost"
NOT_KNOWN_TO_FOLLOW = "it is not known that no segment is missing between"
BEFORE_ARCHIVING = "the archive begins later than the snapshot"


class LogRun(msgspec.Struct, frozen=True):
    """Segments that lack nothing between them: every write that the node received from `since` to `until` (unix
    seconds) and that was in its commit log is in them, or was in earlier ones that nothing tells of. `since`: when the
    first of them was opened at the earliest, or when the gap before it ended at the latest."""

    records: tuple[SegmentRecord, ...]
    since: float

    @property
    def until(self) -> float:
        """When the last of them was closed, or, of a partial copy, what was synced when it was taken. (An empty one at
        the end of a life bears the time at which it was allocated, before the one before it was closed.)"""
        return max(record.closed_at for record in self.records)


class Coverage(msgspec.Struct, frozen=True):
    """What the archive has for a snapshot with this floor. `covered_until` None: not even the first segment is there.
    `run`: the segments up to then. `gaps`: what is missing from the floor on, also beyond `covered_until`. `first`: the
    first segment that is needed, "" where the snapshot doesn't tell."""

    covered_until: float | None
    run: tuple[SegmentRecord, ...]
    gaps: tuple[LogGap, ...]
    first: str


class Losses:
    """Losses, by where they are in the log."""

    def __init__(self, losses: Iterable[LossRecord]) -> None:
        self._losses = sorted(losses, key=_after)
        self._begins = [_after(loss) for loss in self._losses]
        self._ends = [segment_id(loss.before) if loss.before else _after(loss) + 1 for loss in self._losses]
        self._furthest = list(itertools.accumulate(self._ends, max))

    def between(self, first: int, second: int) -> list[LossRecord]:
        """Those that may be of segments between two that are there, by their ids."""
        place = bisect_left(self._begins, second)
        found = []
        while place and self._furthest[place - 1] > first:
            place -= 1
            if self._ends[place] > first:
                found.append(self._losses[place])
        return found[::-1]

    def after(self, newest: int) -> list[LossRecord]:
        """Those after that segment."""
        return self._losses[bisect_left(self._begins, newest) :]


def chosen(records: Iterable[SegmentRecord]) -> list[SegmentRecord]:
    """One record per segment, in the order of replay: a whole one before a partial one, the partial one that reaches
    further before one that doesn't."""
    best: dict[int, SegmentRecord] = {}
    for record in records:
        number = segment_id(record.name)
        other = best.get(number)
        if other is None or _rank(record) > _rank(other):
            best[number] = record
    return [best[number] for number in sorted(best)]


def _rank(record: SegmentRecord) -> tuple[bool, float, int, float]:
    return record.whole, record.closed_at, record.size, record.copied_at


def runs(records: Iterable[SegmentRecord], losses: Sequence[LossRecord] = ()) -> list[LogRun]:
    """The runs without a gap, oldest first."""
    found: list[list[SegmentRecord]] = []
    since: list[float] = []
    known = Losses(losses)
    for record in chosen(records):
        gap = gap_between(found[-1][-1], record, known) if found else None
        if found and gap is None:
            found[-1].append(record)
        else:
            found.append([record])
            since.append(record.opened_at if gap is None else gap.until)
    return [LogRun(tuple(one), began) for one, began in zip(found, since, strict=True)]


def gaps(records: Iterable[SegmentRecord], losses: Sequence[LossRecord] = ()) -> list[LogGap]:
    """What is missing between the segments that are there, and after the newest where a loss says so."""
    ordered, known = chosen(records), Losses(losses)
    found = [
        gap for earlier, later in itertools.pairwise(ordered) if (gap := gap_between(earlier, later, known)) is not None
    ]
    return found + _lost_after(ordered, losses)


def _lost_after(ordered: Sequence[SegmentRecord], losses: Sequence[LossRecord]) -> list[LogGap]:
    """Losses after the newest segment (after none, where there is none)."""
    newest = segment_id(ordered[-1].name) if ordered else -1
    return [_told(loss) for loss in Losses(losses).after(newest)]


def _told(loss: LossRecord) -> LogGap:
    return LogGap(loss.after, loss.before, loss.since, loss.until, loss.reason)


def _after(loss: LossRecord) -> int:
    return segment_id(loss.after) if loss.after else -1


def gap_between(earlier: SegmentRecord, later: SegmentRecord, losses: Losses) -> LogGap | None:
    """What is missing between two segments that have none between them; None: nothing is."""
    first, second = segment_id(earlier.name), segment_id(later.name)
    if earlier.whole and second == first + 1:
        return None
    told = losses.between(first, second)
    known = later.follows and later.previous == earlier.name
    if earlier.whole and known and not told:
        return None
    if told:
        reason = "; ".join(dict.fromkeys(loss.reason for loss in told))
    elif not earlier.whole:
        reason = CUT_SHORT
    else:
        reason = NOT_KNOWN_TO_FOLLOW if later.previous == earlier.name else NOT_ARCHIVED
    until = max([_ended(earlier.closed_at, later), *(loss.until for loss in told if loss.before == later.name)])
    return LogGap(earlier.name, later.name, earlier.closed_at, until, reason)


def _ended(began: float, later: SegmentRecord) -> float:
    """When a gap before a segment ended. Of one in the same life as what is missing is only known that it was opened
    after Cassandra's start, which was before the gap: then what is missing may reach to its last write."""
    return later.opened_at if later.opened_at >= began else max(began, later.closed_at)


def coverage(
    floor: str | None, taken_at: float, records: Iterable[SegmentRecord], losses: Sequence[LossRecord] = ()
) -> Coverage:
    """How far the archive brings a snapshot. `floor`: the newest segment that was certainly closed before the snapshot
    was taken (at `taken_at`, unix seconds): what is in it and in earlier ones was flushed by the snapshot."""
    ordered = chosen(records)
    lowest = parse_segment(floor) if floor else None
    if lowest is None:
        until = ordered[0].opened_at if ordered else taken_at
        gap = LogGap("", ordered[0].name if ordered else "", taken_at, max(taken_at, until), BEFORE_ARCHIVING)
        return Coverage(None, (), (gap, *gaps(ordered, losses)), "")
    needed = [record for record in ordered if segment_id(record.name) > lowest.id]
    first = lowest.neighbour(1).file_name
    if not needed:
        return Coverage(None, (), tuple(_lost_after(ordered, losses)), first)
    begin = _gap_at_floor(lowest.id, taken_at, needed[0], Losses(losses))
    missing = tuple(gaps(needed, losses))
    if begin is not None:
        return Coverage(None, (), (begin, *missing), first)
    run = runs(needed, losses)[0]
    return Coverage(run.until, run.records, missing, needed[0].name)


def _gap_at_floor(floor: int, taken_at: float, first: SegmentRecord, losses: Losses) -> LogGap | None:
    """What is missing between the floor and the first needed segment that is there. The floor itself need not be."""
    number = segment_id(first.name)
    if number == floor + 1:
        return None
    told = losses.between(floor, number)
    if first.follows and not told and (followed := parse_segment(first.previous)) and followed.id <= floor:
        return None  # the one before it was not needed
    reason = "; ".join(dict.fromkeys(loss.reason for loss in told)) or NOT_ARCHIVED
    return LogGap("", first.name, taken_at, _ended(taken_at, first), reason)


def to_replay(run: Iterable[SegmentRecord], pit: float, late_seconds: float) -> list[SegmentRecord]:
    """Those of a coverage's segments that a replay up to `pit` (unix seconds) needs: opened until `late_seconds` after
    it, as a write may come so much later than its time says (a hint)."""
    return [record for record in run if record.opened_at <= pit + late_seconds]


class SnapshotPoint(msgspec.Struct, frozen=True):
    """A snapshot as a beginning: taken between `taken_at` and `taken_until`, with this floor."""

    taken_at: float
    taken_until: float
    floor: str | None


def windows(
    snapshots: Iterable[SnapshotPoint], records: Iterable[SegmentRecord], losses: Sequence[LossRecord] = ()
) -> list[list[float]]:
    """[from, until] pairs of points that one of the snapshots and the archive reach, oldest first, none touching."""
    ordered, known = chosen(records), Losses(losses)
    ids = [segment_id(record.name) for record in ordered]
    ends = [record.closed_at for record in ordered]  # of the run that goes on from each
    for place in range(len(ordered) - 2, -1, -1):
        if gap_between(ordered[place], ordered[place + 1], known) is None:
            ends[place] = max(ends[place], ends[place + 1])
    found: list[list[float]] = []
    for one in sorted(snapshots, key=lambda point: point.taken_until):
        lowest = parse_segment(one.floor) if one.floor else None
        place = bisect_right(ids, lowest.id) if lowest is not None else len(ids)
        if lowest is None or place == len(ids) or ends[place] < one.taken_until:
            continue
        if _gap_at_floor(lowest.id, one.taken_at, ordered[place], known) is not None:
            continue
        if found and one.taken_until <= found[-1][1]:
            found[-1][1] = max(found[-1][1], ends[place])
        else:
            found.append([one.taken_until, ends[place]])
    return found
