"""Reads again what this node stored (or one that left the ring, for which somebody has to do it), and finds what is
damaged or missing: in, ScrubArguments; out, ScrubResult.

    looking → reading → naming

Looking: every manifest of an undeleted backup is read, and what it names must be listed with its size. Reading: the
slices that are due (agent.plan.scrub) and a sample of the newest are read and verified by their own footers; then all
plans, records and marks are, and every manifest that a record says this node put is looked for; and so is the commit
log's archive (agent.jobs.scrub.segments).
Naming: what is wrong is looked at once more, noted beside the objects, so that the next backup puts it anew, and told
by backup, keyspace, table and file.

It changes nothing but its notes and needs no lock: what a sweep removes meanwhile is gone from the manifests when they
are looked at again. It reads one object at a time and lets every other command of its destination go first.
Interrupted, it goes on with the slices that it had not read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from agent.crypto.digest import digest
from agent.jobs.scrub.errors import RepositoryDamaged, ScrubYields, told
from agent.jobs.scrub.naming import NodeNames, ScrubManifests
from agent.jobs.scrub.notes import ScrubNote, ScrubNotes
from agent.jobs.scrub.reading import ObjectReader, Verdict
from agent.jobs.scrub.records import MISSING, ScrubRecords
from agent.jobs.scrub.segments import SegmentScrub
from agent.model.job import JobContext, Outcome
from agent.plan.adoption import refusal
from agent.plan.scrub import SLICES, Sample, due_slices
from agent.repository.damage_notes import DamagedObject, DamageNotes
from agent.repository.data_objects import data_objects
from agent.repository.discerning import discerning
from agent.repository.errors import AdoptionRefused
from agent.repository.keys import data_prefix
from agent.repository.opened import OpenedRepository, Repositories
from agent.wire.commands import ScrubArguments, State
from agent.wire.results import DamagedPlace, ScrubResult

YIELD_SECONDS = 5.0
"""How often a scrub that lets others go first looks whether they have ended."""
_MOST_SUSPECTS = 10_000
"""Objects that are looked at again and noted in one run; of what is lost as a whole, the next run notes more."""
_MOST_PLACES = 100
_LOGGED_PLACES = 20
READING = "reading"
_log = structlog.get_logger(__name__)


class Share(msgspec.Struct, frozen=True):
    """What one command reads, decided once: when it began (unix seconds), and the slices."""

    began: float
    slices: list[int]


class ScrubJob:
    """The command `scrub`. `host_id`: asks the node who it is. `busy`: whether other commands use a destination.
    `period`: seconds in which everything is read; `sample`: objects beside that."""

    def __init__(
        self,
        repositories: Repositories,
        notes: ScrubNotes,
        host_id: Callable[[], Awaitable[str]],
        ring: Callable[[], Awaitable[Mapping[str, str]]],
        busy: Callable[[str], bool],
        clock: Callable[[], float],
        *,
        period: float,
        sample: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._repositories = repositories
        self._notes = notes
        self._host_id = host_id
        self._ring = ring
        self._busy = busy
        self._clock = clock
        self._period = period
        self._sample = sample
        self._sleep = sleep

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises AdoptionRefused, a StorageError, StateFailed, what opening raises."""
        arguments: ScrubArguments = context.arguments
        host_id = arguments.adopt or await self._host_id()
        why = None if arguments.adopt is None else refusal(await self._ring(), host_id)
        if why is not None:
            raise AdoptionRefused(why, host_id=host_id)

        async def turn() -> None:
            await self._let_others(context, arguments.target.destination)

        async with self._repositories.opened(arguments.target, context.waiting) as found:
            opened = discerning(found)
            await context.stages.enter("looking")
            adopted = arguments.adopt is not None
            note = self._notes.of(opened.destination_id, opened.repository_id, host_id, adopted=adopted)
            if note.command != context.command_id:
                note = msgspec.structs.replace(note, command=context.command_id, done=())
            share = self._share(context, note, whole=arguments.whole)
            reader = ObjectReader(opened, turn)
            scrub = _Scrub(opened, host_id, reader, self._notes, note)
            named = await scrub.look(Sample(self._sample, _seed(context.command_id), share.began))
            await context.stages.enter(READING, share)
            await scrub.read(share)
            broken = await ScrubRecords(opened, host_id).wrong(await scrub.tags())
            logs = await SegmentScrub(opened, host_id, reader).read(share.slices)
            await context.stages.enter("naming")
            result = msgspec.structs.replace(
                await scrub.tell(named, broken, self._clock()),
                segments=logs.segments,
                damaged_segments=list(logs.damaged[:_MOST_PLACES]),
                more_segments=max(0, len(logs.damaged) - _MOST_PLACES),
            )
        return _outcome(result, opened.destination_id, host_id)

    def _share(self, context: JobContext, note: ScrubNote, *, whole: bool) -> Share:
        """What was decided in an earlier run of the command, or is due now."""
        saved = context.stages.recall(READING)
        if saved is not None:
            return msgspec.convert(saved, Share)
        now = self._clock()
        return Share(now, list(range(SLICES)) if whole else due_slices(note.read, note.run, now, self._period))

    async def _let_others(self, context: JobContext, destination: str) -> None:
        if not self._busy(destination):
            return
        context.waiting(ScrubYields(destination).as_dict())
        try:
            while self._busy(destination):
                await self._sleep(YIELD_SECONDS)
        finally:
            context.waiting(None)


class _Scrub:
    """One scrub of one node's objects."""

    def __init__(
        self, opened: OpenedRepository, host_id: str, reader: ObjectReader, notes: ScrubNotes, note: ScrubNote
    ) -> None:
        self._opened = opened
        self._host_id = host_id
        self._reader = reader
        self._notes = notes
        self._note = note
        self._manifests = ScrubManifests(opened, host_id)
        self._damage = DamageNotes(opened, host_id)
        self._suspects: dict[DamagedObject, None] = {}
        self._more = False  # there are others
        self._newer = dict.fromkeys(note.newer)
        self._sampled: Sample | None = None
        self._slices = 0
        self._sample_read = 0

    async def look(self, sample: Sample) -> NodeNames:
        """Read the manifests, then list the objects: those of a manifest are there before it is."""
        named = await self._manifests.named()
        oldest: list[float | None] = [None] * SLICES
        wanted = named.sizes
        async for one in data_objects(self._opened.storage, self._opened.cluster_id, self._host_id):
            before = oldest[one.name[0]]
            oldest[one.name[0]] = one.modified if before is None else min(before, one.modified)
            sample.add(one.key, one.name, one.size, one.modified)
            if one.promised is not None and one.promised != one.size:
                self._suspect(one.key)
            elif wanted.get(one.name, one.codec) == one.size:
                wanted.discard(one.name, one.codec)
            else:
                named.others.discard(one.key)
        self._sampled = sample
        self._note = msgspec.structs.replace(self._note, oldest=tuple(oldest))
        for frame in named.frames:
            self._suspect(frame)
        return named

    async def tags(self) -> list[str]:
        """The node's undeleted backups."""
        return await self._manifests.tags()

    async def read(self, share: Share) -> None:
        """Read the slices of the share that an earlier run of the command has not, and the sample."""
        for number in share.slices:
            if number not in self._note.done:
                await self._slice(number)
                read = list(self._note.read)
                read[number] = share.began
                done = (*self._note.done, number)
                self._note = msgspec.structs.replace(self._note, read=tuple(read), done=done, newer=tuple(self._newer))
                await self._notes.put(self._note)
            self._slices += 1
        for one in self._sampled.drawn() if self._sampled is not None else ():
            if one.name[0] not in share.slices:
                self._sample_read += 1
                await self._listed(one.key)
        self._note = msgspec.structs.replace(self._note, run=share.began)

    async def tell(self, named: NodeNames, broken: list[DamagedPlace], now: float) -> ScrubResult:
        """Look at what is wrong again, note it, forget what is right, and name what it takes from which backup."""
        noted = set(await self._damage.standing())
        for key in (*(one.key for one in noted), *self._newer):
            self._suspect(key)
        needed = await self._needed_again(named)
        reasons: dict[str, str] = {}
        newer = [key for key in self._newer if self._damage.object_of(key) not in self._suspects]
        healed = []
        for one in self._suspects:
            verdict = await self._reader.read(one, needed.get(one.key))
            if verdict is Verdict.RIGHT and one.key in named.frames:
                verdict = Verdict.DAMAGED  # its footer is right, and yet nobody can restore from it
            if verdict is Verdict.RIGHT or (verdict is Verdict.GONE and one.key not in needed):
                healed += [one] if one in noted else []
                continue
            reasons[one.key] = verdict.value
            if verdict is Verdict.NEWER:
                newer.append(one.key)
            if one not in noted and verdict is not Verdict.NEWER:  # what a later version put must not be replaced
                await self._damage.put(one, verdict.value)
        await self._damage.clear(healed)
        places = [*named.broken, *broken]
        beside = {place.key: place.reason for place in places}  # one manifest may have several places
        more = max(0, len(places) - _MOST_PLACES)
        concerned = {place.tag for place in places}
        del places[_MOST_PLACES:]
        if reasons:
            async for place in self._manifests.places(reasons):
                concerned.add(place.tag)
                if len(places) < _MOST_PLACES:
                    places.append(place)
                else:
                    more += 1
        damaged = sum(Verdict(reason).is_damage for reason in reasons.values())
        damaged += sum(reason not in (MISSING, Verdict.NEWER) for reason in beside.values())
        missing = sum(reason == Verdict.GONE for reason in reasons.values())
        missing += sum(reason == MISSING for reason in beside.values())
        self._note = msgspec.structs.replace(self._note, damaged=damaged, missing=missing, newer=tuple(newer))
        await self._notes.put(self._note)
        since = self._note.unread_since
        return ScrubResult(
            objects=self._reader.objects,
            bytes=self._reader.bytes,
            slices=self._slices,
            sampled=self._sample_read,
            manifests=named.manifests,
            damaged=damaged,
            missing=missing,
            healed=len(healed),
            places=places,
            more_places=more,
            backups=sorted(concerned),
            more_objects=self._more,
            oldest_unread_seconds=None if since is None else max(0.0, now - since),
        )

    async def _needed_again(self, named: NodeNames) -> dict[str, int]:
        """Of what seemed missing or suspect, the keys that undeleted backups name now, with the sizes that they give:
        a sweep may have been here. What seemed missing, or had another size, becomes suspect."""
        candidates = {one.key for one in self._suspects}
        if not candidates and not len(named.sizes) and not named.others:
            return {}
        needed: dict[str, int] = {}
        async for key, one in self._manifests.keys():
            unlisted = named.sizes.get(one.name, one.codec) == one.size or key in named.others
            if key in candidates or (unlisted and self._suspect(key)):
                needed[key] = one.size
        return needed

    async def _slice(self, number: int) -> None:
        prefix = data_prefix(self._opened.cluster_id, self._host_id)
        async for entry in self._opened.storage.list(f"{prefix}{number:02x}/"):
            await self._listed(entry.key)

    async def _listed(self, key: str) -> None:
        """Read an object; damage is noted at once, so that a scrub that is interrupted has told it."""
        one = self._damage.object_of(key)
        verdict = Verdict.RIGHT if one is None else await self._reader.read(one)
        if one is not None and verdict.is_damage:
            await self._damage.put(one, verdict.value)
        if (verdict.is_damage or verdict is Verdict.NEWER) and self._suspect(key) and verdict is Verdict.NEWER:
            self._newer[key] = None

    def _suspect(self, key: str) -> bool:
        """Have an object looked at again; whether that will be."""
        one = self._damage.object_of(key)
        if one is None:
            return False
        if one not in self._suspects and len(self._suspects) >= _MOST_SUSPECTS:
            self._more = True
            return False
        self._suspects[one] = None
        return True


def _outcome(result: ScrubResult, destination: str, host_id: str) -> Outcome:
    for place in result.places[:_LOGGED_PLACES]:
        _log.error("backup_damaged", destination=destination, **msgspec.structs.asdict(place))
    for one in result.damaged_segments[:_LOGGED_PLACES]:
        _log.error("commit_log_segment_damaged", destination=destination, **msgspec.structs.asdict(one))
    if not result.damaged and not result.missing and not result.places and not result.damaged_segments:
        return Outcome(result)
    log = ""
    if result.damaged_segments:
        count = len(result.damaged_segments) + result.more_segments
        log = f"; {count} segments of the commit log can't be had: {result.damaged_segments[0].segment}"
    named = f": {told(result.places[0], host_id)}" if result.places else ""
    error = RepositoryDamaged(
        f"{result.damaged} objects or manifests are damaged and {result.missing} missing in {destination}, which "
        f"concerns {len(result.places) + result.more_places} files or manifests of backups{named}{log}",
        destination=destination,
        damaged=result.damaged,
        missing=result.missing,
        places=[msgspec.structs.asdict(place) for place in result.places[:_LOGGED_PLACES]],
        segments=[one.segment for one in result.damaged_segments[:_LOGGED_PLACES]],
    )
    return Outcome(result, State.PARTIAL, error.as_dict())


def _seed(command_id: str) -> bytes:
    return digest(command_id.encode())
