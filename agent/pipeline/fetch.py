"""Bytes on their way back: in, files of a manifest and the directories they go to; out, verified files on the disk.

A pack is fetched once for all its files, large files piece by piece side by side; at most 32 MiB are in flight. Every
digest is compared before a file gets its name, so that a resume trusts nothing but what it verified itself.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from agent.crypto.digest import digest
from agent.model.manifest import FileEntry, Piece
from agent.pipeline.budget import BYTES, Budget
from agent.pipeline.errors import FileDiffers
from agent.pipeline.stored_object import READ_TRIES, StoredObject, key_of, read_object
from agent.pipeline.writing import NewFile, sync_directory
from agent.progress.flow import STEP, Flow
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer, of_table
from agent.repository.frame import HEADER_SIZE, Codec
from agent.repository.opened import OpenedRepository
from agent.storage.direct import DirectWriter
from agent.storage.protocol import OPEN, Gate, NotFound
from agent.storage.threads import MakeWorkers, Stop, Workers
from agent.storage.throttle import Stream
from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup

WRITERS = 4


class Wanted(Protocol):
    """Files that belong together, such as an SSTable's, and the directory they go to, which exists."""

    @property
    def files(self) -> Sequence[FileEntry]: ...

    @property
    def directory(self) -> Path: ...

    @property
    def keyspace(self) -> str: ...

    @property
    def table(self) -> str: ...

    @property
    def objects(self) -> Mapping[str, int]:
        """Stored sizes of the objects that the files are in, as the manifest has them: no more is read."""

    @property
    def codecs(self) -> Mapping[str, int]:
        """The codecs of those that are not stored raw."""


W = TypeVar("W", bound=Wanted)


class _Part:
    """A run of a file inside an object."""

    def __init__(self, file: NewFile, place: int, start: int, piece: Piece) -> None:
        self.file = file
        self.place = place
        self.start = start
        self.piece = piece


class _Fetched(NamedTuple):
    """Bytes of an object and where in it they begin. `id`: their digest, when it is known."""

    plain: memoryview
    base: int
    id: bytes = b""


async def fetch_files(
    opened: OpenedRepository,
    host_id: str,
    wanted: AsyncIterator[W],
    placed: Callable[[W], Awaitable[None]],
    moved: Callable[[W, int], object],
    *,
    gate: Gate,
    most_bytes: int = BYTES,
    workers: MakeWorkers = Workers,
) -> None:
    """Bring everything `wanted` from the node's objects into its directories; `placed` is awaited when all files of one
    are there. What is there already with the right bytes is not fetched. `moved` is told, from any thread, how many
    more bytes of one are there or on their way: all of them, once, by the time it is placed.

    Raises NotFound (an object is missing), ObjectDamaged, RepositoryFormatNewer, FileDiffers, TargetFull, another
    StorageError.
    """
    fetch = _Fetch(opened, host_id, gate, most_bytes, workers)
    try:
        async with TaskGroup() as group:
            async for one in wanted:
                await fetch.begin(one, placed, partial(moved, one), group)
    except* HelenusError as errors:
        raise first_of(errors) from None
    finally:
        await fetch.close()


class _Fetch:
    def __init__(
        self, opened: OpenedRepository, host_id: str, gate: Gate, most_bytes: int, workers: MakeWorkers
    ) -> None:
        self._opened = opened
        self._host_id = host_id
        self._gate = gate
        self._budget = Budget(most_bytes, max(1, opened.streams))
        self._workers = workers(WRITERS, "write")
        self._direct = DirectWriter()
        self._open: set[NewFile] = set()

    async def close(self) -> None:
        """End the threads, let go of unfinished files."""
        await self._workers.close()
        for file in self._open:
            file.close()

    async def begin(
        self,
        one: W,
        placed: Callable[[W], Awaitable[None]],
        moved: Callable[[int], object],
        group: TaskGroup,
    ) -> None:
        """Start fetching what is missing of `one`."""
        files = [NewFile(one.directory, entry, self._direct) for entry in one.files]
        missing = await self._workers.run(lambda stop: [file for file in files if not _ready(file, moved, stop)])
        objects: dict[str, list[_Part]] = {}
        for file in missing:
            start = 0
            for place, piece in enumerate(file.entry.pieces):
                objects.setdefault(piece.object, []).append(_Part(file, place, start, piece))
                start += piece.length
        self._open.update(missing)
        left = len(objects)
        if not left:
            await self._placed(one, placed)
            return

        async def fetched(name: str, parts: list[_Part], span: int) -> None:
            nonlocal left
            try:
                stored = StoredObject(bytes.fromhex(name), Codec(one.codecs.get(name, Codec.RAW)), one.objects[name])
                await self._object(stored, parts, moved)
            except (FileDiffers, NotFound, ObjectDamaged, RepositoryFormatNewer) as error:
                raise of_table(error, one.keyspace, one.table) from error
            finally:
                self._budget.give(span)
            left -= 1
            if not left:
                await self._placed(one, placed)

        for name, parts in objects.items():
            span = max(part.piece.offset + part.piece.length for part in parts)
            await self._budget.take(span)
            group.create_task(fetched(name, parts, span))

    async def _placed(self, one: W, placed: Callable[[W], Awaitable[None]]) -> None:
        await self._workers.run(lambda _: sync_directory(one.directory))
        await placed(one)

    async def _object(self, stored: StoredObject, parts: list[_Part], moved: Callable[[int], object]) -> None:
        wanted = sum(part.piece.length for part in parts)
        flow = Flow(wanted, moved) if wanted >= STEP else None
        for left in reversed(range(READ_TRIES)):
            try:
                found = await self._plain(stored, parts, wanted, Stream(self._gate, flow or OPEN))
                break
            except ObjectDamaged:
                if not left:
                    raise
        complete = await self._workers.run(lambda stop: _write(parts, found, stop))
        self._open.difference_update(complete)
        if flow is None:
            moved(wanted)
        else:
            flow.settled(wanted)

    async def _plain(self, wanted_of: StoredObject, parts: list[_Part], wanted: int, gate: Gate) -> _Fetched:
        """An object's bytes: as many of it as the manifest names, whatever stands there, or only a range if little of a
        pack is wanted that is stored as it is."""
        first = min(part.piece.offset for part in parts)
        end = max(part.piece.offset + part.piece.length for part in parts)
        key = key_of(self._opened, self._host_id, wanted_of)
        if first > 0 and wanted < end // 2 and wanted_of.codec is Codec.RAW and not self._opened.form.is_sealed:
            found = await self._opened.storage.get(key, HEADER_SIZE + first, end - first, gate=gate)
            return _Fetched(memoryview(found), first)  # the files' own digests tell whether they are right
        decoded = await read_object(self._opened, self._host_id, wanted_of, gate, self._workers)
        if decoded.plain.nbytes < end:
            raise ObjectDamaged(f"an object holds less than the manifest says: {key}", key=key)
        return _Fetched(decoded.plain, 0, decoded.id)


def _ready(file: NewFile, moved: Callable[[int], object], stop: Stop) -> bool:
    """Whether nothing of the file must be fetched."""
    if file.is_there(stop):
        moved(file.entry.size)
        return True
    if file.entry.size:
        return False
    file.make_empty()
    return True


def _write(parts: list[_Part], found: _Fetched, stop: Stop) -> list[NewFile]:
    """Write an object's runs; the files that are complete now."""
    complete = []
    for part in parts:
        start = part.piece.offset - found.base
        run = found.plain[start : start + part.piece.length]
        run_digest = found.id if found.id and run.nbytes == found.plain.nbytes else digest(run)
        if part.file.write(part.place, part.start, run, run_digest, stop):
            complete.append(part.file)
    return complete
