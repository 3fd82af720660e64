"""The backups of a cluster in one destination: in, plans, records, marks and manifests' heads; out, what a listing
shows.

A listing costs the flat prefix `catalogue/` and one GET for each record that was not read before: records never change,
the highest number counts. They are remembered, and wait to be told, compressed: those of a year of 1,000 nodes are
90 MB as JSON and more than twice that when they are decoded. Remembered by key, size and time: a swept tag may be used
again, and its records then are others under the same keys.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from contextlib import suppress

import msgspec
import zstandard

from agent.crypto.errors import SealingKeyUnknown
from agent.repository import checked_text, marks
from agent.repository.bounded import MOST_RECORD
from agent.repository.errors import (
    BackupDeleted,
    BackupExists,
    BackupNotFound,
    ManifestInvalid,
    RepositoryFormatNewer,
)
from agent.repository.keys import (
    backups_prefix,
    catalogue_prefix,
    deleted_key,
    manifest_key,
    parse_backup,
    parse_catalogue,
    plan_key,
    record_key,
)
from agent.repository.manifest import read_manifest
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import NotFound, Truncated
from agent.wire.backups import RUNNING, SUCCESS, BackupView, Plan, Record
from kit.together import together

_CACHE_BYTES = 32 * 1024 * 1024
"""A year of daily backups of 1,000 nodes takes 23 MiB."""
_AT_ONCE = 8
_HEADS_AT_ONCE = 4
"""Of each up to 4 MiB are in memory."""
UNREADABLE = (ManifestInvalid, RepositoryFormatNewer, SealingKeyUnknown)
"""What a document gives that is damaged, of a later release, or sealed with a key that isn't here: one of them must not
hide the others."""
_NO_HEAD = (*UNREADABLE, BackupNotFound, NotFound, Truncated)
"""What a manifest gives that can't be read, or was swept since it was listed."""
ReadPlan = Callable[[str, int], Awaitable[Plan | None]]
"""Gives the plan of a tag that has as many bytes."""
_plan = msgspec.json.Decoder(Plan)
_record = msgspec.json.Decoder(Record)


class RecordCache:
    """Records that were read, and what heads left out, compressed, at most 32 MiB; for the life of the agent. Keys
    carry the repository's id."""

    def __init__(self, most_bytes: int = _CACHE_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._bodies: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def get(self, repository_id: str, key: str) -> bytes | None:
        """The record's body, compressed; None if it was not read or was dropped."""
        packed = self._bodies.get((repository_id, key))
        if packed is not None:
            self._bodies.move_to_end((repository_id, key))
        return packed

    def put(self, repository_id: str, key: str, body: bytes) -> bytes:
        """Remember a body; the one unused for longest goes when there is no room. What `get` will give."""
        # A copy: the compressor's own result keeps the room of the worst case, as much as the body.
        packed = bytes(memoryview(zstandard.ZstdCompressor(level=1).compress(body)))
        self._size += len(packed) - len(self._bodies.pop((repository_id, key), b""))
        self._bodies[repository_id, key] = packed
        while self._size > self._most:
            self._size -= len(self._bodies.popitem(last=False)[1])
        return packed


class Listing:
    """The backups of a listing, by tag. Each record is decoded as its turn comes, so that going through a long one
    takes little memory; one that can't be read is None, for the others are not to be hidden by it. Those of `lacking`
    have no manifest there."""

    def __init__(self, records: Sequence[tuple[str, bytes | None, float]], lacking: Set[str] = frozenset()) -> None:
        self._records = records
        self._lacking = lacking

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[BackupView]:
        for tag, packed, stored in self._records:
            try:
                record = None if packed is None else _record_of(tag, packed)
            except msgspec.DecodeError:
                record = None
            complete = False if tag in self._lacking else None
            yield BackupView(tag, False, record, complete=complete, stored=stored)


class Catalogue:
    """Plans, records, marks and views of the backups of one cluster in one destination."""

    def __init__(self, opened: OpenedRepository, cache: RecordCache) -> None:
        self._opened = opened
        self._storage = opened.storage
        self._documents = opened.documents
        self._repository_id = opened.repository_id
        self._cluster_id = opened.cluster_id
        self._cache = cache

    async def put_plan(self, plan: Plan) -> None:
        """Put plan.json; the same plan again is fine. Raises BackupExists, BackupDeleted, a StorageError."""
        await self._refuse_deleted(plan.tag)
        key = plan_key(self._cluster_id, plan.tag)
        put = await self._documents.put(key, checked_text.encode(plan))
        if not put.created and await self._plan(plan.tag, put.size) != plan:
            raise BackupExists(f"the destination has another backup {plan.tag}", tag=plan.tag)

    async def put_record(self, record: Record) -> int:
        """Put the record as the tag's next; its number. The same as the newest again is fine, and costs no new one. One
        that says `running` is put only where there is none: it never hides how a backup ended."""
        body = checked_text.encode(record)
        while True:
            numbers, deleted = await self._tag(record.tag)
            if deleted:
                raise BackupDeleted(f"the backup {record.tag} was deleted in this destination", tag=record.tag)
            newest = max(numbers, default=-1)
            if newest >= 0 and (record.state == RUNNING or await self._says(record, newest, *numbers[newest])):
                return newest
            key = record_key(self._cluster_id, record.tag, newest + 1)
            put = await self._documents.put(key, body)
            if put.created:
                return newest + 1

    async def mark_deleted(self, tag: str) -> None:
        """Delete the backup: it is not listed or restored any more. Again is fine, and replaces a mark that can't be
        believed. Raises BackupNotFound."""
        key = deleted_key(self._cluster_id, tag)
        there = await self._storage.head(key)
        if there is not None:
            try:
                await marks.Marks(self._opened).refuse_unreadable(there, tag)
            except UNREADABLE:
                await self._documents.put(key, marks.encoded(tag), replace=True)
            return
        if not await self._anything(tag):
            raise BackupNotFound(f"there is no backup {tag} in this destination", tag=tag)
        await self._documents.put(key, marks.encoded(tag))

    async def listing(self, *, own: bool = False) -> Listing:
        """Every undeleted backup that has a record. One whose record can't be read is listed without it, for its plan
        and manifests tell. `own`: it is the directory of one node, so that a backup without any manifest lost that
        node's part, or never had one: one listing more, of two small files a backup. A shared store has as many
        manifests as nodes for each, which only a scrub looks at."""
        newest: dict[str, tuple[int, int, float]] = {}
        deleted = set()
        async for entry in self._storage.list(catalogue_prefix(self._cluster_id)):
            name = parse_catalogue(self._cluster_id, entry.key)
            if name is not None and name.number is None:
                deleted.add(name.tag)
            elif name is not None and name.number is not None:
                one = name.number, entry.size, entry.modified
                newest[name.tag] = max(one, newest.get(name.tag, one))
        tags = sorted(set(newest) - deleted)
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def read(tag: str) -> tuple[str, bytes | None, float] | None:
            number, size, modified = newest[tag]
            try:
                async with at_once:
                    packed = await self._packed(record_key(self._cluster_id, tag, number), size, modified)
            except UNREADABLE:
                return tag, None, modified
            except NotFound:
                return None  # swept since it was listed
            return tag, packed, modified

        found = [one for one in await together(*map(read, tags)) if one is not None]
        # Afterwards: a manifest is put before the record that says so.
        held = await self._held() if own else set(tags)
        return Listing(found, set(tags) - held)

    async def newest(self, tag: str) -> Record | None:
        """The newest record of an undeleted backup; None without one. Raises `UNREADABLE`."""
        numbers, deleted = await self._tag(tag)
        if deleted or not numbers:
            return None
        return await self._record(tag, max(numbers), *numbers[max(numbers)])

    async def lacks_manifest(self, tag: str, host_id: str) -> bool:
        """Whether the node's manifest of an undeleted backup was put, by its newest record, and isn't there. Raises
        `UNREADABLE` of the record.

        A record says `success` of a node only after the node's manifest was put. A backup that runs, or that the node
        failed or had no part in, has no such line.
        """
        # Twice: a deletion puts its mark before it takes the manifest, and takes the records before the mark, so that
        # of a backup that went since the first look the second one finds no record, or the mark.
        for _ in range(2):
            record = await self.newest(tag)
            has_part = record is not None and (host_id, SUCCESS) in ((one.host_id, one.state) for one in record.nodes)
            if not has_part or await self._storage.head(manifest_key(self._cluster_id, tag, host_id)) is not None:
                return False
        return True

    async def view(self, tag: str) -> BackupView:
        """One backup with its plan and manifests; a record that can't be read is None, and `stored` says that there is
        one. Raises BackupNotFound, `UNREADABLE` of the plan."""
        return (await self._seen(tag, self._plan))[0]

    async def judged(self, tag: str) -> BackupView:
        """As `view`, and a plan that can't be read is None, so that the backup can be deleted. Where no record says how
        it ended, each manifest's own head tells whether it is whole. One that can't be read is not. Heads are
        remembered: manifests never change. Raises BackupNotFound, a StorageError."""
        view, manifests = await self._seen(tag, self._plan_if_readable)
        if view.deleted or (view.record is not None and view.record.state != RUNNING):
            return view
        at_once = asyncio.Semaphore(_HEADS_AT_ONCE)

        async def is_whole(host_id: str) -> bool:
            async with at_once:
                return await self._is_whole(tag, host_id, *manifests[host_id])

        told = await together(*map(is_whole, view.manifests))
        return msgspec.structs.replace(
            view, whole=[host for host, whole in zip(view.manifests, told, strict=True) if whole]
        )

    async def _seen(self, tag: str, read_plan: ReadPlan) -> tuple[BackupView, dict[str, tuple[int, float]]]:
        """The view, and of each of its manifests size and time."""
        numbers, deleted = await self._tag(tag)
        manifests, planned = await self._manifests(tag)
        if not numbers and not deleted and not manifests and planned is None:
            raise BackupNotFound(f"there is no backup {tag} in this destination", tag=tag)
        plan = None if planned is None else await read_plan(tag, planned)
        complete = None if plan is None else {node.host_id for node in plan.nodes} <= set(manifests)
        record = None
        with suppress(*UNREADABLE):
            record = await self._record(tag, max(numbers), *numbers[max(numbers)]) if numbers else None
        stored = numbers[max(numbers)][1] if numbers else None
        return BackupView(tag, deleted, record, plan, sorted(manifests), complete, stored), manifests

    async def _refuse_deleted(self, tag: str) -> None:
        if await self._storage.head(deleted_key(self._cluster_id, tag)) is not None:
            raise BackupDeleted(f"the backup {tag} was deleted in this destination", tag=tag)

    async def _anything(self, tag: str) -> bool:
        for prefix in (backups_prefix(self._cluster_id, tag), catalogue_prefix(self._cluster_id, tag)):
            async for _ in self._storage.list(prefix):
                return True
        return False

    async def _tag(self, tag: str) -> tuple[dict[int, tuple[int, float]], bool]:
        """The numbers of a tag's records with their sizes and times, and whether its deletion mark is there."""
        numbers = {}
        deleted = False
        async for entry in self._storage.list(catalogue_prefix(self._cluster_id, tag)):
            name = parse_catalogue(self._cluster_id, entry.key)
            if name is not None and name.number is None:
                deleted = True
            elif name is not None and name.number is not None:
                numbers[name.number] = entry.size, entry.modified
        return numbers, deleted

    async def _manifests(self, tag: str) -> tuple[dict[str, tuple[int, float]], int | None]:
        """Host id → size and time of the manifest of the tag, and the size of its plan if that is there."""
        hosts = {}
        planned = None
        async for entry in self._storage.list(backups_prefix(self._cluster_id, tag)):
            name = parse_backup(self._cluster_id, entry.key)
            if name is not None and name.host_id is None:
                planned = entry.size
            elif name is not None and name.host_id is not None:
                hosts[name.host_id] = entry.size, entry.modified
        return hosts, planned

    async def _held(self) -> set[str]:
        """The tags that have a manifest."""
        names = [
            parse_backup(self._cluster_id, entry.key)
            async for entry in self._storage.list(backups_prefix(self._cluster_id))
        ]
        return {name.tag for name in names if name is not None and name.host_id is not None}

    async def _plan_if_readable(self, tag: str, size: int) -> Plan | None:
        with suppress(*UNREADABLE):
            return await self._plan(tag, size)
        return None

    async def _plan(self, tag: str, size: int) -> Plan | None:
        key = plan_key(self._cluster_id, tag)
        try:
            plan = checked_text.decode(_plan, await self._documents.read(key, size, MOST_RECORD))
        except NotFound:
            return None
        except msgspec.DecodeError as error:
            raise ManifestInvalid(f"the plan of {tag} can't be read ({error}): {key}", tag=tag, key=key) from error
        if (plan.tag, plan.cluster_id) != (tag, self._cluster_id):
            raise ManifestInvalid(
                f"the plan of {tag} is that of {plan.tag} of the cluster {plan.cluster_id}: {key}", tag=tag, key=key
            )
        return plan

    async def _says(self, record: Record, number: int, size: int, modified: float) -> bool:
        """Whether the stored record of that number means the same; its bytes may be an older release's."""
        try:
            return await self._record(record.tag, number, size, modified) == record
        except UNREADABLE:
            return False

    async def _record(self, tag: str, number: int, size: int, modified: float) -> Record | None:
        key = record_key(self._cluster_id, tag, number)
        try:
            record = _record_of(tag, await self._packed(key, size, modified))
        except NotFound:
            return None  # swept since it was listed
        except msgspec.DecodeError as error:
            raise ManifestInvalid(
                f"the record {number} of {tag} can't be read ({error}): {key}", tag=tag, key=key
            ) from error
        return record

    async def _is_whole(self, tag: str, host_id: str, size: int, modified: float) -> bool:
        which = f"{manifest_key(self._cluster_id, tag, host_id)} {size} {modified}"
        packed = self._cache.get(self._repository_id, which)
        if packed is None:
            try:
                head = (await read_manifest(self._opened, tag, host_id)).head
            except _NO_HEAD:
                return False
            packed = self._cache.put(self._repository_id, which, msgspec.json.encode(head.lacking))
        return not msgspec.json.decode(_unpacked(packed))

    async def _packed(self, key: str, size: int, modified: float) -> bytes:
        which = f"{key} {size} {modified}"
        packed = self._cache.get(self._repository_id, which)
        if packed is None:
            body = await self._documents.read(key, size, MOST_RECORD)
            packed = self._cache.put(self._repository_id, which, body)
        return packed


def _record_of(tag: str, packed: bytes) -> Record:
    """A record of that backup. Raises msgspec.DecodeError, also for another one's."""
    record = checked_text.decode(_record, _unpacked(packed))
    if record.tag != tag:
        raise msgspec.DecodeError(f"it is the backup {record.tag}'s")
    return record


def _unpacked(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
