"""What a look at the directories adds to the ledger. In: a look, whether Cassandra archives. Out: the ledger, losses.

A segment gets its place in the log (what came before it, when it was opened) once, when it is first seen closed, so
that every destination is told the same. Losses are what held writes and is nowhere any more, nor in any destination;
that is only said of segments that were seen while Cassandra archived, and after two looks. Old segments that a restore
to a point in time gives to Cassandra's directory are none of this log any more: what has a smaller id than what is
known, and was not known, is passed over. Nothing is lost while the archive directory can't be read.
"""

from collections.abc import Mapping

import msgspec

from agent.jobs.archiving.ledger import KnownSegment, Ledger
from agent.jobs.archiving.looking import Look
from agent.model.commit_log import LossRecord
from agent.plan.log_lives import Neighbour, losses_of, neighbour_of
from agent.plan.segment_names import segment_id

VANISHED = "segments vanished from the node before they were archived"
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
            ledger.change(parted=True)
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
        for one in list(self._ledger.known.segments.values()):
            if not one.host_id:
                self._ledger.put(msgspec.structs.replace(one, host_id=host_id))

    def _sight(self, look: Look, held: Mapping[str, bool], in_force: bool) -> None:
        known = self._ledger.known
        newest = max(map(segment_id, known.segments), default=0)
        for name in look.failed - look.there if in_force else ():
            if name not in known.segments:  # it was deleted before anybody looked
                self._ledger.put(KnownSegment(name, known.host_id, True, segment_id(name) / 1000, failed=True))
        for name, file in {**(look.live if in_force else {}), **look.archived}.items():
            there = known.segments.get(name)
            if there is None and name not in look.archived and segment_id(name) < newest:
                continue
            data = held.get(name, False)
            failed = name in look.failed
            if there is None:
                self._ledger.put(KnownSegment(name, known.host_id, data, file.changed_at, failed=failed))
            elif (data, failed) != (there.held_data, there.failed) and (data or failed):
                self._ledger.put(
                    msgspec.structs.replace(
                        there,
                        held_data=data or there.held_data,
                        failed=failed or there.failed,
                        changed_at=file.changed_at,
                    )
                )

    def _place(self, look: Look, now: float) -> list[LossRecord]:
        """Give those that are new in the archive their place in the log."""
        found = []
        for name in sorted(look.archived, key=segment_id):
            one = self._ledger.known.segments[name]
            if one.previous is not None:
                continue
            segments = self._ledger.known.segments
            there = {other for other, known in segments.items() if other in look.there or known.places}
            seen = {other: known.sighting for other, known in segments.items()}
            neighbour = neighbour_of(name, seen, there)
            before = segments.get(neighbour.previous)
            if before is not None and before.host_id != one.host_id:
                before, neighbour = None, Neighbour("", follows=False)  # another node's log
            changed_at = look.archived[name].changed_at
            consecutive = before is not None and segment_id(before.name) + 1 == segment_id(name)
            follows = neighbour.follows and (consecutive or not self._ledger.known.parted)
            if neighbour.previous and not follows and neighbour.follows and before is not None:
                found.append(
                    LossRecord(before.name, name, before.changed_at, max(before.changed_at, changed_at), NOT_ARCHIVED)
                )
            opened_at = segment_id(name) / 1000
            if before is not None and consecutive:
                opened_at = max(opened_at, before.changed_at)
            self._ledger.put(
                msgspec.structs.replace(
                    one,
                    changed_at=changed_at,
                    opened_at=min(opened_at, changed_at),
                    previous=neighbour.previous,
                    follows=follows,
                )
            )
            if self._ledger.known.in_force and self._ledger.known.parted:
                self._ledger.change(parted=False)
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
        segments = self._ledger.known.segments
        self._ledger.change(segments={name: one for name, one in segments.items() if name not in names})
        self._ledger.change(parted=True)

    def lose(self, found: list[LossRecord]) -> None:
        """Note losses. Those that every destination was told of are let go when there are many."""
        if not found:
            return
        known = self._ledger.known
        losses = (*known.losses, *found)
        drop = 0
        if len(losses) > _MOST_LOSSES:
            drop = min((known.told.get(place, 0) for place in known.places), default=0)
        told = {place: count - drop for place, count in known.told.items()}
        self._ledger.change(losses=losses[drop:], told=told)
