"""What a snapshot held when it was taken: in, its files as they are now; out, nothing, or `DamagedOnServer`.

Noted when the snapshot is listed first, compared whenever its files are used again: a manifest of what is left would
pass for the whole. Names, sizes and times are compared, which the listing has anyway: no file is opened for it. A bit
that flipped on the disk is so not seen here; Data.db is compared with Cassandra's own CRC-32 where its bytes are read.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import UnsetType

from agent.jobs.copying.manifests import on_server_manifest
from agent.jobs.restore.errors import DamagedOnServer
from agent.model.manifest import FileEntry, TableReference
from agent.model.snapshot import FileStat, SnapshotInfo, SnapshotTable
from agent.plan.toc import may_grow
from agent.repository.intents import Writer
from agent.repository.manifest import Manifest
from agent.repository.on_server import OnServer
from agent.repository.snapshot_listing import ListedFile, ListedTable, SnapshotListing

_SECOND = 1_000_000_000
_Table = TableReference | ListedTable
_File = FileEntry | ListedFile


class TakenFiles:
    """What the agent's snapshots held. `writer`: this agent, as the notes name it."""

    def __init__(self, on_server: OnServer, writer: Writer) -> None:
        self._on_server = on_server
        self._writer = writer

    async def note(self, info: SnapshotInfo, tables: Sequence[SnapshotTable], command_id: str) -> None:
        """Note the files of a snapshot that was just taken, durably; of an on-server backup that is its manifest. When
        an earlier run of the command noted them, they are compared instead. Raises DamagedOnServer, ManifestInvalid,
        StateFailed."""
        if await self._compared(info, tables):
            return
        if info.kept:
            manifest = await on_server_manifest(info, tables, self._writer, command_id)
            await self._on_server.put_manifest(info.tag, manifest)
        else:
            await self._on_server.put_snapshot_listing(info, tables)

    async def compare(self, info: SnapshotInfo, tables: Sequence[SnapshotTable]) -> None:
        """The whole snapshot with what was noted; nothing where an older agent noted nothing. Raises DamagedOnServer,
        ManifestInvalid."""
        await self._compared(info, tables)

    async def _compared(self, info: SnapshotInfo, tables: Sequence[SnapshotTable]) -> bool:
        """Whether anything was noted to compare with, but for what an earlier snapshot of that tag has left."""
        if not info.kept:
            listing = await self._on_server.snapshot_listing(info.tag)
            if listing is None or (listing.backup_id, listing.taken_at) != (info.backup_id, info.taken_at):
                return False
            await asyncio.to_thread(_compare_listed, listing, tables)
            return True
        known = await self._on_server.taken_files(info.tag, info.node.host_id)
        if known is None or (known.head.backup_id, known.head.taken_at) != (info.backup_id, info.taken_at):
            return False
        await _compare(known, tables)
        return True


async def compare_table(
    manifest: Manifest, reference: TableReference, files: Sequence[FileStat], asked: Callable[[str], bool]
) -> set[str]:
    """A table's files with what `manifest` says of those that are `asked` for, by their names; the names of all others.
    Raises DamagedOnServer, ManifestInvalid."""
    there = _by_name(files)
    async for entry, time in _entries(manifest, reference):
        if asked(entry.name):
            _strike(reference, entry, time, there)
    return _left(there)


def _by_name(files: Sequence[FileStat]) -> dict[str, list[FileStat]]:
    there: dict[str, list[FileStat]] = {}
    for file in files:
        there.setdefault(file.name, []).append(file)
    return there


def _strike(of: _Table, entry: _File, time: int | None, there: dict[str, list[FileStat]]) -> None:
    """Take that one away which is the file that was noted: another volume may have one of that name."""
    found = there.get(entry.name, [])
    found.remove(_refuse_other(of, entry, time, found))


def _left(there: dict[str, list[FileStat]]) -> set[str]:
    return {name for name, others in there.items() if others}


def _refuse_added(of: _Table, names: set[str]) -> None:
    """What came to a table since: it would be copied too."""
    for name in sorted(names):
        raise _damaged(of, name, "was not in the snapshot when it was taken")


def _files_of(tables: Sequence[SnapshotTable]) -> dict[tuple[str, str], Sequence[FileStat]]:
    return {(table.keyspace, table.table): table.files for table in tables}


def _compare_listed(listing: SnapshotListing, tables: Sequence[SnapshotTable]) -> None:
    """As `_compare`."""
    files = _files_of(tables)
    for listed in listing.tables:
        there = _by_name(files.get((listed.keyspace, listed.table), ()))
        for one in listed.files:
            _strike(listed, one, one.mtime_ns, there)
        _refuse_added(listed, _left(there))


async def _compare(manifest: Manifest, tables: Sequence[SnapshotTable]) -> None:
    """All tables that are noted."""
    files = _files_of(tables)
    for reference in manifest.head.tables:
        found = files.get((reference.keyspace, reference.table), ())
        _refuse_added(reference, await compare_table(manifest, reference, found, _every))


async def _entries(manifest: Manifest, reference: TableReference) -> AsyncIterator[tuple[FileEntry, int | None]]:
    """The table's files, each with its time where that is noted."""
    async for part in manifest.parts(reference):
        for found in _timed(part.files, part.times):
            yield found
    for found in _timed(reference.own, reference.own_times):
        yield found


def _timed(files: Sequence[FileEntry], times: Sequence[int] | UnsetType) -> Sequence[tuple[FileEntry, int | None]]:
    return list(zip(files, [None] * len(files) if isinstance(times, UnsetType) else times, strict=True))


def _refuse_other(of: _Table, entry: _File, time: int | None, found: Sequence[FileStat]) -> FileStat:
    """That one of `found` which is the file that was noted."""
    grows = may_grow(entry.name)  # only that it is there can be compared
    for file in found:
        if grows or (file.size == entry.size and _is_same(time, file.mtime_ns)):
            return file
    if not found:
        raise _damaged(of, entry.name, "is missing from the snapshot")
    if found[0].size != entry.size:
        raise _damaged(of, entry.name, f"is {found[0].size} bytes, not {entry.size} as when it was taken")
    raise _damaged(of, entry.name, "was written since the snapshot was taken: its time is another")


def _is_same(then: int | None, now: int) -> bool:
    """Whether it is the time that was noted. Data that was moved by a program, or to a file system, that keeps whole
    seconds only is the same."""
    return then is None or now in (then, then - then % _SECOND)


def _damaged(of: _Table, name: str, what: str) -> DamagedOnServer:
    return DamagedOnServer(
        f"{name} of {of.keyspace}.{of.table} {what}",
        keyspace=of.keyspace,
        table=of.table,
        file=name,
    )


def _every(name: str) -> bool:
    return True
