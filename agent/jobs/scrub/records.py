"""Whether what a listing and a restore begin with is there and can be read: plans, listing records, deletion marks,
this node's manifests. In: an open repository and tags. Out: what isn't, by backup and key.

All of it in every scrub, a few small requests for each backup: so nothing has to be remembered of it from one scrub to
the next, and a clean scrub says that it was looked at.
"""

from collections.abc import Mapping, Sequence, Set

from agent.crypto.errors import SealingKeyUnknown
from agent.repository.catalogue import UNREADABLE, Catalogue, RecordCache
from agent.repository.epochs import Epochs
from agent.repository.errors import BackupNotFound
from agent.repository.keys import catalogue_prefix, manifest_key, parse_catalogue, plan_key, record_key
from agent.repository.marks import Marks
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Entry
from agent.wire.results import DamagedPlace
from kit.errors import HelenusError

MISSING = "missing"


class ScrubRecords:
    """One scrub's look at them."""

    def __init__(self, opened: OpenedRepository, host_id: str) -> None:
        self._opened = opened
        self._cluster_id = opened.cluster_id
        self._host_id = host_id
        self._catalogue = Catalogue(opened, RecordCache())
        self._epochs = Epochs(opened)
        self._marks = Marks(opened)

    async def wrong(self, tags: Sequence[str]) -> list[DamagedPlace]:
        """Plans and records of these backups, which have a manifest of the node, that are missing or can't be read;
        manifests that the node put and that are missing; and marks that can't be read: they hide a backup, and stop
        sweeps. What was sealed with keys that came since is the next scrub's. Raises a StorageError."""
        found = [place for tag in tags for place in await self._documents(tag)]
        recorded, marked = await self._catalogued()
        for tag in sorted(recorded - marked.keys() - set(tags)):
            found += await self._manifest(tag)
        for tag, entry in sorted(marked.items()):
            found += await self._mark(tag, entry)
        return found

    async def _mark(self, tag: str, entry: Entry) -> list[DamagedPlace]:
        try:
            await self._marks.refuse_unreadable(entry, tag)
        except UNREADABLE as error:
            return await self._unread(tag, entry.key, error)
        return []

    async def _documents(self, tag: str) -> list[DamagedPlace]:
        """Of one backup. A plan without a record or a record without a plan lacks the other; without either nobody ever
        said that it is a backup."""
        for _ in range(2):  # a deletion may be under way, see `Catalogue.lacks_manifest`
            try:
                view = await self._catalogue.view(tag)
            except BackupNotFound:
                return []  # swept since it was listed
            except UNREADABLE as error:
                return await self._unread(tag, plan_key(self._cluster_id, tag), error)
            has_plan, has_record = view.plan is not None, view.stored is not None
            if view.deleted or (has_record and view.record is None):
                return [] if view.deleted else await self._record(tag)
            if has_plan == has_record:
                return []
        return [_place(tag, (record_key(self._cluster_id, tag, 0) if has_plan else plan_key(self._cluster_id, tag)))]

    async def _manifest(self, tag: str) -> list[DamagedPlace]:
        """The node's manifest of a backup, if it was put and isn't there; or a record that can't be read, for nobody
        knows then what the node had."""
        try:
            lacks = await self._catalogue.lacks_manifest(tag, self._host_id)
        except UNREADABLE as error:
            return await self._unread(tag, await self._newest_key(tag), error)
        return [_place(tag, manifest_key(self._cluster_id, tag, self._host_id))] if lacks else []

    async def _record(self, tag: str) -> list[DamagedPlace]:
        """The newest record, with what is wrong with it."""
        try:
            await self._catalogue.newest(tag)
        except UNREADABLE as error:
            return await self._unread(tag, await self._newest_key(tag), error)
        return []  # it was swept, or replaced by a later one

    async def _unread(self, tag: str, key: str, error: HelenusError) -> list[DamagedPlace]:
        if not key or (isinstance(error, SealingKeyUnknown) and await self._epochs.came_since(error)):
            return []
        return [_place(tag, key, error.code)]

    async def _catalogued(self) -> tuple[Set[str], Mapping[str, Entry]]:
        """The backups that have a record, and the marks of deleted ones."""
        recorded: set[str] = set()
        marked: dict[str, Entry] = {}
        async for entry in self._opened.storage.list(catalogue_prefix(self._cluster_id)):
            name = parse_catalogue(self._cluster_id, entry.key)
            if name is not None and name.number is None:
                marked[name.tag] = entry
            elif name is not None:
                recorded.add(name.tag)
        return recorded, marked

    async def _newest_key(self, tag: str) -> str:
        """The key of a backup's newest record; "" without any."""
        keys = {
            name.number: entry.key
            async for entry in self._opened.storage.list(catalogue_prefix(self._cluster_id, tag))
            if (name := parse_catalogue(self._cluster_id, entry.key)) is not None and name.number is not None
        }
        return keys[max(keys)] if keys else ""


def _place(tag: str, key: str, reason: str = MISSING) -> DamagedPlace:
    return DamagedPlace(tag, "", "", "", key, reason)
