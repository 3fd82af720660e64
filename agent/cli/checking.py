"""`check`: in, an open repository; out, what is wrong with its backups, on the screen, and how much that is."""

from agent.cli.cluster_files import check_cluster_files
from agent.cli.completeness import missing_in
from agent.cli.listed_objects import ListedObjects
from agent.cli.listing import undeleted
from agent.cli.screen import Screen, size_of
from agent.jobs.scrub.naming import ScrubManifests
from agent.jobs.scrub.reading import ObjectReader, Verdict
from agent.repository.catalogue import UNREADABLE, Catalogue, RecordCache
from agent.repository.damage_notes import DamageNotes
from agent.repository.data_objects import data_objects
from agent.repository.keys import catalogue_prefix
from agent.repository.opened import OpenedRepository
from agent.wire.results import DamagedPlace

_SHOWN = 1_000
"""Places that are told one by one."""
MOST_WRONG = 100_000
"""Wrong objects of a node whose files are looked for: some 30 MB. Where all are gone, the first tell enough."""


class _Wrong(dict[str, str]):
    """Key → what is wrong, of so many at most."""

    more = False
    """There were others, which aren't kept."""

    def note(self, key: str, reason: str) -> None:
        if key in self or len(self) < MOST_WRONG:
            self[key] = reason
        else:
            self.more = True


async def check(opened: OpenedRepository, tag: str | None, screen: Screen, *, read: bool) -> int:
    """Check that all that the backups name exists with its size, and with `read` every byte of it; how many things are
    wrong. `tag` None: all backups. Raises a StorageError."""
    found = await undeleted(opened)
    backups = {one: hosts for one, hosts in found.items() if tag in (None, one)}
    if tag is not None and not backups:
        screen.line(f"there is no backup {tag}")
        return 1
    wrong = await check_cluster_files(opened, screen) + found.tell_doubts(screen, tag)
    wrong += await _incomplete(opened, list(backups), screen)
    for host in sorted({host for hosts in backups.values() for host in hosts}):
        wrong += await _Node(opened, host, frozenset(backups), screen).check(read=read, everything=tag is None)
    screen.line(f"{len(backups)} backups checked: " + (f"{wrong} things are wrong" if wrong else "nothing is wrong"))
    return wrong


async def _incomplete(opened: OpenedRepository, tags: list[str], screen: Screen) -> int:
    catalogue = Catalogue(opened, RecordCache())
    wrong = 0
    for tag in tags:
        try:
            view = await catalogue.view(tag)
        except UNREADABLE as error:
            screen.line(f"{tag}: {error.message}")
            wrong += 1
            continue
        if view.record is None:
            how = "there is no listing record" if view.stored is None else "its newest listing record can't be read"
            screen.line(f"{tag}: {how}: {catalogue_prefix(opened.cluster_id, tag)}")
            wrong += 1
        missing = missing_in(view)
        if missing is not None:
            screen.line(f"{tag}: not complete: {missing}")
            wrong += 1
    return wrong


class _Node:
    """One node's part of the backups."""

    def __init__(self, opened: OpenedRepository, host: str, tags: frozenset[str], screen: Screen) -> None:
        self._opened = opened
        self._host = host
        self._screen = screen
        self._manifests = ScrubManifests(opened, host, only=tags)

    async def check(self, *, read: bool, everything: bool) -> int:
        """See `check`; with `everything`, objects that no backup names are read too."""
        self._screen.progress(f"{self._host}: reading manifests")
        named = await self._manifests.named()
        reasons = _Wrong(dict.fromkeys(named.frames, "damaged"))
        notes = DamageNotes(self._opened, self._host)
        reader = ObjectReader(self._opened, at_once, unknown=Verdict.UNKNOWN)
        found = ListedObjects()
        async for one in data_objects(self._opened.storage, self._opened.cluster_id, self._host):
            found.add(one)
            of_key = notes.object_of(one.key)
            needed = named.sizes.get(one.name, one.codec) is not None
            if read and of_key is not None and (everything or needed):
                verdict = await reader.read(of_key)
                # Of a backup that came since, after a rotation, the keys needn't be known.
                if verdict is not Verdict.RIGHT and (needed or verdict is not Verdict.UNKNOWN):
                    reasons.note(one.key, verdict.value)
                self._screen.progress(f"{self._host}: {reader.objects} objects, {size_of(reader.bytes)} verified")
        async for key, wanted in self._manifests.keys():
            size = found.size(key, wanted)
            if size is None:
                reasons.note(key, "missing")
            elif size != wanted.size:
                reasons.note(key, f"{size} bytes instead of {wanted.size}")
        told = 0
        for place in named.broken:
            told += self._tell(place, told)
        unnamed = set(reasons)
        if reasons:
            async for place in self._manifests.places(reasons):
                unnamed.discard(place.key)
                told += self._tell(place, told)
        for unneeded in sorted(unnamed):
            told += self._tell(DamagedPlace("no backup", "", "", "", unneeded, reasons[unneeded]), told)
        if told > _SHOWN:
            self._screen.line(f"{self._host}: … and {told - _SHOWN} more")
        if reasons.more:
            self._screen.line(f"{self._host}: … and more objects than {MOST_WRONG} are wrong")
            told += 1
        verified = f", {reader.objects} objects read ({size_of(reader.bytes)})" if read else ""
        self._screen.line(f"node {self._host}: {named.manifests} backups, {len(found)} objects{verified}")
        return told

    def _tell(self, place: DamagedPlace, told: int) -> int:
        if told < _SHOWN:
            table = f"{place.keyspace}.{place.table} {place.file}".strip(" .")
            self._screen.line(f"{place.tag}: {self._host}: {table or 'as a whole'}: {place.reason}: {place.key}")
        return 1


async def at_once() -> None:
    """Nobody else is to be let go first."""
