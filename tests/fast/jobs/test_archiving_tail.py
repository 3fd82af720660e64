"""Copies of the segment that is being written: what they cover, when there is none, and what is refused."""

import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.commit_log.first_write import holds_writes
from agent.jobs.archiving.looking import Look, SeenFile, look
from agent.jobs.archiving.shipper import LOCKED
from agent.jobs.archiving.standing import view_of
from agent.jobs.archiving.tail import refusal_of
from agent.repository.hold_notes import HoldNotes
from agent.repository.holding import Lock
from agent.wire.object_lock import ObjectLock
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.jobs.toy_log import SIZE, header, section
from tests.fast.storage.memory import MemoryStorage

NUMBER = 1_750_000_000_123


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def test_a_tail_is_safe_and_the_whole_one_takes_its_place(site: ArchivingSite) -> None:
    """Promise: what was written and synced is in the destination though the segment isn't closed, and the view says so;
    once the segment is closed only the whole copy is left."""
    await site.begin(tail_seconds=0.05)
    first = site.segment()
    await site.shipped(first)
    site.log.write(b"seconds ago")
    site.log.now += 3
    active = site.log.path(site.log.active).name

    def covered() -> bool:
        return (site.shipper("d1").view().safe_until or 0) >= site.log.now

    await site.until(covered)
    record = (await site.records("d1"))[-1]
    assert (record.name, record.whole, record.closed_at) == (active, False, site.log.now)
    content = await site.content("d1", record, site.directory / "tail")
    assert b"seconds ago" in content
    assert content == site.log.path(site.log.active).read_bytes()[: record.size]
    site.log.now += 5  # nothing is written: the copy covers more all the same
    await site.until(covered)
    assert (await site.records("d1"))[-1].size == record.size
    assert len([key for key in site.stores["d1"]._objects if f"{site.log.active}.7.tail" in key]) == 1
    name = site.segment(b"and more")
    await site.shipped(name)
    await site.until(lambda: not [key for key in site.stores["d1"]._objects if f"{int(name[12:-4])}.7.tail" in key])
    whole = next(one for one in await site.records("d1") if one.name == name)
    assert whole.whole


async def test_what_is_not_synced_is_not_covered(site: ArchivingSite) -> None:
    """Promise: writes behind the last section, which Cassandra would not replay, are never said to be safe."""
    await site.begin(tail_seconds=0.05)
    await site.shipped(site.segment())
    site.log.write(b"synced")
    path = site.log.path(site.log.active)
    with path.open("r+b") as file:
        file.seek(site.log.at + 8)
        file.write(b"\0\0\0\x10not synced")
    sources = await site.archiver._tail.sources(look(str(site.log.directory), [], []))
    assert sources == []


async def test_a_segment_that_was_closed_since_the_look_covers_nothing_more(site: ArchivingSite) -> None:
    """Promise: once writes go to the next segment, a copy of the one before is not said to have all up to now."""
    await site.begin()
    await site.shipped(site.segment())
    site.log.write(b"in the one before")
    seen = look(str(site.log.directory), [], [])
    active = site.log.path(site.log.active).name
    assert [one.name for one in await site.archiver._tail.sources(seen)] == [active]
    site.log.rotate(delete=False, archives=False)
    site.log.write(b"in the next one")
    assert active not in [one.name for one in await site.archiver._tail.sources(seen)]


@pytest.mark.parametrize(
    ("parameters", "mode", "why"),
    [
        (b'{"compressionClass":"LZ4Compressor"}', None, "the commit log is compressed"),
        (b'{"encCipher":"AES/CBC/PKCS5Padding"}', None, "the commit log is encrypted"),
        (b"{}", "direct", "the commit log is written with commitlog_disk_access_mode direct"),
        (b"{}", "auto", "the commit log is written with commitlog_disk_access_mode auto"),
        (b"{}", "mmap", ""),
        (b"{}", None, ""),
    ],
)
def test_what_is_not_proven_is_refused(tmp_path: Path, parameters: bytes, mode: str | None, why: str) -> None:
    """Promise: compressed, encrypted and directly written logs are not copied while they are written; it says why."""
    (tmp_path / f"CommitLog-7-{NUMBER}.log").write_bytes(header(NUMBER, parameters).ljust(SIZE, b"\0"))
    assert refusal_of(look(str(tmp_path), [], []), mode) == why


def test_a_segment_that_is_being_made_refuses_nothing(tmp_path: Path) -> None:
    """Promise: a file without its header yet, or no file at all, says nothing of the log."""
    assert refusal_of(Look({}, {}, frozenset(), 0), None) == ""
    (tmp_path / f"CommitLog-7-{NUMBER}.log").write_bytes(b"")
    assert refusal_of(look(str(tmp_path), [], []), None) == ""


async def test_under_object_lock_whole_segments_go_and_tails_do_not(tmp_path: Path) -> None:
    """Promise: a locked destination gets every closed segment, and no copies that would pile up; the view says why."""
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    lock = Lock(ObjectLock("compliance", 30, "control"), HoldNotes(tmp_path / "holds"), ("bucket",))
    site.repositories._locks = {"d1": lock}
    try:
        await site.begin(tail_seconds=0.05)
        site.log.write(b"being written")
        await site.until(lambda: site.shipper("d1").tail_refused == LOCKED)
        name = site.segment()
        await site.shipped(name)
        assert all(one.whole for one in await site.records("d1"))
        assert (await view_of(site.archiver)).tail_refused == LOCKED
    finally:
        await site.stop()


def test_the_first_write_is_seen_at_once(tmp_path: Path) -> None:
    """Promise: a segment without a write is told from one with any, synced or not; a section without mutations, as
    Cassandra writes one when it stops, is none; what is no segment is refused."""
    path = tmp_path / f"CommitLog-7-{NUMBER}.log"
    start = header(NUMBER)
    at = len(start)

    def holds(body: bytes, parameters: bytes = b"{}") -> bool:
        path.write_bytes((header(NUMBER, parameters) + body).ljust(SIZE, b"\0"))
        return holds_writes(path)

    empty = section(NUMBER, at, [])
    assert not holds(b"")
    assert not holds(empty)
    assert holds(section(NUMBER, at, [b"x" * 20]))
    assert holds(empty + section(NUMBER, at + len(empty), [b"x" * 20]))
    assert holds(b"\0" * 8 + b"\0\0\0\x14unsynced")
    compressed = b'{"compressionClass":"LZ4Compressor"}'
    assert holds(section(NUMBER, at + len(compressed) - 2, [b"x"]), compressed)
    assert not holds(b"", compressed)
    end = at + len(compressed) - 2 + 12
    assert not holds(struct.pack(">III", end, 0, 0), compressed)  # closed without a write: no plain byte
    assert holds(struct.pack(">III", end, 0, 0) + struct.pack(">III", end + 20, 0, 8) + b"compress", compressed)
    path.write_bytes(b"no segment")
    with pytest.raises(SegmentUnreadable):
        holds_writes(path)
    path.unlink()
    with pytest.raises(SegmentUnreadable):
        holds_writes(path)


def test_a_look_passes_over_what_is_no_segment(tmp_path: Path) -> None:
    """Promise: hidden copies, directories, links and strangers are no segments; a former archive directory that is gone
    is empty, the present one is told."""
    live, archive = tmp_path / "live", tmp_path / "archive"
    live.mkdir()
    archive.mkdir()
    good = f"CommitLog-7-{NUMBER}.log"
    (live / good).write_bytes(b"x" * 10)
    os.symlink(live / good, live / f"CommitLog-7-{NUMBER + 1}.log")
    (live / f"CommitLog-7-{NUMBER + 2}.log").mkdir()
    (archive / f".{good}.12.tmp").write_bytes(b"")
    found = look(str(live), [str(archive), str(tmp_path / "former")], [good])
    assert (list(found.live), found.archived, found.unread, found.bytes) == ([good], {}, "", 10)
    assert isinstance(found.live[good], SeenFile)
    assert look(str(live), [str(tmp_path / "gone")], []).unread
