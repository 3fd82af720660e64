"""Bytes of an on-server backup on their way to held/: they outlast a power cut, and a stop is heeded in between."""

import asyncio
import errno
import os
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from agent.cassandra.errors import SnapshotMissing, SnapshotUnreadable, StagingRefused
from agent.cassandra.protocol import Snapshots
from agent.cassandra.staging import StagingRoot, make_directory, make_root, staging_root
from agent.jobs.restore.errors import DamagedOnServer
from agent.jobs.restore.source import OnServerSource, WantedSstable
from agent.model.manifest import FileEntry, TablePart, TableReference
from agent.model.snapshot import FileStat, SnapshotTable
from agent.repository.manifest import Manifest
from tests.fast.failing_disk import FailingDisk

PARTS = ("Data.db", "Digest.crc32", "Index.db", "TOC.txt")
CHUNKS = 4


class Kept:
    """A snapshot of one SSTable of ks.t, and the staging root that it goes to. It is its own `Snapshots`."""

    def __init__(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        self.snapshot = data / "ks" / "t" / "snapshots" / "tag"
        self.snapshot.mkdir(parents=True)
        content = os.urandom(CHUNKS << 20)
        texts = (content, str(zlib.crc32(content)).encode(), b"index", b"toc")
        for part, text in zip(PARTS, texts, strict=True):
            (self.snapshot / f"nb-1-big-{part}").write_bytes(text)
        self.taken = {path.name: path.stat() for path in self._files()}
        self.timed = True
        self.root: StagingRoot = staging_root(str(data), "job-1")
        make_root(self.root)
        self.held = make_directory(self.root, ("held", "ks", "t"))
        self.looks: list[Mapping[str, Sequence[str]]] = []
        self.moved: Callable[[int], None] = lambda size: None
        self.listed: Callable[[], None] = lambda: None

    async def inventory(self, tag: str, tables: Mapping[str, Sequence[str]]) -> Any:
        self.looks.append(tables)
        files = tuple(
            FileStat(path.name, str(self.snapshot), 0, stat.st_size, stat.st_ino, stat.st_mtime_ns, "fs")
            for path in self._files()
            for stat in [path.stat()]
        )
        self.listed()
        return (SnapshotTable("ks", "t", "0" * 32, files),)

    async def parts(self, reference: Any) -> AsyncIterator[TablePart]:
        times = tuple(stat.st_mtime_ns for stat in self.taken.values())
        if reference.table == "t":
            yield TablePart(self._entries(), {}, times if self.timed else msgspec.UNSET)

    def _entries(self) -> tuple[FileEntry, ...]:
        return tuple(FileEntry(name, stat.st_size, 0, "", (), 1 << 20) for name, stat in self.taken.items())

    def _files(self) -> list[Path]:
        return sorted(self.snapshot.iterdir())

    async def fetch(self) -> None:
        tables = [TableReference("ks", table, "0" * 32, 0, 0, 0, 0) for table in ("other", "t", "u")]
        head = SimpleNamespace(head=SimpleNamespace(tag="tag", tables=tables), parts=self.parts)
        asked = {"ks": ["t", "u", "unknown"], "unasked": []}
        source = OnServerSource(cast("Manifest", head), cast("Snapshots", self), asked)

        async def wanted() -> AsyncIterator[WantedSstable]:
            yield WantedSstable("ks", "t", "nb-1-big", self._entries(), self.root, self.held)

        async def placed(one: WantedSstable) -> None:
            return None

        await source.fetch(wanted(), placed, lambda one, size: self.moved(size))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.mark.parametrize("links", [True, False])
async def test_what_is_placed_is_durable(kept: Kept, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Promise: what FETCH notes as fetched is there after a power cut. The bytes of a copy are synced before it gets
    its name, and the directory after the last name; nobody else does it, for Cassandra only renames what it imports."""
    synced: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", fsync)
    if not links:
        monkeypatch.setattr(os, "link", refused)
    await kept.fetch()
    copies = [] if links else [str(kept.held / f".nb-1-big-{part}.part") for part in PARTS]
    assert sorted(synced[:-1]) == sorted(copies)
    assert synced[-1] == str(kept.held)


async def test_the_snapshot_is_looked_at_once_however_many_tables_are_restored(kept: Kept) -> None:
    """Promise: a restore costs no more for each table the more of them there are."""
    await kept.fetch()
    assert kept.looks == [{"ks": ["t", "u"]}]


async def test_a_file_of_another_size_is_placed_anew(kept: Kept) -> None:
    """What somebody cut in held/ is not taken for what was kept."""
    await kept.fetch()
    target = kept.held / "nb-1-big-Data.db"
    target.unlink()
    target.write_bytes(b"cut")
    await kept.fetch()
    assert target.stat().st_size == CHUNKS << 20


@pytest.mark.parametrize("part", ["Data.db", "Digest.crc32", "Index.db"])
async def test_a_file_that_was_replaced_is_told_before_anything_is_staged(kept: Kept, part: str) -> None:
    """Promise: other bytes of the same size are not imported, whatever component they are of."""
    path = kept.snapshot / f"nb-1-big-{part}"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(DamagedOnServer, match=rf"nb-1-big-{part} of ks\.t was written since") as caught:
        await kept.fetch()
    assert caught.value.fields == {"keyspace": "ks", "table": "t", "file": path.name}
    assert list(kept.held.iterdir()) == []


async def test_a_data_file_whose_bits_flipped_on_the_disk_is_told(kept: Kept) -> None:
    """Promise: nobody wrote the file, and its time is as it was: Cassandra's own CRC-32 tells."""
    path = kept.snapshot / "nb-1-big-Data.db"
    then = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    with pytest.raises(DamagedOnServer, match="CRC-32"):
        await kept.fetch()


@pytest.mark.parametrize("part", ["Data.db", "Digest.crc32"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
async def test_a_file_that_the_disk_refuses_is_named(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, part: str, number: int
) -> None:
    """Promise: the restore ends with the file, its table and the disk's reason, and says where to look."""
    path = kept.snapshot / f"nb-1-big-{part}"
    FailingDisk(monkeypatch).fail(path, number, "open")
    with pytest.raises(
        SnapshotUnreadable, match=rf"nb-1-big-{part} of ks\.t can't be read: {os.strerror(number)}"
    ) as caught:
        await kept.fetch()
    assert caught.value.fields == {"keyspace": "ks", "table": "t", "path": str(path), "reason": os.strerror(number)}


async def test_a_file_that_breaks_while_it_is_read_is_named(kept: Kept) -> None:
    """Promise: the same when the disk gives the first bytes."""
    path = kept.snapshot / "nb-1-big-Data.db"

    def moved(size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # as read(2) does: without a name

    kept.moved = moved
    with pytest.raises(SnapshotUnreadable) as caught:
        await kept.fetch()
    assert caught.value.fields["path"] == str(path)


async def test_a_file_that_can_not_be_linked_is_named(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: neither is a link that the disk refuses an error without a name."""

    _refuse(monkeypatch, "link", errno.EIO)
    with pytest.raises(SnapshotUnreadable, match=r"nb-1-big-Data\.db of ks\.t"):
        await kept.fetch()


def _refuse(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """From now on os's `call` gives that errno, without a name."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refused)


@pytest.mark.parametrize("trouble", ["looked at", "read-only", "vanished", "copied to", "copy synced", "names synced"])
async def test_staging_that_the_disk_refuses_is_not_told_as_the_snapshot(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Promise: who reads the error looks at the directory that fails; the snapshot is whole."""
    disk = FailingDisk(monkeypatch)
    path = kept.held / "nb-1-big-Data.db"
    match trouble:
        case "looked at":
            disk.fail(path, errno.EIO, "stat")
        case "read-only":
            _refuse(monkeypatch, "link", errno.EROFS)
        case "vanished":
            kept.held.rmdir()
        case "copied to":
            _refuse(monkeypatch, "link", errno.EPERM)
            disk.fail(kept.held / ".nb-1-big-Data.db.part", errno.EACCES, "open")
        case "copy synced":
            _refuse(monkeypatch, "link", errno.EPERM)
            _refuse(monkeypatch, "fsync", errno.EIO)
        case "names synced":
            path = kept.held
            _refuse(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(StagingRefused) as caught:
        await kept.fetch()
    assert caught.value.fields["path"] == str(path)


async def test_a_file_that_can_not_be_read_to_be_copied_is_named(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: of a copy each side's troubles are told as its own."""
    path = kept.snapshot / "nb-1-big-Index.db"
    _refuse(monkeypatch, "link", errno.EPERM)
    FailingDisk(monkeypatch).fail(path, errno.EIO, "open")
    with pytest.raises(SnapshotUnreadable, match=r"nb-1-big-Index\.db of ks\.t") as caught:
        await kept.fetch()
    assert caught.value.fields["path"] == str(path)


@pytest.mark.parametrize("part", ["Data.db", "Digest.crc32", "Index.db"])
async def test_a_file_that_goes_after_it_was_listed_is_missing(kept: Kept, part: str) -> None:
    """Promise: Cassandra, or a person, clears the snapshot under the restore."""
    path = kept.snapshot / f"nb-1-big-{part}"
    kept.listed = path.unlink
    with pytest.raises(SnapshotMissing, match=rf"nb-1-big-{part} of ks\.t is gone") as caught:
        await kept.fetch()
    assert caught.value.fields == {"keyspace": "ks", "table": "t", "path": str(path)}


@pytest.mark.parametrize("change", ["missing", "cut"])
async def test_a_backup_of_which_no_times_were_noted_is_compared_by_size(kept: Kept, change: str) -> None:
    """Promise: what an older agent kept is restored as before."""
    kept.timed = False
    path = kept.snapshot / "nb-1-big-Index.db"
    os.utime(path, ns=(0, 0))
    await kept.fetch()
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(b"inde")
    with pytest.raises(DamagedOnServer, match=r"nb-1-big-Index\.db of ks\.t is (missing|4 bytes, not 5)"):
        await kept.fetch()


async def test_an_index_that_came_to_the_live_table_is_no_damage(kept: Kept) -> None:
    """Promise: Cassandra adds it to TOC.txt in place, so that the snapshot's grows with the live one."""
    with (kept.snapshot / "nb-1-big-TOC.txt").open("a") as toc:
        toc.write("SAI+aa+Meta.db")
    await kept.fetch()
    assert (kept.held / "nb-1-big-TOC.txt").read_text() == "tocSAI+aa+Meta.db"


async def test_a_cancel_ends_the_comparison_of_a_large_file_within_a_chunk(kept: Kept) -> None:
    """Promise: neither a person's cancel nor the agent's shutdown waits for a file of 100 GB to be read."""
    read: list[int] = []
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def moved(size: int) -> None:
        read.append(size)
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(30)

    kept.moved = moved
    fetching = asyncio.create_task(kept.fetch())
    async with asyncio.timeout(30):
        await begun.wait()
        fetching.cancel()
        loop.call_later(0.05, go.set)
        with pytest.raises(asyncio.CancelledError):
            await fetching
    await loop.shutdown_default_executor()  # whatever was left behind there
    assert len(read) == 1
    assert list(kept.held.iterdir()) == []
