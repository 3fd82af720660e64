"""Whether a segment follows the one before it, and which ones were lost. In: what was ever seen of a node's segments
(in its commit-log directory, its archive directory and its destinations). Out: the neighbour of each, losses. Pure.

Ids of one life of Cassandra are consecutive, so within a life nothing hides. Between two lives: the later one's ids
begin at the milliseconds of its start, and every write of the earlier one was before that. So a segment whose id is
later than the last write of the segment before it began a life; with a smaller id it belongs to the same life, and
what should be between them is missing.

That a life ended with a segment is proven by that segment alone: the one that was allocated ahead outlives Cassandra
without a write in it (also when it was killed or drained), and is archived at the next start. So a life whose last
segment that is there holds writes may have had more, which nobody saw: a later life doesn't follow it. One that was
seen with writes and is nowhere any more is lost; one that was seen without any and is gone proves nothing, for it may
have been written to since. The archive program writes down whose archiving failed: of these too is known that they were
there.

Where nothing is known before a segment, its id tells no more than when its life began, and earlier segments of that
life may have been discarded. When Cassandra began to write to it is told by the next one: that is made when this one
is taken into use, and no write goes to an earlier one from then on.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping

import msgspec

from agent.model.commit_log import LossRecord
from agent.plan.segment_names import SegmentName, parse_segment, segment_id


class Sighting(msgspec.Struct, frozen=True):
    """A segment when it was last looked at. `held_data`: there were writes in it, or its archiving failed.
    `changed_at`: its file's modification time, unix seconds: Cassandra ran then."""

    name: str
    held_data: bool
    changed_at: float


class Neighbour(msgspec.Struct, frozen=True):
    """What a SegmentRecord says of the segment before it: `previous` "" where none is known. `end_unknown`: that one is
    of an earlier life, which may have had later segments."""

    previous: str
    follows: bool
    end_unknown: bool = False


def neighbour_of(name: str, seen: Mapping[str, Sighting], there: Collection[str]) -> Neighbour:
    """What comes before the segment. `seen`: all that is known, by name; `there`: the names of those that are in a
    directory or a destination now."""
    return neighbours_of([name], seen, there)[name]


def neighbours_of(names: Iterable[str], seen: Mapping[str, Sighting], there: Collection[str]) -> dict[str, Neighbour]:
    """What comes before each of the segments; as `neighbour_of`, in one go."""
    earlier = sorted(
        parsed
        for other, sighting in seen.items()
        if (sighting.held_data or other in there) and (parsed := parse_segment(other)) is not None
    )
    found = {}
    for name in names:
        own = parse_segment(name)
        if own is None:
            raise ValueError(f"«{name[:80]}» is no segment of a commit log")
        place = bisect_left(earlier, SegmentName(own.id, 0))
        found[name] = _neighbour(own, earlier[place - 1], seen, there) if place else Neighbour("", follows=False)
    return found


def _neighbour(own: SegmentName, last: SegmentName, seen: Mapping[str, Sighting], there: Collection[str]) -> Neighbour:
    before = last.file_name
    if before not in there:
        return Neighbour(before, follows=False)
    if last.id == own.id - 1:
        return Neighbour(before, follows=True)
    if not begins_a_life(own, seen[before]):
        return Neighbour(before, follows=False)
    ended = not seen[before].held_data
    return Neighbour(before, follows=ended, end_unknown=not ended)


def begins_a_life(segment: SegmentName, last: Sighting) -> bool:
    """Whether the segment, not the next id after `last`, is of a later life of Cassandra."""
    return segment.id >= last.changed_at * 1000


def begun_by(
    names: Iterable[str], seen: Mapping[str, Sighting], made: Mapping[str, float], now: float
) -> dict[str, float]:
    """By when (unix seconds) each of the segments was written to at the latest: what the node received from then on is
    in it or in later ones. `seen` has all of them; `made`: segments, by when the file of each was there."""
    known = sorted((segment_id(name), name) for name in made)
    ids = [number for number, _ in known]
    found = {}
    for name in names:
        own = segment_id(name)
        place = bisect_right(ids, own)
        if place == len(ids):
            found[name] = now
        elif ids[place] != own + 1 and begins_a_life(SegmentName(ids[place], 0), seen[name]):
            found[name] = ids[place] / 1000
        else:
            found[name] = made[known[place][1]]
    return found


def losses_of(seen: Iterable[Sighting], there: Collection[str], reason: str, now: float) -> list[LossRecord]:
    """Losses among what was seen: with writes in it, and not `there` any more (in no directory and no destination).
    Neighbours that are lost together make one loss; it goes from the last segment before that is there to the first
    after it."""
    counted = [one for one in seen if one.name in there or one.held_data]
    found: list[LossRecord] = []
    missing: list[Sighting] = []
    last: Sighting | None = None
    for one in sorted(counted, key=lambda sighting: segment_id(sighting.name)):
        if one.name not in there:
            missing.append(one)
            continue
        if missing:
            found.append(_loss(last, missing, one, reason, now))
            missing = []
        last = one
    if missing:
        found.append(_loss(last, missing, None, reason, now))
    return found


def _loss(
    last: Sighting | None, missing: list[Sighting], following: Sighting | None, reason: str, now: float
) -> LossRecord:
    began = last.changed_at if last else min(missing[0].changed_at, segment_id(missing[0].name) / 1000)
    ended = max(one.changed_at for one in missing)
    if following is not None:  # what was lost was written before it began
        own = SegmentName(segment_id(following.name), 0)
        ended = own.id / 1000 if begins_a_life(own, missing[-1]) else following.changed_at
    return LossRecord(
        after=last.name if last else "",
        before=following.name if following else "",
        since=began,
        until=max(began, min(now, ended)),
        reason=reason,
    )
