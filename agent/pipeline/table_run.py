"""One table on its way: in, its SSTables as they are done, in any order; out, its frame, in the order of the plan.

Parts that come early wait for those before them; the producer goes in order, so few ever wait.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from agent.model.job import Tally
from agent.model.manifest import TablePart
from agent.pipeline.digest_cache import Row
from agent.pipeline.sstable_run import DoneSSTable
from agent.pipeline.targets import StoreTarget
from agent.progress.flow import Flow
from agent.repository.errors import ManifestInvalid
from agent.repository.manifest_check import check_written
from agent.repository.manifest_frame import FrameHeader, FrameWriter
from kit.errors import HelenusError

_SHOWN = 5
"""SSTables that a warning names."""


class StoredTable(msgspec.Struct, frozen=True):
    """A table that is done: its counts, `size` in bytes (without the snapshot's own files), and a frame for each
    target (empty where it failed), or what is wrong. `warning`: what a person should know of it all the same, "" for
    nothing."""

    keyspace: str
    table: str
    table_id: str
    files: int
    size: int
    sstables: int
    frames: tuple[bytes, ...] = ()
    error: HelenusError | None = None
    warning: str = ""


class TableRun:
    """The state of one table until all its SSTables are where they belong."""

    def __init__(self, table: FrameHeader, targets: Sequence[StoreTarget], tally: Tally) -> None:
        self.keyspace = table.keyspace
        self.table = table.table
        self.table_id = table.table_id
        self.error: HelenusError | None = None
        self.outstanding = 1  # the producer itself, until it has seen every SSTable
        self.changed = False
        self.unsaved: list[Row] = []
        self.unsaved_bytes = 0
        self.names: dict[str, set[str]] = {}
        self.undigested: list[str] = []
        self._targets = targets
        self._tally = tally
        self._writers = [FrameWriter(table) for _ in targets]
        self._early: dict[int, list[TablePart | None]] = {}
        self._next = 0
        self._files = 0
        self._bytes = 0
        self._sstables = 0

    def fail(self, error: HelenusError) -> None:
        """The table can't be backed up. The first reason is kept, every target hears of it."""
        if self.error is None:
            self.error = error
            self._early.clear()
            for target in self._told():
                self._tally.error(target.id, self.keyspace, self.table, f"{error.code}: {error.message}")

    def _told(self) -> list[StoreTarget]:
        """Those that hear of what is wrong: a target that was parted with finds it again by itself."""
        return [target for target in self._targets if not target.is_parted]

    def progress(self, files: int, size: int, targets: Sequence[StoreTarget]) -> None:
        """Count what is safe in these targets."""
        for target in targets:
            self._tally.done(target.id, self.keyspace, self.table, files, size)

    def flow(self, length: int, target: StoreTarget) -> Flow:
        """What counts an object of `length` bytes on its way to the target."""
        return Flow(length, partial(self._tally.done, target.id, self.keyspace, self.table, 0))

    def remember(self, filesystem: str, sstable: str, row: Row | None) -> None:
        """Note that the SSTable is there, and what the digest cache is to know of it if that changed."""
        self.names.setdefault(filesystem, set()).add(sstable)
        if row is not None:
            self.changed = True
            self.unsaved.append(row)

    def done(self, place: int, sstable: DoneSSTable, *, has_data: bool) -> None:
        """The SSTable at `place` of the plan is done."""
        if self.error is not None:
            return
        try:
            parts = [_part(sstable, target) for target in self._targets]
        except ManifestInvalid as error:  # better no table than a manifest that nobody can read
            self.fail(error)
            return
        self._files += len(sstable.files)
        self._bytes += sum(entry.size for entry in sstable.files)
        self._sstables += has_data
        self._early[place] = parts
        while (ready := self._early.pop(self._next, None)) is not None:
            for writer, part in zip(self._writers, ready, strict=True):
                if part is not None:
                    writer.add(part)
            self._next += 1

    def stored(self) -> StoredTable:
        """The table, once nothing is outstanding."""
        frames = () if self.error is not None else tuple(self._frames())
        return StoredTable(
            self.keyspace,
            self.table,
            self.table_id,
            self._files,
            self._bytes,
            self._sstables,
            frames,
            self.error,
            self._warning(),
        )

    def _frames(self) -> Iterator[bytes]:
        for writer, target in zip(self._writers, self._targets, strict=True):
            yield writer.close() if target.alive else b""

    def _warning(self) -> str:
        """What is to be said of SSTables whose bytes could not be compared; every target hears of it too."""
        if self.error is not None or not self.undigested:
            return ""
        names = ", ".join(sorted(self.undigested)[:_SHOWN])
        more = ", …" if len(self.undigested) > _SHOWN else ""
        warning = (
            f"{len(self.undigested)} SSTables have no Digest.crc32 ({names}{more}): stored as they were read, under "
            "digests of their own, but whether these are the bytes that Cassandra wrote can't be told"
        )
        for target in self._told():
            self._tally.error(target.id, self.keyspace, self.table, f"warning: {warning}")
        return warning


def _part(sstable: DoneSSTable, target: StoreTarget) -> TablePart | None:
    """The SSTable as the target's manifest names it; None of one that failed. Raises ManifestInvalid."""
    named = target.name(sstable.objects) if target.alive else None
    if named is None:
        return None
    part = TablePart(sstable.files, named.sizes, codecs=named.codecs or msgspec.UNSET)
    check_written(part)
    return part
