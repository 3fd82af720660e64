"""Where a restore takes its bytes from. In: a phase's arguments. Out: the backup's head, its tables, files in held/.

One protocol, two sources: the snapshot that is kept on this node, and a destination (`repository_source`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
from zlib_ng import zlib_ng

from agent.cassandra.errors import SnapshotMissing, SnapshotUnreadable
from agent.cassandra.protocol import Snapshots
from agent.cassandra.sstables import checked, is_staged
from agent.cassandra.staging import StagingRoot, link_or_copy, staging_error
from agent.jobs.restore.errors import DamagedOnServer
from agent.jobs.taken_files import compare_table
from agent.model.manifest import FileEntry, Head, TablePart, TableReference
from agent.model.snapshot import FileStat
from agent.plan.sstables import DATA, DIGEST
from agent.repository.manifest import Manifest
from agent.repository.on_server import OnServer
from agent.repository.opened import Waiting, silent
from agent.storage.threads import MakeWorkers, Stop, Workers
from agent.wire.commands import RestoreArguments
from kit.atomic_files import sync_directory

_CHUNK = 1 << 20


class WantedSstable(msgspec.Struct, frozen=True):
    """An SSTable that is to stand in held/: its files as the manifest has them, the directory they go to, and the
    stored sizes and codecs of the objects they are in (none of an on-server backup)."""

    keyspace: str
    table: str
    sstable: str
    files: tuple[FileEntry, ...]
    root: StagingRoot
    directory: Path
    objects: Mapping[str, int] = {}
    codecs: Mapping[str, int] = {}


Placed = Callable[[WantedSstable], Awaitable[None]]
"""Called when every file of an SSTable stands verified in its directory."""

Moved = Callable[[WantedSstable, int], object]
"""Called from any thread as bytes of an SSTable come: how many more; all of them, once, by the time it is placed."""


class BackupSource(Protocol):
    """One node's part of a backup, open for the block of a phase."""

    @property
    def head(self) -> Head:
        """Node, schema, data directories and tables of the backup."""

    def parts(self, reference: TableReference) -> AsyncIterator[TablePart]:
        """A table's files, SSTable by SSTable."""

    async def fetch(self, wanted: AsyncIterator[WantedSstable], placed: Placed, moved: Moved) -> None:
        """Bring the files into their directories; each appears under its name only when its bytes are verified."""


class Sources(Protocol):
    """The backups that a restore on this node can take from."""

    def opened(
        self, arguments: RestoreArguments, waiting: Waiting = silent, *, indexes: bool = False
    ) -> AbstractAsyncContextManager[BackupSource]:
        """The part of `source_host_id` in the backup `tag`, from `source`, or from this node when there is none.
        `indexes`: legacy indexes' SSTables are wanted too.

        `waiting`: the context's, for a destination whose keys are refused. Raises the repository's errors
        (`backup_not_found`, `backup_deleted`, …)."""


class OnServerSource:
    """A backup that stayed on this node: its manifest is under the agent's state, its bytes in the snapshot. `asked`:
    keyspace → tables that are restored. `indexes`: with the SSTables of legacy indexes."""

    def __init__(
        self,
        manifest: Manifest,
        snapshots: Snapshots,
        asked: Mapping[str, Sequence[str]],
        workers: MakeWorkers = Workers,
        *,
        indexes: bool = False,
    ) -> None:
        self._manifest = manifest
        self._snapshots = snapshots
        self._asked = asked
        self._workers = workers
        self._indexes = indexes

    @classmethod
    async def open(
        cls,
        on_server: OnServer,
        snapshots: Snapshots,
        arguments: RestoreArguments,
        workers: MakeWorkers = Workers,
        *,
        indexes: bool = False,
    ) -> "OnServerSource":
        """Read the manifest. Raises `BackupNotFound` (also for a backup that is to go), `ManifestInvalid`."""
        manifest = await on_server.manifest(arguments.tag, arguments.source_host_id)
        return cls(manifest, snapshots, arguments.tables, workers, indexes=indexes)

    @property
    def head(self) -> Head:
        """See `BackupSource.head`."""
        return self._manifest.head

    def parts(self, reference: TableReference) -> AsyncIterator[TablePart]:
        """See `BackupSource.parts`."""
        return self._manifest.parts(reference)

    async def fetch(self, wanted: AsyncIterator[WantedSstable], placed: Placed, moved: Moved) -> None:
        """Hard-link the snapshot's files (or copy them where links are refused), after the sizes and times of all, and
        each Data.db's CRC-32, were compared. Raises `DamagedOnServer`, `SnapshotMissing`, `SnapshotUnreadable`,
        `NotEnoughSpace`, `StagingRefused`."""
        workers = self._workers(1, "link")
        directories: set[Path] = set()
        table: tuple[str, str] | None = None
        present: dict[str, FileStat] = {}
        try:
            inventory = await self._inventory()
            await self._compare(inventory)
            async for one in wanted:
                if table != (one.keyspace, one.table):
                    table = (one.keyspace, one.table)
                    present = {file.name: file for file in inventory.pop(table, ())}
                await workers.run(partial(_place, one, present, partial(moved, one)))
                directories.add(one.directory)
                await placed(one)
            for directory in sorted(directories):  # names of links are durable only now
                await workers.run(partial(_synced, directory))
        finally:
            await workers.close()

    async def _compare(self, inventory: Mapping[tuple[str, str], Sequence[FileStat]]) -> None:
        """All that is going to be linked, first of all: a file that differs is told in seconds, not after hours."""
        for reference in self.head.tables:
            if reference.table in self._asked.get(reference.keyspace, ()):
                files = inventory.get((reference.keyspace, reference.table), ())
                await compare_table(self._manifest, reference, files, self._is_wanted)

    def _is_wanted(self, name: str) -> bool:
        return is_staged(name) or (self._indexes and checked(name) is not None)

    async def _inventory(self) -> dict[tuple[str, str], list[FileStat]]:
        """(keyspace, table) → the snapshot's files, of all the tables at once: a look at the snapshot costs the same
        for one of them."""
        wanted: dict[str, list[str]] = {}
        for reference in self.head.tables:
            if reference.table in self._asked.get(reference.keyspace, ()):
                wanted.setdefault(reference.keyspace, []).append(reference.table)
        found: dict[tuple[str, str], list[FileStat]] = {}
        for entry in await self._snapshots.inventory(self.head.tag, wanted):
            found.setdefault((entry.keyspace, entry.table), []).extend(entry.files)
        return found


def _synced(directory: Path, stop: Stop) -> None:
    stop.check()
    try:
        sync_directory(directory)
    except OSError as error:
        raise staging_error(error, f"{directory} can't be synced", directory) from None


def _place(wanted: WantedSstable, present: dict[str, FileStat], moved: Callable[[int], object], stop: Stop) -> None:
    compared = _check_crc(wanted, present, moved, stop)
    for entry in wanted.files:
        target, source = wanted.directory / entry.name, present[entry.name]
        if not _stands(target, source.size):
            with _named(wanted, source, "linked or copied"):
                link_or_copy(wanted.root, Path(source.path), target)
        if entry.name != compared:
            moved(entry.size)


def _stands(target: Path, size: int) -> bool:
    """Whether an earlier run put the file there; one of another size goes."""
    try:
        if target.stat().st_size == size:
            return True
        target.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise staging_error(error, f"{target} can't be looked at or removed", target) from None
    return False


@contextmanager
def _named(wanted: WantedSstable, file: FileStat, done: str) -> Iterator[None]:
    """What the disk has against a snapshot's file being `done`: an error that names it with its table."""
    name, about = (
        f"{file.name} of {wanted.keyspace}.{wanted.table}",
        {"keyspace": wanted.keyspace, "table": wanted.table},
    )
    try:
        yield
    except (FileNotFoundError, SnapshotMissing):
        raise SnapshotMissing(f"{name} is gone", path=file.path, **about) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SnapshotUnreadable(f"{name} can't be {done}: {reason}", path=file.path, reason=reason, **about) from error


def _check_crc(wanted: WantedSstable, present: dict[str, FileStat], moved: Callable[[int], object], stop: Stop) -> str:
    """Data.db against Digest.crc32, where the SSTable has one: reading it is what takes long, so its bytes move here.
    The name of the file that was read, "" for none."""
    digest = present.get(f"{wanted.sstable}-{DIGEST}")
    data = present.get(f"{wanted.sstable}-{DATA}")
    if digest is None or data is None:
        return ""
    with _named(wanted, digest, "read"):
        expected = Path(digest.path).read_text(encoding="ascii", errors="replace").strip()
    crc = 0
    with _named(wanted, data, "read"), open(data.path, "rb") as file:
        while chunk := file.read(_CHUNK):
            stop.check()
            crc = zlib_ng.crc32(chunk, crc)
            moved(len(chunk))
    if expected != str(crc):
        raise DamagedOnServer(
            f"{data.name} of {wanted.keyspace}.{wanted.table} has the CRC-32 {crc}, Digest.crc32 says {expected[:32]}",
            keyspace=wanted.keyspace,
            table=wanted.table,
            file=data.name,
        )
    return data.name
