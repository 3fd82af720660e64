"""What lies in a node's prefix, and what of it is needed. In: a repository and a host id. Out: marks, manifests and
objects as they are, and what a sweep would free. Only reads.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from agent.plan.objects import ObjectIndex
from agent.plan.sweep import Owners, SweepView, unneeded
from agent.repository.catalogue import UNREADABLE, Catalogue, RecordCache
from agent.repository.data_objects import data_index, data_objects
from agent.repository.errors import ManifestAbsent, ObjectDamaged, of_backup
from agent.repository.keys import backups_prefix, catalogue_prefix, manifest_key, parse_backup, parse_catalogue
from agent.repository.manifest import Named, read_manifest
from agent.repository.marks import Marks
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import NotFound, Truncated
from agent.wire.results import FreedPart, FreedResult
from kit.together import together

_HEADS = 256
"""Objects that are looked at side by side, as far as the store has connections."""
_MANIFESTS_AT_ONCE = 4
"""Manifests that are read side by side: up to 4 MiB each, and a table's frame."""


class Survey:
    """The prefix of one node, whose manifests are read once however often it is asked."""

    def __init__(self, opened: OpenedRepository, host_id: str) -> None:
        self._opened = opened
        self._storage = opened.storage
        self._cluster_id = opened.cluster_id
        self.host_id = host_id
        self._marks = Marks(opened)
        self._manifests: dict[str, tuple[int, float]] = {}
        """Tag → size and time of this node's manifest, as last listed."""
        self._catalogue = Catalogue(opened, RecordCache())
        self._recorded: set[str] = set()
        """The backups that have a record, as last listed."""
        self._read: set[tuple[str, tuple[int, float]]] = set()
        """The manifests that were read: they never change, unless one was withdrawn and published anew."""
        self._seen: set[bytes] = set()
        self._needed = ObjectIndex()

    async def view(self) -> SweepView:
        """Marks and manifests as they are now. Raises ManifestInvalid and others for a mark that can't be believed."""
        deleted = {}
        self._recorded = set()
        async for entry in self._storage.list(catalogue_prefix(self._cluster_id)):
            name = parse_catalogue(self._cluster_id, entry.key)
            if name is not None and name.number is None:
                deleted[name.tag] = entry
            elif name is not None:
                self._recorded.add(name.tag)
        for tag, mark in deleted.items():
            await self._marks.refuse_unreadable(mark, tag)
        hosts: dict[str, set[str]] = {}
        self._manifests = {}
        async for entry in self._storage.list(backups_prefix(self._cluster_id)):
            found = parse_backup(self._cluster_id, entry.key)
            # Of undeleted backups only this node's part matters: the others' would only cost memory.
            if (
                found is not None
                and found.host_id is not None
                and (found.host_id == self.host_id or found.tag in deleted)
            ):
                hosts.setdefault(found.tag, set()).add(found.host_id)
                if found.host_id == self.host_id:
                    self._manifests[found.tag] = (entry.size, entry.modified)
        return SweepView(frozenset(deleted), {tag: frozenset(found) for tag, found in hosts.items()})

    async def needed(self, view: SweepView) -> ObjectIndex:
        """All that undeleted backups of this node name, and what those named that were undeleted when this was asked
        before. Raises ManifestInvalid for one that can't be read, ManifestAbsent for one that was put and isn't there:
        hidden or moved away it may come back, and nothing else tells what it needs."""
        missing = {(tag, self._manifests[tag]) for tag in view.kept(self.host_id)} - self._read
        tags = iter(sorted(tag for tag, _ in missing))

        async def read() -> None:
            for tag in tags:
                await self._need(tag)

        await together(*(read() for _ in range(_MANIFESTS_AT_ONCE)))
        self._read |= missing
        for tag in sorted(self._recorded - view.deleted - self._manifests.keys()):
            await self._refuse_absent(tag)
        return self._needed

    async def _refuse_absent(self, tag: str) -> None:
        why = "the listing record says that it was put"
        try:
            lacks = await self._catalogue.lacks_manifest(tag, self.host_id)
        except UNREADABLE:
            plan = (await self._catalogue.judged(tag)).plan
            lacks = plan is None or any(node.host_id == self.host_id for node in plan.nodes)
            why = "the listing record can't be read"
        if lacks:
            gone = ManifestAbsent(f"the manifest is not there, and {why}")
            raise of_backup(gone, tag, self.host_id, manifest_key(self._cluster_id, tag, self.host_id))

    async def _need(self, tag: str) -> None:
        """Note what a backup of this node names."""
        async for one in self.named(tag, self._seen):
            self._needed.add(one.name, one.size, one.codec)

    async def named(self, tag: str, seen: set[bytes]) -> AsyncIterator[Named]:
        """The objects that this node's part of a backup names; those of tables whose frames `seen` has are passed over.
        Raises ManifestInvalid and others, named by the backup, when it can't be read."""
        try:
            manifest = await read_manifest(self._opened, tag, self.host_id)
            for one in manifest.head_objects():
                yield one
            for reference in manifest.head.tables:
                async for one in manifest.objects(reference, seen):
                    yield one
                await asyncio.sleep(0)
        except (ObjectDamaged, NotFound, Truncated) as error:
            # A table's list that is an object of its own: the manifest is as unreadable as if it were cut itself.
            raise of_backup(error, tag, self.host_id, manifest_key(self._cluster_id, tag, self.host_id)) from error

    async def listed(self) -> ObjectIndex:
        """Every object of the prefix."""
        return await data_index(self._storage, self._cluster_id, self.host_id)

    async def held(self, objects: ObjectIndex) -> tuple[FreedPart, float | None]:
        """What object lock still holds of these, and until when the last of it; a small request for each object."""
        lock = self._opened.lock
        if lock is None:
            return FreedPart(0, 0), None
        now, size, count, until = lock.clock(), 0, 0, None
        batch: list[str] = []

        async def look(keys: Sequence[str]) -> None:
            nonlocal size, count, until
            for entry in await together(*(self._storage.head(key) for key in keys)):
                if entry is not None and entry.held_until is not None and entry.held_until > now:
                    size, count = size + entry.size, count + 1
                    until = max(entry.held_until, until or 0.0)

        async for one in data_objects(self._storage, self._cluster_id, self.host_id):
            if objects.get(one.name, one.codec) is not None:
                batch.append(one.key)
            if len(batch) == _HEADS:
                await look(batch)
                batch = []
        await look(batch)
        return FreedPart(size, count), until


async def preview(survey: Survey, as_deleted: frozenset[str]) -> FreedResult:
    """What a sweep would free if the backups `as_deleted` were deleted too. Raises ManifestInvalid and others, named by
    the backup, where one can't be read; a StorageError."""
    found = await survey.view()
    view = msgspec.structs.replace(found, deleted=found.deleted | as_deleted)
    marked = unneeded(await survey.listed(), await survey.needed(view))
    doomed = view.doomed(survey.host_id)
    owners = Owners([tag for tag in doomed if tag in as_deleted])
    for tag in owners.tags:
        async for one in survey.named(tag, set()):
            owners.add(tag, one.name, one.codec)
    parts = {tag: FreedPart(size, count) for tag, (size, count) in owners.shares(marked).items()}
    size, count = marked.total()
    locked, until = await survey.held(marked)
    return FreedResult(size, count, doomed, dry_run=True, backups=parts, locked=locked, all_unlocked_at=until)
