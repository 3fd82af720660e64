"""What the agent knows of each segment: in, looks at the directories and what was shipped; out, the same after any
crash (`<state>/archiving/ledger.json`).

It is a cache of what directories and destinations say, but for two things that nothing else tells: that a segment which
is nowhere any more once held writes, and from when on a destination was to have all. A ledger that is lost costs a look
at each destination for every segment on the node; what can't be known then is told as not known.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec

from agent.model.commit_log import LossRecord
from agent.model.own_state import own_state
from agent.plan.log_lives import Sighting
from agent.plan.segment_names import segment_id
from kit.atomic_files import write_into

NAME = "ledger.json"
_KEPT = 256
"""Segments that are gone from the node and of which is known what came after."""


class Stamp(msgspec.Struct, frozen=True):
    """By what a file is known to be the same: bytes and modification time in nanoseconds."""

    size: int
    mtime_ns: int


class KnownSegment(msgspec.Struct, frozen=True):
    """`host_id`: whose log it is. `stamp`: of the closed file that was shipped. `places`: the destinations that have
    it listed, whole. `failed`: its archive command failed once, or can't be called at all: Cassandra leaves
    it in its directory. `made_by`: its file was there by then (of an empty one, that is when the one before it was
    taken into use). `opened_at`: no write in it is earlier; `begun_by`: what came from then on is in it or in later
    ones (None: not known). Both are told once it has its place in the log."""

    name: str
    host_id: str
    held_data: bool
    changed_at: float
    stamp: Stamp | None = None
    digest: str = ""
    opened_at: float = 0.0
    previous: str | None = None
    follows: bool = False
    places: tuple[str, ...] = ()
    failed: bool = False
    made_by: float | None = None
    begun_by: float | None = None

    @property
    def sighting(self) -> Sighting:
        """As the rules of lives want it. One whose archiving failed may have been written to since it was looked at,
        until it is in the archive after all."""
        return Sighting(self.name, self.held_data or (self.failed and self.previous is None), self.changed_at)


class PlaceNote(msgspec.Struct, frozen=True):
    """How far a destination is: every write of the node from `since` to `until` (unix seconds) is in it; `newest`: the
    segment up to which that holds."""

    newest: str = ""
    since: float | None = None
    until: float | None = None


class Known(msgspec.Struct, frozen=True):
    """The ledger as it is kept. `commitlog`: Cassandra's own directory, as it last told. `losses`: what can't come any
    more; `told`: how many of them each place was told. `in_force`: whether Cassandra archived when it was last asked;
    `parted`: segments may have gone unseen before those that come with a larger id than `parted_from`."""

    host_id: str = ""
    commitlog: str = ""
    segments: dict[str, KnownSegment] = {}
    places: dict[str, PlaceNote] = {}
    losses: tuple[LossRecord, ...] = ()
    told: dict[str, int] = {}
    in_force: bool = False
    parted: bool = True
    parted_from: int = 0

    def parts(self, name: str) -> bool:
        """Whether segments may have gone unseen before this one."""
        return self.parted and segment_id(name) > self.parted_from


class Ledger:
    """The knowledge of one agent; `known` is replaced as a whole. For one event loop."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "archiving"
        self._saving = asyncio.Lock()
        self._saved = Known()
        self.known = Known()

    def load(self) -> None:
        """Read it; one that is not there or can't be read counts as lost."""
        try:
            self.known = msgspec.json.decode((self._directory / NAME).read_bytes(), type=Known)
        except (OSError, msgspec.DecodeError):
            return
        self._saved = self.known

    async def save(self) -> None:
        """Durable when it returns, if there is anything new. Raises StateFailed."""
        async with self._saving:
            known = self.known
            if known is self._saved:
                return
            with own_state():
                await asyncio.to_thread(write_into, self._directory, NAME, msgspec.json.encode(known))
            self._saved = known

    def get(self, name: str) -> KnownSegment | None:
        """What is known of a segment."""
        return self.known.segments.get(name)

    def put(self, segment: KnownSegment) -> None:
        """Know that of a segment from now on."""
        self.put_all([segment])

    def put_all(self, segments: Iterable[KnownSegment]) -> None:
        """Know that of several."""
        known = self.known.segments
        new = {one.name: one for one in segments if known.get(one.name) != one}
        if new:
            self.change(segments={**known, **new})

    def change(self, **fields: object) -> None:
        """Replace parts of what is known."""
        self.known = msgspec.structs.replace(self.known, **fields)

    def forget_losses(self, before: float) -> None:
        """Let go of losses of before that time which every destination was told of: no kept backup needs that part."""
        known = self.known
        most = min((known.told.get(place, 0) for place in known.places), default=len(known.losses))
        drop = next((at for at, loss in enumerate(known.losses[:most]) if loss.until >= before), most)
        if drop:
            told = {place: count - drop for place, count in known.told.items()}
            self.change(losses=known.losses[drop:], told=told)

    def begin_later(self, place: str, at: float) -> None:
        """What the node received before that time (unix seconds) need not be in the destination any more."""
        note = self.known.places.get(place)
        if note is not None and note.since is not None and note.since < at:
            self.change(places={**self.known.places, place: msgspec.structs.replace(note, since=at)})

    def forget(self, there: Iterable[str]) -> None:
        """Let go of old segments that are not there any more."""
        kept = set(there)
        gone = sorted((name for name in self.known.segments if name not in kept), key=segment_id)
        if len(gone) > 2 * _KEPT:
            drop = set(gone[:-_KEPT])
            self.change(segments={name: one for name, one in self.known.segments.items() if name not in drop})
