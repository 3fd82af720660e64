"""Bytes from one destination into others: in, a node's manifest; out, per table the frame of each target's manifest.

Content keeps its id wherever it lies, so what a target's listing shows is not read at all. Every other object is read
once for all targets, verified against the id that the manifest names, and written anew in each one's form: names and
seals are a repository's own. What zstd made of it is kept. A table of which an object is missing or damaged ends with
its error, the others go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, TypeVar

from agent.crypto.digest import digest
from agent.crypto.errors import SealingKeyUnknown
from agent.model.job import Tally
from agent.model.manifest import FileEntry, TablePart, TableReference
from agent.pipeline.budget import BYTES
from agent.pipeline.own_files import StoredOwnFiles
from agent.pipeline.putting import Putting, Size
from agent.pipeline.sstable_run import DoneSSTable
from agent.pipeline.stored_object import READ_TRIES, StoredObject, key_of, read_object
from agent.pipeline.table_run import StoredTable, TableRun
from agent.pipeline.targets import StoreTarget
from agent.plan.sstables import DATA, parse
from agent.repository.epochs import Epochs
from agent.repository.errors import ManifestInvalid, ObjectDamaged, RepositoryFormatNewer, of_table
from agent.repository.form import Decoded, Form, Stored
from agent.repository.frame import Codec, ObjectType
from agent.repository.manifest import Manifest
from agent.repository.manifest_frame import FrameHeader
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import NotFound
from agent.storage.threads import MakeWorkers, Stop, Workers
from agent.storage.throttle import Stream
from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup

MOST_BYTES = BYTES // 2
"""Plain bytes in flight: while an object is made anew, it is held as it was stored as well."""
READERS = 4

_DAMAGE = (NotFound, ObjectDamaged, ManifestInvalid, RepositoryFormatNewer)
"""What is wrong with single objects of the source; anything else is wrong with the source as a whole."""
Damage = TypeVar("Damage", bound=HelenusError)
Finish = Callable[[StoredTable], Awaitable[None]]


class _Wanted(NamedTuple):
    """An object of the manifest and how many plain bytes the manifest knows in it: at least. What a snapshot itself
    wrote of a table that the backup leaves out may lie behind them."""

    stored: StoredObject
    length: int


class Transfer:
    """One pass of a backup of `source` into all targets that are alive. One use, one event loop: own files first, then
    the tables."""

    def __init__(
        self,
        source: OpenedRepository,
        manifest: Manifest,
        targets: Sequence[StoreTarget],
        tally: Tally,
        *,
        most_bytes: int = MOST_BYTES,
        parted: Callable[[StoreTarget], object] | None = None,
        workers: MakeWorkers = Workers,
    ) -> None:
        self._source = source
        self._manifest = manifest
        self._host_id = manifest.head.node.host_id
        self._epochs = Epochs(source)
        self._tally = tally
        self.putting = Putting(targets, tally, most_bytes, READERS, parted)
        self.sizes = [Size(table.keyspace, table.table, table.files, table.bytes) for table in manifest.head.tables]
        self._budget = self.putting.budget
        self._streams = asyncio.Semaphore(max(1, source.streams))
        self._workers = workers(READERS, "convert")

    async def close(self) -> None:
        """End the threads."""
        await self._workers.close()

    async def own_files(self) -> StoredOwnFiles:
        """Store what the snapshot itself wrote. Files of which an object is missing or damaged are left out and named:
        agents restore without them. Raises what is wrong with the source as a whole."""
        head = self._manifest.head
        lengths = _lengths(entry for table in head.tables for entry in table.own)
        wanted = self._wanted(head.own_objects, head.own_coded, lengths)
        bad: dict[str, HelenusError] = {}
        lengths_there: dict[bytes, int] = {}

        async def one(wanted: _Wanted) -> None:
            try:
                lengths_there[wanted.stored.id] = await self._object(wanted, None)
            except _DAMAGE as error:
                bad[wanted.stored.id.hex()] = error
            finally:
                self._budget.give(wanted.length)

        try:
            async with TaskGroup() as group:
                for object_ in wanted:
                    await self._budget.take(object_.length)
                    group.create_task(one(object_))
        except* HelenusError as errors:
            raise first_of(errors) from None
        entries: dict[tuple[str, str], list[FileEntry]] = {}
        broken: dict[tuple[str, str], HelenusError] = {}
        for table in head.tables:
            kept = entries[table.keyspace, table.table] = []
            for entry in table.own:
                error = next((bad[piece.object] for piece in entry.pieces if piece.object in bad), None)
                if error is not None:
                    broken.setdefault((table.keyspace, table.table), _of_file(error, table, [entry.name]))
                    continue
                kept.append(entry)
                for target in self.putting.alive():
                    self._tally.done(target.id, table.keyspace, table.table, 1, entry.size)
        for (keyspace, name), error in broken.items():
            for target in self.putting.alive():
                self._tally.error(target.id, keyspace, name, f"{error.code}: {error.message}")
        return StoredOwnFiles(entries, list(lengths_there.items()), broken)

    async def tables(self, finish: Finish) -> None:
        """Store the tables' SSTables; `finish` is awaited with each table as it is done. Ends early when no target is
        alive. Raises what is wrong with the source as a whole."""
        try:
            async with TaskGroup() as group:
                for reference in self._manifest.head.tables:
                    if not self.putting.alive():
                        break
                    await self._table(reference, group, finish)
        except* HelenusError as errors:
            raise first_of(errors) from None

    async def _table(self, reference: TableReference, group: TaskGroup, finish: Finish) -> None:
        header = FrameHeader(reference.keyspace, reference.table, reference.table_id)
        run = TableRun(header, self.putting.targets, self._tally)
        place = 0
        try:
            async with aclosing(self._manifest.parts(reference)) as parts:
                async for part in parts:
                    if run.error is not None or not self.putting.alive():
                        break
                    await self._sstable(run, reference, place, part, group, finish)
                    place += 1
        except SealingKeyUnknown as error:
            run.fail(await self._claim(error))
        except _DAMAGE as error:
            run.fail(error)
        self._one_less(run, group, finish)

    async def _sstable(
        self,
        run: TableRun,
        reference: TableReference,
        place: int,
        part: TablePart,
        group: TaskGroup,
        finish: Finish,
    ) -> None:
        wanted = self._wanted(part.objects, part.coded, _lengths(part.files))
        missing = [one for one in wanted if not self._is_there(one)]
        held, whole = sum(one.length for one in wanted), sum(entry.size for entry in part.files)
        if there := held - sum(one.length for one in missing):
            run.progress(0, there, self.putting.alive())
        done = DoneSSTable(part.files, tuple((one.stored.id, one.length) for one in wanted), {})
        run.outstanding += 1
        left = len(missing)

        def end() -> None:
            if run.error is None and self.putting.alive():
                # The same bytes twice in an SSTable are one object.
                run.progress(len(part.files), whole - held, self.putting.alive())
                run.done(place, done, has_data=any(_is_data(entry.name) for entry in part.files))
            self._one_less(run, group, finish)

        async def one(wanted: _Wanted) -> None:
            nonlocal left
            try:
                if run.error is None and self.putting.alive():
                    await self._object(wanted, run)
            except _DAMAGE as error:
                object_id = wanted.stored.id.hex()
                names = [entry.name for entry in part.files if any(p.object == object_id for p in entry.pieces)]
                run.fail(_of_file(error, reference, names))
            finally:
                self._budget.give(wanted.length)
            left -= 1
            if not left:
                end()

        if not missing:
            end()
        for object_ in missing:
            await self._budget.take(object_.length)
            group.create_task(one(object_))

    def _wanted(
        self, objects: Mapping[str, int], coded: Mapping[str, int], lengths: Mapping[str, int]
    ) -> list[_Wanted]:
        """The objects with their plain bytes: of a raw one its stored size tells, of a coded one the files in it."""
        around = self._source.form.size(0)
        found = []
        for name, size in objects.items():
            codec = Codec(coded.get(name, Codec.RAW))
            length = size - around if codec is Codec.RAW else lengths.get(name, 0)
            found.append(_Wanted(StoredObject(bytes.fromhex(name), codec, size), max(0, length)))
        return found

    def _is_there(self, one: _Wanted) -> bool:
        """Whether no target that is still written to lacks the object."""
        return all(target.find(one.stored.id, one.length) is not None for target in self.putting.alive())

    async def _object(self, one: _Wanted, run: TableRun | None) -> int:
        """Read an object, unless it came meanwhile, and put it where it is missing, counted for `run`. How many plain
        bytes it has, as far as that was needed."""
        object_id, alive = one.stored.id, self.putting.alive()
        forms = list(dict.fromkeys(target.form for target in alive if target.find(object_id, one.length) is None))
        have = [target for target in alive if target.form not in forms]
        if run is not None and have:
            run.progress(0, one.length, have)
        if not forms:
            return one.length
        decoded = await self._read(one)
        length = decoded.plain.nbytes
        stored = await self._workers.run(lambda _: _encoded(decoded, object_id, forms))
        await self.putting.put(object_id, length, stored, run)
        return length

    async def _read(self, one: _Wanted) -> Decoded:
        """The object's verified bytes. A second look is had at what is damaged."""
        for left in reversed(range(READ_TRIES)):
            try:
                async with self._streams:
                    gate = Stream(self._source.gate)
                    found = await read_object(self._source, self._host_id, one.stored, gate, self._workers)
                await self._workers.run(
                    partial(_refuse_other, found, one, key_of(self._source, self._host_id, one.stored))
                )
                return found
            except SealingKeyUnknown as error:
                raise await self._claim(error) from error
            except ObjectDamaged:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _claim(self, error: SealingKeyUnknown) -> ObjectDamaged:
        """What that is of an object that claims keys which never were. Raises the error itself where they came since
        the command began: it goes on with them when it is sent again."""
        if await self._epochs.came_since(error):
            raise error
        return ObjectDamaged(error.message, **error.fields)

    def _one_less(self, run: TableRun, group: TaskGroup, finish: Finish) -> None:
        run.outstanding -= 1
        if not run.outstanding and self.putting.alive():
            group.create_task(_finished(run, finish))


async def _finished(run: TableRun, finish: Finish) -> None:
    await finish(run.stored())


def _refuse_other(found: Decoded, one: _Wanted, key: str, _: Stop) -> None:
    """Raise ObjectDamaged unless it is what the manifest says; a seal alone does not tell of the bytes' digest. In a
    thread: they may have to be digested."""
    if found.plain.nbytes < one.length or found.packed.codec is not one.stored.codec:
        raise ObjectDamaged(f"an object is another one than the manifest says: {key}", key=key)
    if not found.id and digest(found.plain) != one.stored.id:
        raise ObjectDamaged(f"an object holds other bytes than its name promises: {key}", key=key)


def _encoded(decoded: Decoded, object_id: bytes, forms: Iterable[Form]) -> dict[Form, Stored]:
    """The object as each form has it. In a thread: it may be sealed."""
    length = decoded.plain.nbytes
    return {form: form.encode(decoded.packed, length, object_id, ObjectType.DATA) for form in forms}


def _lengths(files: Iterable[FileEntry]) -> dict[str, int]:
    """How many plain bytes of each object the files are known to fill."""
    found: dict[str, int] = {}
    for entry in files:
        for piece in entry.pieces:
            found[piece.object] = max(found.get(piece.object, 0), piece.offset + piece.length)
    return found


def _is_data(name: str) -> bool:
    component = parse(name)
    return component is not None and component.component == DATA and "/" not in name


def _of_file(error: Damage, table: TableReference, names: Sequence[str]) -> Damage:
    """The same error with the table and the files that it is about."""
    named = of_table(error, table.keyspace, table.table)
    named.message = f"{', '.join(names[:3])} of {named.message}"
    named.fields = {**named.fields, "files": list(names)}
    return named
