"""What one restore leaves on this node's disk beside the staged files: small durable notes in `<state>/jobs/<job>/`.

staging.json    the staging roots, so that they are found and removed whatever happens to Cassandra's settings
left.json       staging roots of data directories that the settings lost while the job was under way
asked.json      what FETCH was asked for, before anything is staged: another question under the same job is another job
fetched.json    that FETCH finished, and the count of SSTables per table
views.json      the live views' CQL, before they are dropped
truncated.jsonl a line for each table that TRUNCATE has emptied for the job, with the table's id
made.json       the tables that SCHEMA makes, before it makes any
imports.jsonl   a line before and a line after each batch; its existence means that the import has begun
cleaned         that CLEAN finished
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from agent.cassandra.staging import StagingRoot
from agent.jobs.restore.errors import JobFinished, JobMissing, NotFetched
from agent.pipeline.errors import TargetFull
from agent.wire.names import check_name
from agent.wire.results import ViewCql
from kit.atomic_files import make_directory, remove_durably, write_atomically

_log = structlog.get_logger(__name__)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TRUNCATED = "truncated.jsonl"
_IMPORTS = "imports.jsonl"
Line = TypeVar("Line")


class BatchLine(msgspec.Struct, frozen=True):
    """A line of imports.jsonl. `done` False: the batch begins. `sstables`: root number and name of each."""

    number: int
    keyspace: str
    table: str
    sstables: list[tuple[int, str]]
    done: bool


class Fetched(msgspec.Struct, frozen=True):
    """keyspace → table → [files, bytes, SSTables] in held/."""

    tag: str
    source_host_id: str
    tables: dict[str, dict[str, list[int]]]


class Asked(msgspec.Struct, frozen=True):
    """What stands (or begins to stand) in held/: whose part of which backup, out of which repository (None: on-server),
    and which tables."""

    tag: str
    source_host_id: str
    repository_id: str | None
    tables: dict[str, list[str]]


class RestoreNotes:
    """One job's notes. Every write is durable when it returns, or raises `TargetFull` when the state has no room."""

    def __init__(self, state: Path, job: str | None) -> None:
        if job is None:
            raise JobMissing("a phase of a restore needs a job")
        self.job = check_name("job", job)
        self._state = state
        self._directory = state / "jobs" / self.job
        self._appending = asyncio.Lock()

    async def put_staging(self, roots: Sequence[StagingRoot]) -> None:
        """Note where the job stages, before anything is put there. Roots that were noted before stay known."""
        noted = await self.all_staging()
        left = [root for root in noted if root not in roots]
        if left:
            await self._write("left.json", msgspec.json.encode(left))
        await self._write("staging.json", msgspec.json.encode(roots))

    async def staging(self) -> list[StagingRoot]:
        """Where the job stages, [] if it never did."""
        return await self._roots("staging.json")

    async def all_staging(self) -> list[StagingRoot]:
        """Where the job stages or ever staged: all that has to go."""
        roots = await self.staging()
        return roots + [root for root in await self._roots("left.json") if root not in roots]

    async def put_asked(self, asked: Asked) -> None:
        """Note what is about to be fetched."""
        await self._write("asked.json", msgspec.json.encode(asked))

    async def asked(self) -> Asked | None:
        """What FETCH began to fetch, None before."""
        text = await self._read("asked.json")
        return None if text is None else msgspec.json.decode(text, type=Asked)

    async def ask_again(self) -> None:
        """Note that the job is gone on with as it was asked for."""
        await asyncio.to_thread(os.utime, self._directory / "asked.json")

    async def asked_at(self) -> int | None:
        """When the job was last asked for what it fetches, in nanoseconds by the file system's clock; None before."""
        times = await asyncio.to_thread(self._times)
        return times.get("asked.json")

    async def last_noted(self) -> int:
        """When anything was last noted of the job, in nanoseconds by the file system's clock."""
        return max((await asyncio.to_thread(self._times)).values(), default=0)

    async def put_fetched(self, fetched: Fetched) -> None:
        """Note that everything stands verified in held/."""
        await self._write("fetched.json", msgspec.json.encode(fetched))

    async def fetched(self) -> Fetched | None:
        """What FETCH noted, None before its success."""
        text = await self._read("fetched.json")
        return None if text is None else msgspec.json.decode(text, type=Fetched)

    async def must_be_fetched(self) -> Fetched:
        """As `fetched`. Raises `NotFetched`."""
        fetched = await self.fetched()
        if fetched is None:
            raise NotFetched(f"nothing is fetched for the job {self.job}", job=self.job)
        return fetched

    async def put_views(self, views: Sequence[ViewCql]) -> None:
        """Note the views that are about to be dropped, beside those noted before (of an earlier, cut run)."""
        known = {(view.keyspace, view.name): view for view in await self.views()}
        merged = [*({(view.keyspace, view.name): view for view in views} | known).values()]
        await self._write("views.json", msgspec.json.encode(merged))

    async def views(self) -> list[ViewCql]:
        """The views that were live before the drop."""
        return msgspec.json.decode(await self._read("views.json") or b"[]", type=list[ViewCql])

    async def put_truncated(self, keyspace: str, table: str, table_id: str) -> None:
        """Note that the job has emptied the table, which had this id."""
        line = msgspec.json.encode([keyspace, table, table_id]) + b"\n"
        async with self._appending:
            await asyncio.to_thread(self._append, _TRUNCATED, line)

    async def truncated(self) -> set[tuple[str, str, str]]:
        """(keyspace, table, table id) of what the job has emptied. One whose line a crash cut, or an earlier release
        wrote without an id, is left out: it is emptied again, before any import, as one would be whose answer was
        lost."""
        text = await self._read(_TRUNCATED) or b""
        lines = (self._line(each, tuple[str, str, str]) for each in text.split(b"\n")[:-1])
        return {line for line in lines if line is not None}

    async def begin_tables(self, tables: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Note the tables (keyspace, name) that are about to be made; these and those of earlier, cut runs."""
        noted = msgspec.json.decode(await self._read("made.json") or b"[]", type=set[tuple[str, str]])
        begun = noted.union(tables)
        if begun != noted:
            await self._write("made.json", msgspec.json.encode(sorted(begun)))
        return begun

    def import_begun(self) -> bool:
        """Whether this agent has begun the job's import. Costs a stat."""
        return (self._directory / _IMPORTS).exists()

    async def begin_import(self) -> None:
        """Note that the import begins: from here on no TRUNCATE and no DDL of the job."""
        await asyncio.to_thread(self._append, _IMPORTS, b"")

    async def put_batch(self, line: BatchLine) -> None:
        """Journal a batch's beginning or end."""
        async with self._appending:
            await asyncio.to_thread(self._append, _IMPORTS, msgspec.json.encode(line) + b"\n")

    async def batches(self) -> list[BatchLine]:
        """Every line so far. One that a crash cut or a file system lost is left out, which is safe: its batch counts as
        not done, and is imported again."""
        text = await self._read(_IMPORTS) or b""
        return [line for each in text.split(b"\n")[:-1] if (line := self._line(each, BatchLine)) is not None]

    async def forget_imported(self, tables: Collection[tuple[str, str]]) -> None:
        """Take back the batches of these (keyspace, table) that are done: all of their SSTables are imported again.
        That the import has begun stays noted, and so do batches of unknown outcome."""
        async with self._appending:
            lines = await self.batches()
            done = {line.number for line in lines if line.done and (line.keyspace, line.table) in tables}
            kept = [msgspec.json.encode(line) + b"\n" for line in lines if line.number not in done]
            await self._write(_IMPORTS, b"".join(kept))

    async def forget_unknown(self, numbers: Collection[int]) -> None:
        """Take back that the batches of these numbers began, whose end was never noted: Cassandra is at none of them
        any more. An import of the job that goes on makes them again, as it would have. It is no sign that the job went
        on: when that was noted last stays as it is."""
        async with self._appending:
            times = await asyncio.to_thread(self._times)
            kept = [line for line in await self.batches() if line.number not in numbers]
            await self._write(_IMPORTS, b"".join(msgspec.json.encode(line) + b"\n" for line in kept))
            if _IMPORTS in times:
                await asyncio.to_thread(os.utime, self._directory / _IMPORTS, ns=(times[_IMPORTS],) * 2)

    async def put_cleaned(self) -> None:
        """Note that the job's staging is gone, and with it what was fetched."""
        await self._write("cleaned", b"")
        await self.forget_fetched()

    async def forget_fetched(self) -> None:
        """Note that held/ is no longer what was fetched."""
        await asyncio.to_thread(remove_durably, self._directory / "fetched.json")

    async def begin_again(self) -> None:
        """Take back that the job was cleaned: an attempt that was undone before its import is followed by another.
        Only when no import has begun; see `refuse_when_finished`."""
        await asyncio.to_thread(remove_durably, self._directory / "cleaned")

    async def refuse_when_finished(self) -> None:
        """Raises `JobFinished` when the job had begun its import and was cleaned: its id is used up."""
        if self.import_begun() and await self._read("cleaned") is not None:
            raise JobFinished(f"the job {self.job} was imported and cleaned here", job=self.job)

    def _line(self, text: bytes, kind: type[Line]) -> Line | None:
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError:
            _log.warning("restore_note_unreadable", job=self.job, kind=kind.__name__, bytes=len(text))
            return None

    async def _roots(self, name: str) -> list[StagingRoot]:
        return msgspec.json.decode(await self._read(name) or b"[]", type=list[StagingRoot])

    def _times(self) -> dict[str, int]:
        try:
            return {path.name: path.stat().st_mtime_ns for path in self._directory.iterdir()}
        except FileNotFoundError:
            return {}

    async def _write(self, name: str, content: bytes) -> None:
        def write() -> None:
            with self._room():
                make_directory(self._directory)
                write_atomically(self._directory / name, content)

        await asyncio.to_thread(write)

    async def _read(self, name: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return (self._directory / name).read_bytes()
            except FileNotFoundError:
                return None

        return await asyncio.to_thread(read)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """What a full disk of the agent's state says becomes the error that names it."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise TargetFull(f"no room in the agent's state directory {self._state}", path=str(self._state)) from error

    def _append(self, name: str, content: bytes) -> None:
        with self._room():
            self._write_line(name, content)

    def _write_line(self, name: str, content: bytes) -> None:
        make_directory(self._directory)
        path = self._directory / name
        new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a line that a crash cut
                whole = os.pread(descriptor, size, 0).rpartition(b"\n")[0]
                os.ftruncate(descriptor, len(whole) + 1 if whole else 0)
            with os.fdopen(descriptor, "ab", closefd=False) as file:  # goes on after a short write, or raises
                file.write(content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            parent = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
