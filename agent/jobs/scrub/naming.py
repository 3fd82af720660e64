"""What the manifests of a node name, and what a damaged object takes from them. In: an open repository. Out: objects,
and places by backup, keyspace, table and file."""

import asyncio
from collections.abc import AsyncIterator, Container, Mapping, Sequence, Set

import msgspec

from agent.crypto.errors import SealingKeyUnknown
from agent.model.manifest import FileEntry, TableReference
from agent.plan.objects import ObjectIndex
from agent.repository.epochs import Epochs
from agent.repository.errors import BackupNotFound, ManifestInvalid, ObjectDamaged, RepositoryFormatNewer
from agent.repository.frame import Codec
from agent.repository.keys import (
    backups_prefix,
    catalogue_prefix,
    data_key,
    manifest_key,
    parse_backup,
    parse_catalogue,
)
from agent.repository.manifest import Manifest, Named, read_manifest
from agent.repository.opened import OpenedRepository
from agent.wire.results import DamagedPlace
from kit.errors import HelenusError

_UNREADABLE = (ManifestInvalid, ObjectDamaged, RepositoryFormatNewer, SealingKeyUnknown)


class NodeNames(msgspec.Struct):
    """What the undeleted backups of a node name. `sizes`: objects (names and codecs) with their stored sizes; `others`:
    keys of the few coded ones that are named with a second size, put by another release of zstd; `broken`: manifests,
    or tables of them, that can't be read; `frames`: the keys of those that are objects, read twice, which a new backup
    can put anew."""

    sizes: ObjectIndex
    others: set[str] = set()
    manifests: int = 0
    broken: list[DamagedPlace] = []
    frames: set[str] = set()


class ScrubManifests:
    """The manifests of one node in one destination. `only`: of these backups, whose marks the caller has judged; None:
    of all that have no mark."""

    def __init__(self, opened: OpenedRepository, host_id: str, *, only: Set[str] | None = None) -> None:
        self._opened = opened
        self._storage = opened.storage
        self._cluster_id = opened.cluster_id
        self._host_id = host_id
        self._only = only
        self._epochs = Epochs(opened)

    async def tags(self) -> list[str]:
        """The backups that have a manifest of this node. Raises a StorageError."""
        found = set()
        async for entry in self._storage.list(backups_prefix(self._cluster_id)):
            name = parse_backup(self._cluster_id, entry.key)
            if name is not None and name.host_id == self._host_id and (self._only is None or name.tag in self._only):
                found.add(name.tag)
        if self._only is not None:
            return sorted(found)
        async for entry in self._storage.list(catalogue_prefix(self._cluster_id)):
            mark = parse_catalogue(self._cluster_id, entry.key)
            if mark is not None and mark.number is None:
                found.discard(mark.tag)
        return sorted(found)

    async def named(self) -> NodeNames:
        """All that they name, read whole. Raises a StorageError; a manifest that can't be read is in `broken`,
        unless its keys came since: the next scrub has them."""
        named = NodeNames(ObjectIndex())
        seen: set[bytes] = set()
        for tag in await self.tags():
            try:
                manifest = await self._manifest(tag)
                if manifest is None:
                    continue
                named.manifests += 1
                for one in manifest.head_objects():
                    self._add(named, one)
            except _UNREADABLE as error:
                if not await self._is_of_later_keys(error):
                    named.broken.append(self._broken(tag, error))
                continue
            for reference in manifest.head.tables:
                unread = await self._add_table(named, manifest, reference, seen)
                if unread is not None and reference.object is not None:
                    # What fails on the way isn't stored so.
                    unread = await self._add_table(named, manifest, reference, seen)
                if unread is not None:
                    if reference.object is not None:
                        named.frames.add(self._key(reference.object))
                    else:
                        named.broken.append(self._broken(tag, unread, reference))
                await asyncio.sleep(0)
        return named

    def _add(self, named: NodeNames, one: Named) -> None:
        if one.codec is not Codec.RAW and named.sizes.get(one.name, one.codec) not in (None, one.size):
            named.others.add(self._key_of(one))
        else:
            named.sizes.add(one.name, one.size, one.codec)

    async def _add_table(
        self, named: NodeNames, manifest: Manifest, reference: TableReference, seen: set[bytes]
    ) -> HelenusError | None:
        """Add what a table's frame names; why it can't be read."""
        try:
            async for one in manifest.objects(reference, seen):
                self._add(named, one)
        except _UNREADABLE as error:
            return None if await self._is_of_later_keys(error) else error
        return None

    async def _is_of_later_keys(self, error: HelenusError) -> bool:
        return isinstance(error, SealingKeyUnknown) and await self._epochs.came_since(error)

    async def places(self, reasons: Mapping[str, str]) -> AsyncIterator[DamagedPlace]:
        """Which files of which backups need these objects, key → what is wrong. Raises a StorageError; what can't be
        read is passed over."""
        async for tag, manifest in self._readable():
            head = manifest.head
            for reference in head.tables:
                table = (tag, reference.keyspace, reference.table)
                if reference.object is not None and (key := self._key(reference.object)) in reasons:
                    yield DamagedPlace(*table, "", key, reasons[key])
                    continue
                for file, key in self._needing(reference.own, head.own_objects, head.own_coded, reasons):
                    yield DamagedPlace(*table, file, key, reasons[key])
                try:
                    async for part in manifest.parts(reference):
                        for file, key in self._needing(part.files, part.objects, part.coded, reasons):
                            yield DamagedPlace(*table, file, key, reasons[key])
                except _UNREADABLE:
                    continue

    async def keys(self) -> AsyncIterator[tuple[str, Named]]:
        """The key of each object that they name now, some more than once. Raises a StorageError; what can't be read is
        passed over."""
        seen: set[bytes] = set()
        async for _, manifest in self._readable():
            for one in manifest.head_objects():
                yield self._key_of(one), one
            for reference in manifest.head.tables:
                try:
                    async for one in manifest.objects(reference, seen):
                        yield self._key_of(one), one
                except _UNREADABLE:
                    continue

    async def _readable(self) -> AsyncIterator[tuple[str, Manifest]]:
        for tag in await self.tags():
            try:
                manifest = await self._manifest(tag)
            except _UNREADABLE:
                continue
            if manifest is not None:
                yield tag, manifest

    async def _manifest(self, tag: str) -> Manifest | None:
        try:
            return await read_manifest(self._opened, tag, self._host_id)
        except BackupNotFound:
            return None  # swept since it was listed

    def _broken(self, tag: str, error: HelenusError, table: TableReference | None = None) -> DamagedPlace:
        keyspace, name = (table.keyspace, table.table) if table is not None else ("", "")
        key = manifest_key(self._cluster_id, tag, self._host_id)
        return DamagedPlace(tag, keyspace, name, "", key, error.code)

    def _needing(
        self, files: Sequence[FileEntry], objects: Mapping[str, int], coded: Mapping[str, int], reasons: Container[str]
    ) -> list[tuple[str, str]]:
        """Each file that needs one of the objects in `reasons`, with the key of the first of them."""
        wrong = {
            name: key
            for name, size in objects.items()
            if (key := self._key(name, Codec(coded.get(name, Codec.RAW)), size)) in reasons
        }
        if not wrong:
            return []
        first = [(file.name, next((one.object for one in file.pieces if one.object in wrong), None)) for file in files]
        return [(file, wrong[name]) for file, name in first if name is not None]

    def _key(self, object_id: str, codec: Codec = Codec.RAW, size: int = 0) -> str:
        name = self._opened.form.name(bytes.fromhex(object_id))
        return data_key(self._cluster_id, self._host_id, name, codec, size)

    def _key_of(self, one: Named) -> str:
        return data_key(self._cluster_id, self._host_id, one.name, one.codec, one.size)
