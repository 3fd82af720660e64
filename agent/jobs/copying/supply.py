"""Where a copy's bytes come from. In: targets; out, passes over all tables, each of which fills these targets.

One protocol, two supplies: a snapshot on this node, and a backup in another destination (`other_destination`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from agent.model.job import Tally
from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.pipeline.budget import BYTES
from agent.pipeline.digest_cache import DigestCache
from agent.pipeline.errors import SstableCorrupt
from agent.pipeline.own_files import StoredOwnFiles
from agent.pipeline.putting import Putting, Size
from agent.pipeline.store import Finish, OwnFile, Store
from agent.pipeline.targets import StoreTarget
from agent.plan.sstables import OWN_FILES
from agent.repository.manifest import Manifest
from agent.storage.threads import MakeWorkers
from kit.errors import HelenusError

Parted = Callable[[StoreTarget], object]
"""Told of a target that goes on by itself."""


class Pass(Protocol):
    """One way of all tables into some targets. One use: own files first, then the tables."""

    @property
    def putting(self) -> Putting:
        """Its way into the targets."""

    @property
    def sizes(self) -> Sequence[Size]:
        """Every table that it goes through."""

    async def own_files(self) -> StoredOwnFiles:
        """Store what the snapshot itself wrote. Raises what concerns no single table."""

    async def tables(self, finish: Finish) -> None:
        """Store the tables; `finish` is awaited with each as it is done. Raises what concerns no single table."""

    async def close(self) -> None:
        """End its threads."""


class Supply(Protocol):
    """What a copy takes its bytes from, as often as targets need it."""

    most_bytes: int
    """plain bytes in flight of all its passes together"""
    adopting: bool
    """whether the backup is that of a node that left the ring"""
    from_snapshot: bool
    """whether its pace tells how long the next snapshot has to stay"""

    @property
    def left_out(self) -> Mapping[str, str]:
        """Tables that it lacks already: see `agent.model.manifest.Head`."""

    async def listed(
        self, targets: Sequence[StoreTarget], tally: Tally, most_bytes: int, parted: Parted | None
    ) -> Pass:
        """Look what there is, for a pass. Raises what is wrong with all of it (SnapshotVanished, …)."""

    def damage(self, errors: Mapping[str, HelenusError]) -> HelenusError | None:
        """One error of those of tables, which it names, or of what it lacks already; None where all is whole."""

    def lacking(self, there: Manifest, info: SnapshotInfo) -> HelenusError | None:
        """What a manifest that an earlier run put has less than there was to copy; None where it is whole."""


class SnapshotSupply:
    """A snapshot on this node. `known`: its files, if they were listed already: the first pass empties that list."""

    most_bytes = BYTES
    adopting = False
    from_snapshot = True
    left_out: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        cache: DigestCache,
        look: Callable[[], Awaitable[list[SnapshotTable]]],
        workers: MakeWorkers,
        known: list[SnapshotTable] | None,
    ) -> None:
        self._cache = cache
        self._look = look
        self._workers = workers
        self._known = known
        self.table_ids: set[str] = set()

    async def listed(
        self, targets: Sequence[StoreTarget], tally: Tally, most_bytes: int, parted: Parted | None
    ) -> Pass:
        """See `Supply.listed`."""
        tables, self._known = self._known, None
        if tables is None:
            tables = await self._look()
        self.table_ids |= {table.table_id for table in tables}
        store = Store(targets, self._cache, tally, most_bytes=most_bytes, parted=parted, workers=self._workers)
        return _SnapshotPass(store, tables)

    def damage(self, errors: Mapping[str, HelenusError]) -> SstableCorrupt | None:
        """See `Supply.damage`."""
        if not errors:
            return None
        first = next(iter(errors.values()))
        return SstableCorrupt(
            f"{len(errors)} tables can't be backed up ({', '.join(sorted(errors))}): {first.message}",
            tables={name: {"code": error.code, "message": error.message} for name, error in errors.items()},
        )

    def lacking(self, there: Manifest, info: SnapshotInfo) -> SstableCorrupt | None:
        """See `Supply.lacking`."""
        copied = {(table.keyspace, table.table) for table in there.head.tables}
        left_out = [
            f"{keyspace}.{table}"
            for keyspace, tables in info.tables.items()
            for table in tables
            if (keyspace, table) not in copied
        ]
        return SstableCorrupt(f"left out: {', '.join(left_out)}", tables=left_out) if left_out else None


class _SnapshotPass:
    """`tables` is emptied on the way."""

    def __init__(self, store: Store, tables: list[SnapshotTable]) -> None:
        tables.sort(key=_most_bytes_first)
        self._store = store
        self._tables = tables
        self.putting = store.putting
        self.sizes = [
            Size(table.keyspace, table.table, len(table.files), sum(file.size for file in table.files))
            for table in tables
        ]

    async def own_files(self) -> StoredOwnFiles:
        """See `Pass.own_files`. Raises SnapshotVanished, FileUnreadable."""
        own = [
            OwnFile(table.keyspace, table.table, file)
            for table in self._tables
            for file in table.files
            if file.name in OWN_FILES
        ]
        return await self._store.own_files(own)

    async def tables(self, finish: Finish) -> None:
        """See `Pass.tables`. Raises SnapshotVanished."""
        await self._store.tables(self._tables, finish)

    async def close(self) -> None:
        """See `Pass.close`."""
        await self._store.close()


def _most_bytes_first(table: SnapshotTable) -> tuple[int, str, str]:
    return (-sum(file.size for file in table.files), table.keyspace, table.table)
