"""Notes of own snapshots, and disks that fail: one bad file costs one tag, and no error is without a name."""

import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.cassandra import snapshot_notes, snapshots
from agent.cassandra.errors import SnapshotNoteDamaged, SnapshotUnreadable
from agent.cassandra.snapshot_notes import SnapshotNotes
from agent.model.own_state import StateFailed
from agent.wire.commands import SnapshotArguments
from kit.atomic_files import write_atomically
from tests.fast.cassandra.test_data_directories import Cassandra, Site


async def test_a_damaged_note_costs_its_own_tag_alone(tmp_path: Path) -> None:
    """Promise: the next backup is taken all the same, and the snapshot is neither cleared nor taken for another one: it
    may be an on-server backup."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    for tag in ("t1", "t2"):
        await site.backup(tag)
    (tmp_path / "state" / "on-server" / "t1" / "owner.json").write_bytes(b"{")
    with capture_logs() as lines:
        for _ in range(2):
            assert [one.tag for one in await site.snapshots.ours()] == ["t2"]
    assert [(line["event"], line["tag"]) for line in lines] == [("snapshot_note_damaged", "t1")]
    with pytest.raises(SnapshotNoteDamaged, match=r"owner\.json"):
        await site.snapshots.clear("t1")
    with pytest.raises(SnapshotNoteDamaged):
        await site.snapshots.take(SnapshotArguments("t1"), "command-t1")
    assert await site.snapshots.exists("t1")
    await site.backup("t3")


async def test_what_was_taken_and_can_not_be_read_is_neither_used_nor_taken_for_half_done(tmp_path: Path) -> None:
    """Promise: half done it would be cleared. A person may delete it."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    await site.backup("t1")
    (tmp_path / "state" / "on-server" / "t1" / "snapshot.json").write_bytes(b"{")
    assert [(one.tag, one.complete) for one in await site.snapshots.ours()] == [("t1", True)]
    for reads in (
        site.snapshots.info("t1"),
        site.snapshots.inventory("t1"),
        site.snapshots.take(SnapshotArguments("t1"), "command-t1"),
    ):
        with pytest.raises(SnapshotNoteDamaged, match=r"snapshot\.json"):
            await reads
    await site.snapshots.clear("t1")
    assert not await site.snapshots.exists("t1")


async def test_a_call_of_unreadable_time_was_made_when_its_note_was_written(tmp_path: Path) -> None:
    """Promise: a damaged time never makes an unanswered snapshot look settled."""
    notes = SnapshotNotes(tmp_path)
    notes.begin("t1", "c1", 1.0, made_by="", kept=False)
    notes.ask("t1", 5.0)
    unanswered = tmp_path / "t1" / "unanswered"
    unanswered.write_bytes(b"")
    os.utime(unanswered, (7.0, 7.0))
    assert notes.unanswered_since("t1") == 7.0


async def test_a_snapshot_that_can_not_be_noted_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise (I8): the state's disk is full when Cassandra is done."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)

    def full(path: Path, content: bytes) -> None:
        if path.name == "snapshot.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, content)

    monkeypatch.setattr(snapshot_notes, "write_atomically", full)
    with pytest.raises(StateFailed, match="No space left"):
        await site.backup("t1")
    assert not await site.snapshots.exists("t1")
    assert await site.snapshots.ours() == ()


async def test_what_nobody_foresaw_leaves_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a snapshot is cleared whatever breaks after it."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)

    async def broken() -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(cassandra, "identity", broken)
    with pytest.raises(RuntimeError):
        await site.backup("t1")
    assert not await site.snapshots.exists("t1")
    assert await site.snapshots.ours() == ()


async def test_a_directory_that_refuses_to_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a disk that refuses is an error with its path, not an internal one."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    await site.backup("t1")

    def denied(*asked: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/ks/t/snapshots/t1/.idx")

    monkeypatch.setattr(snapshots, "read_inventory", denied)
    with pytest.raises(SnapshotUnreadable, match=r"\.idx can't be read: Permission denied"):
        await site.data_files("t1")
