"""What a look at the directories adds to the ledger. In: a look, whether Cassandra archives. Out: the ledger, losses.

A segment gets its place in the log (what came before it, when it was opened) once, when it is first seen closed, so
that every destination is told the same. Losses are what held writes and is nowhere any more, nor in any destination,
also what only the archive command's notes tell of; that is only said of segments that were seen while Cassandra
archived, and after two looks. Old segments that a restore
to a point in time gives to Cassandra's directory are none of this log any more: what has a smaller id than what is
known, and was not known, is passed over. Nothing is lost while the archive directory can't be read. When Cassandra's
last life may have had segments that were never seen, that is told with the first segment of the next one.

A log that begins with a segment, or goes on with it behind a gap, is complete from when Cassandra began to write to
that one: the beginning of its life only where the life before is known, for else earlier segments of the same life may
have been discarded before it archived.
"""

from collections.abc import Iterable, Mapping

import msgspec

from agent.jobs.archiving.ledger import KnownSegment, Ledger
from agent.jobs.archiving.looking import Look
from agent.model.commit_log import LossRecord
from agent.plan.log_lives import Neighbour, begun_by, losses_of, neighbours_of
from agent.plan.segment_names import segment_id

VANISHED = "segments vanished from the node before they were archived"
END_UNKNOWN = "Cassandra ended, and what it wrote last is not known to be in the archive"
NOT_ARCHIVED = "Cassandra did not archive its commit log at that time"
_MOST_LOSSES = 1_000


class Sights:
    """Keeps the ledger in step with the directories. `held` of each look: names of segments with writes in them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._missing: frozenset[str] = frozenset()

    def see(self, look: Look, held: Mapping[str, bool], host_id: str, in_force: bool, now: float) -> list[LossRecord]:
        """Take a look in; losses that are new. `in_force`: what Cassandra writes now is archived."""
        ledger = self._ledger
        if host_id and host_id != ledger.known.host_id:
            ledger.change(host_id=host_id)
        if host_id:
            self._name(host_id)
        if in_force != ledger.known.in_force:
            ledger.change(in_force=in_force)
        if not in_force and not ledger.known.parted:
            # What was seen while Cassandra archived has nothing unseen before it, though it is closed only now.
            ledger.change(parted=True, parted_from=max(map(segment_id, ledger.known.segments), default=0))
        self._sight(look, held, in_force)
        found = self._losses(look, now) if in_force and not look.unread else []
        found += self._place(look, now)
        self.lose(found)
        if not look.unread:
            ledger.forget(look.there)
        return found

    def _name(self, host_id: str) -> None:
        """Segments that were seen before Cassandra told who the node is (the ledger was lost while it was down) are its
        own: without a name they would never be shipped."""
        nameless = [one for one in self._ledger.known.segments.values() if not one.host_id]
        self._ledger.put_all(msgspec.structs.replace(one, host_id=host_id) for one in nameless)

    def _sight(self, look: Look, held: Mapping[str, bool], in_force: bool) -> None:
        known = self._ledger.known
        newest = max(map(segment_id, known.segments), default=0)
        new = []
        for name in (look.failed | look.offered) - look.there if in_force and not look.unread else ():
            one = known.segments.get(name) or KnownSegment(name, known.host_id, True, segment_id(name) / 1000)
            if one.previous is None:  # deleted before anybody looked, or looked again
                new.append(msgspec.structs.replace(one, failed=True))
        for name, file in {**(look.live if in_force else {}), **look.archived}.items():
            there = known.segments.get(name)
            if there is None and name not in look.archived and segment_id(name) < newest:
                continue
            data = held.get(name, False)
            failed = name in look.failed
            if there is None:
                new.append(
                    KnownSegment(name, known.host_id, data, file.changed_at, failed=failed, made_by=file.changed_at)
                )
            elif (data, failed) != (there.held_data, there.failed) and (data or failed):
                new.append(
                    msgspec.structs.replace(
                        there,
                        held_data=data or there.held_data,
                        failed=failed or there.failed,
                        changed_at=file.changed_at,
                    )
                )
        self._ledger.put_all(new)

    def _place(self, look: Look, now: float) -> list[LossRecord]:
        """Give those that are new in the archive their place in the log."""
        known = self._ledger.known
        segments = dict(known.segments)
        unplaced = sorted((name for name in look.archived if segments[name].previous is None), key=segment_id)
        if not unplaced:
            return []
        for name in unplaced:
            changed_at = look.archived[name].changed_at
            segments[name] = msgspec.structs.replace(segments[name], changed_at=changed_at, previous="")
        here = look.there
        there = {other for other, one in segments.items() if other in here or one.places}
        sightings = {other: one.sighting for other, one in segments.items()}
        neighbours = neighbours_of(unplaced, sightings, there)
        begun = begun_by(unplaced, sightings, _made(look, segments.values()), now)
        found, parted = [], known.parted
        for name in unplaced:
            one, neighbour = segments[name], neighbours[name]
            before = segments.get(neighbour.previous)
            if before is not None and before.host_id != one.host_id:
                before, neighbour = None, Neighbour("", follows=False)  # another node's log
            consecutive = before is not None and segment_id(before.name) + 1 == segment_id(name)
            unseen = parted and known.parts(name)
            follows = neighbour.follows and (consecutive or not unseen)
            opened_at = segment_id(name) / 1000
            if before is not None and consecutive:
                opened_at = max(opened_at, before.changed_at)
            elif before is not None and (neighbour.end_unknown or neighbour.follows):
                if not unseen:
                    begun[name] = opened_at  # a life's first segment
                if neighbour.end_unknown or unseen:
                    began, reason = before.changed_at, END_UNKNOWN if neighbour.end_unknown else NOT_ARCHIVED
                    found.append(LossRecord(before.name, name, began, max(began, begun[name]), reason))
            segments[name] = msgspec.structs.replace(
                one,
                opened_at=min(opened_at, one.changed_at),
                begun_by=begun[name],
                previous=neighbour.previous,
                follows=follows,
            )
            parted = parted and not known.in_force
        self._ledger.put_all(segments.values())
        if parted != known.parted:
            self._ledger.change(parted=parted)
        return found

    def _losses(self, look: Look, now: float) -> list[LossRecord]:
        """What was seen with writes in it and is nowhere, at this look and at the one before."""
        segments = self._ledger.known.segments
        there = look.there | {name for name, one in segments.items() if one.places}
        missing = frozenset(name for name, one in segments.items() if one.sighting.held_data and name not in there)
        again = missing & self._missing
        self._missing = missing
        if not again:
            return []
        sightings = [one.sighting for name, one in segments.items() if name in there or name in again]
        found = losses_of(sightings, there, VANISHED, now)
        self.drop(again)
        return found

    def drop(self, names: frozenset[str]) -> None:
        """These are told as lost: they are not looked for any more."""
        known = self._ledger.known
        kept = {name: one for name, one in known.segments.items() if name not in names}
        parted_from = min([*map(segment_id, names), *([known.parted_from] if known.parted else [])], default=0)
        self._ledger.change(segments=kept, parted=True, parted_from=parted_from)

    def lose(self, found: list[LossRecord]) -> None:
        """Note losses, each once: a kill after the note makes what was to follow be done again. Those that every
        destination was told of are let go when there are many."""
        known = self._ledger.known
        noted = {(loss.after, loss.before) for loss in known.losses} if found else set()
        found = [loss for loss in found if (loss.after, loss.before) not in noted]
        if not found:
            return
        losses = (*known.losses, *found)
        drop = 0
        if len(losses) > _MOST_LOSSES:
            drop = min((known.told.get(place, 0) for place in known.places), default=0)
        told = {place: count - drop for place, count in known.told.items()}
        self._ledger.change(losses=losses[drop:], told=told)


def _made(look: Look, known: Iterable[KnownSegment]) -> dict[str, float]:
    """Segments, by when the file of each was there: what was seen first tells most, as a write moves a file's time."""
    made = {name: file.changed_at for name, file in {**look.live, **look.archived}.items()}
    for one in known:
        if one.made_by is not None:
            made[one.name] = min(one.made_by, made.get(one.name, one.made_by))
    return made
