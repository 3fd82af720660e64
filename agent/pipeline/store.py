"""Bytes on their way to destinations: in, a snapshot's tables; out, per table the frame of its manifest.

One pass for all targets: each object that any of them lacks is read once, digested once, and put where it is missing.
Two producers walk the tables from both ends and wait for room; workers read in threads and put. What is done of a table
comes out in its producer's order, so that little is kept. A table whose bytes can't be trusted ends with its error, the
others go on. A target that keeps the others waiting is parted with: what it lacks is then read again, for it alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from agent.model.job import Tally
from agent.model.manifest import FileEntry
from agent.model.snapshot import FileStat, SnapshotTable
from agent.pipeline.budget import BYTES
from agent.pipeline.compression import Compression
from agent.pipeline.digest_cache import DigestCache, packed
from agent.pipeline.errors import FileUnreadable, SstableCorrupt
from agent.pipeline.own_files import StoredOwnFiles
from agent.pipeline.putting import Putting
from agent.pipeline.reading import Buffers, load, read_text
from agent.pipeline.sstable_run import SSTableRun
from agent.pipeline.table_run import StoredTable, TableRun
from agent.pipeline.targets import StoreTarget
from agent.plan.backup import PlannedObject, plan_sstable
from agent.plan.layout import PIECE_SIZE, SSTable, grouped, laid_out, own_packs
from agent.plan.sstables import OWN_FILES
from agent.repository.manifest_frame import FrameHeader
from agent.storage.threads import MakeWorkers, Workers
from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup

READERS = 4
_TURN = 32
"""SSTables after which the event loop gets its turn."""
_SAVE_BYTES = 1024 * 1024 * 1024
_SAVE_SSTABLES = 512
"""Bytes and SSTables of a table after which its digests are saved before it is done."""

Finish = Callable[[StoredTable], Awaitable[None]]


class OwnFile(msgspec.Struct, frozen=True):
    """A file that the snapshot wrote itself (manifest.json, schema.cql), of a table."""

    keyspace: str
    table: str
    file: FileStat


class Store:
    """Stores tables in all targets that are alive. One use, one event loop; calls one after the other. `parted` is told
    of a target that is too slow for the others; without it all go at the pace of the slowest."""

    def __init__(
        self,
        targets: Sequence[StoreTarget],
        cache: DigestCache,
        tally: Tally,
        *,
        piece_size: int = PIECE_SIZE,
        most_bytes: int = BYTES,
        compression: Compression | None = None,
        parted: Callable[[StoreTarget], object] | None = None,
        workers: MakeWorkers = Workers,
    ) -> None:
        self._targets = targets
        self._cache = cache
        self._tally = tally
        self._piece_size = piece_size
        self.putting = Putting(targets, tally, most_bytes, READERS, parted)
        self._budget = self.putting.budget
        self._buffers = Buffers(piece_size)
        self._readers = workers(READERS, "read")
        self._compression = compression if compression is not None else Compression()

    async def close(self) -> None:
        """End the threads."""
        await self._readers.close()

    async def tables(self, tables: list[SnapshotTable], finish: Finish) -> None:
        """Store the tables' SSTables, the largest first in the list; `finish` is awaited with each table as it is done.
        The list is emptied on the way, so that a table that is done takes no memory. Ends early when no target is
        alive. Raises what is wrong with the snapshot as a whole (`SnapshotVanished`)."""

        async def produce(place: int) -> None:
            while tables:
                await self._table(tables.pop(place), group, finish)

        try:
            # Large tables keep disk and network busy, small ones the interpreter: some of both are under way.
            async with TaskGroup() as group:
                group.create_task(produce(0))
                group.create_task(produce(-1))
        except* HelenusError as errors:
            raise first_of(errors) from None

    async def own_files(self, files: Sequence[OwnFile]) -> StoredOwnFiles:
        """Store what the snapshot itself wrote, like with like. Raises SnapshotVanished, FileUnreadable."""
        entries: dict[int, FileEntry] = {}
        objects: list[tuple[bytes, int]] = []
        for kind in OWN_FILES:
            places = [place for place, one in enumerate(files) if one.file.name == kind]
            for pack, layout in own_packs([files[place].file.size for place in places]):
                members = [places[one] for one in pack]
                sstable = SSTable("", tuple(files[place].file for place in members), (layout,), layout.length)
                run = SSTableRun(sstable, [PlannedObject(layout, None, True)], {}, self._piece_size)
                await self._budget.take(layout.length)
                await self._object(run, 0)
                done = run.finish()
                entries.update(zip(members, done.files, strict=True))
                objects += done.objects
        stored: dict[tuple[str, str], list[FileEntry]] = {}
        for place, one in enumerate(files):
            if place not in entries:  # an empty file is in no object
                empty = SSTableRun(SSTable("", (one.file,), (), 0), [], {}, self._piece_size).finish()
                entries[place] = empty.files[0]
            for target in self.putting.alive():
                self._tally.done(target.id, one.keyspace, one.table, 1, one.file.size)
            stored.setdefault((one.keyspace, one.table), []).append(entries[place])
        return StoredOwnFiles(stored, objects)

    async def _table(self, table: SnapshotTable, group: TaskGroup, finish: Finish) -> None:
        groups = grouped(table)
        run = TableRun(FrameHeader(table.keyspace, table.table, table.table_id), self._targets, self._tally)
        del table
        groups.reverse()  # taken from the end, so that what is done is forgotten
        for place in range(len(groups)):
            sstable = laid_out(groups.pop(), self._piece_size)
            if run.error is not None or not self.putting.alive():
                break
            await self._sstable(run, place, sstable, group, finish)
            if place % _TURN == _TURN - 1:
                await asyncio.sleep(0)
        self._one_less(run, group, finish)

    async def _sstable(self, table: TableRun, place: int, sstable: SSTable, group: TaskGroup, finish: Finish) -> None:
        if sstable.data is not None and sstable.crc is None:
            table.undigested.append(sstable.name)
        filesystem = sstable.files[0].filesystem
        remembered = self._cache.files(filesystem, table.table_id, sstable.name)
        alive = self.putting.alive()

        def present(object_id: bytes, length: int) -> bool:
            return all(target.find(object_id, length) is not None for target in alive)

        planned = plan_sstable(sstable, remembered, present, self._piece_size)
        run = SSTableRun(sstable, planned, remembered, self._piece_size)
        if not run.pending and all(file.name in remembered for file in sstable.files):
            done = run.finish()
            table.remember(filesystem, sstable.name, None)
            table.progress(len(sstable.files), sstable.size, alive)
            table.done(place, done, has_data=sstable.is_table_data)
            return
        table.outstanding += 1
        reused = sum(one.layout.length for one in planned if not one.read)
        if reused:
            table.progress(0, reused, alive)
        if not run.pending:
            group.create_task(self._whole(table, run, place, group, finish))
            return
        for index, one in enumerate(planned):
            if one.read:
                await self._budget.take(one.layout.length)
                group.create_task(self._part(table, run, place, index, group, finish))

    async def _part(
        self, table: TableRun, run: SSTableRun, place: int, index: int, group: TaskGroup, finish: Finish
    ) -> None:
        """One object of an SSTable; the last one finishes the SSTable."""
        length = run.planned[index].layout.length
        if table.error is not None or not self.putting.alive():
            self._budget.give(length)
        else:
            try:
                await self._object(run, index, table)
                table.unsaved_bytes += length
            except (SstableCorrupt, FileUnreadable) as error:
                table.fail(error)
        run.pending -= 1
        if not run.pending:
            await self._whole(table, run, place, group, finish)

    async def _object(self, run: SSTableRun, index: int, table: TableRun | None = None) -> None:
        """Read one object and put it where it is missing, counted for `table`. Gives back its budget."""
        layout = run.planned[index].layout
        buffer = self._buffers.take(layout.length)
        try:
            sstable, alive = run.sstable, self.putting.alive()
            forms = list(dict.fromkeys(target.form for target in alive))
            loaded = await self._readers.run(
                lambda _: load(
                    sstable.files, layout, buffer, forms, self._compression, data=sstable.data, crc=sstable.crc
                )
            )
            run.loaded(index, loaded)
            stored = dict(zip(forms, loaded.stored, strict=True))
            await self.putting.put(loaded.id, layout.length, stored, table)
        finally:
            self._buffers.give(buffer)
            self._budget.give(layout.length)

    async def _whole(self, table: TableRun, run: SSTableRun, place: int, group: TaskGroup, finish: Finish) -> None:
        """All objects of an SSTable are done."""
        sstable = run.sstable
        if table.error is None and self.putting.alive():
            try:
                missing = run.needs_crc_text
                if missing is not None:
                    run.crc_text = await self._readers.run(lambda _: read_text(missing))
                done = run.finish()
            except (SstableCorrupt, FileUnreadable) as error:
                table.fail(error)
            else:
                filesystem = sstable.files[0].filesystem
                table.remember(filesystem, sstable.name, packed(filesystem, sstable.name, done.remembered))
                table.progress(len(sstable.files), 0, self.putting.alive())
                table.done(place, done, has_data=sstable.is_table_data)
                await self._save_now_and_then(table)
        self._one_less(table, group, finish)

    async def _save_now_and_then(self, table: TableRun) -> None:
        """Keep what was read of a large table: after a crash it need not all be read again."""
        if table.unsaved_bytes >= _SAVE_BYTES or len(table.unsaved) >= _SAVE_SSTABLES:
            rows, table.unsaved, table.unsaved_bytes = table.unsaved, [], 0
            await self._cache.save(table.table_id, rows)

    def _one_less(self, table: TableRun, group: TaskGroup, finish: Finish) -> None:
        table.outstanding -= 1
        if not table.outstanding and self.putting.alive():
            group.create_task(self._finished(table, finish))

    async def _finished(self, table: TableRun, finish: Finish) -> None:
        if table.changed:
            # A table that failed was not gone through to its end: what was not reached is still there.
            await self._cache.settle(table.table_id, table.unsaved, {} if table.error is not None else table.names)
        await finish(table.stored())
