"""Notes of own snapshots, and disks that fail: one bad file costs one tag, and no error is without a name."""

import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.cassandra import snapshot_notes
from agent.cassandra.errors import NoDataDirectories, SnapshotNoteDamaged, SnapshotUnreadable
from agent.cassandra.protocol import Held
from agent.cassandra.snapshot_notes import SnapshotNotes
from agent.model.own_state import StateFailed
from agent.wire.commands import SnapshotArguments
from agent.wire.node import Tables
from kit.atomic_files import write_atomically
from tests.fast.cassandra.directory_control import ID
from tests.fast.cassandra.test_data_directories import Cassandra, Site
from tests.fast.failing_disk import FailingDisk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    """It refuses the agent: what Cassandra clears, it clears as another user."""
    disk = FailingDisk(monkeypatch)
    really = Cassandra.clear_snapshot

    async def as_another_user(cassandra: Cassandra, tag: str) -> None:
        with disk.for_nobody():
            await really(cassandra, tag)

    monkeypatch.setattr(Cassandra, "clear_snapshot", as_another_user)
    return disk


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


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("place", ["", "/t1", "/t1/manifest.json"])
async def test_what_refuses_to_be_read_is_named_and_not_missing(
    tmp_path: Path, disk: FailingDisk, place: str, number: int
) -> None:
    """Promise: a disk that refuses is an error with its path: neither an internal one nor a snapshot that is gone, the
    rest of which may be cleared."""
    site = Site(Cassandra(tmp_path, "data1"))
    await site.backup("t1")
    path = snapshots_in(tmp_path / "data1") + place
    disk.fail(path, number)
    with pytest.raises(SnapshotUnreadable, match=rf"{path}.* can't be read: {os.strerror(number)}"):
        await site.data_files("t1")


async def test_a_disk_that_refuses_was_not_moved(tmp_path: Path, disk: FailingDisk) -> None:
    """Promise: its snapshots are not looked for on a new one, where they would be missing."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    await site.backup("t1")
    cassandra.add("data2")
    await site.directories.renew()
    disk.fail(tmp_path / "data1", errno.EIO)
    with pytest.raises(SnapshotUnreadable, match="data1 can't be read: Input/output error"):
        await site.data_files("t1")


async def test_a_disk_that_refuses_keeps_no_snapshot_on_the_others(tmp_path: Path, disk: FailingDisk) -> None:
    """Promise: Cassandra is told to clear it whatever the agent sees, so that the other disks get their room; and it is
    owed until it is seen to be gone."""
    site = Site(Cassandra(tmp_path, "data1", "data2"))
    await site.backup("t1")
    disk.fail(snapshots_in(tmp_path / "data2") + "/t1", errno.EIO)
    with pytest.raises(SnapshotUnreadable, match="data2"):
        await site.snapshots.exists("t1")
    with pytest.raises(SnapshotUnreadable, match="data2"):
        await site.snapshots.clear("t1")
    assert not Path(snapshots_in(tmp_path / "data1"), "t1").exists()
    assert await site.snapshots.own("t1") is not None
    disk.heal()
    await site.snapshots.clear("t1")
    assert await site.snapshots.own("t1") is None


async def test_a_disk_that_is_away_keeps_no_snapshot_on_the_others(tmp_path: Path) -> None:
    """Promise: the same for one that is not mounted; what it holds is cleared when it is back."""
    site = Site(Cassandra(tmp_path, "data1", "data2"))
    await site.backup("t1")
    (tmp_path / "data2").rename(tmp_path / "away")
    (tmp_path / "away/shop").rename(tmp_path / "hidden")  # from Cassandra, too
    with pytest.raises(NoDataDirectories, match="data2"):
        await site.snapshots.clear("t1")
    assert not Path(snapshots_in(tmp_path / "data1"), "t1").exists()
    assert await site.snapshots.own("t1") is not None
    (tmp_path / "hidden").rename(tmp_path / "away/shop")
    (tmp_path / "away").rename(tmp_path / "data2")
    await site.snapshots.clear("t1")
    assert await site.snapshots.own("t1") is None
    assert not await site.snapshots.exists("t1")


async def test_a_snapshot_that_only_cassandra_may_read_is_cleared(tmp_path: Path, disk: FailingDisk) -> None:
    """Promise: only what that frees is not told then."""
    site = Site(Cassandra(tmp_path, "data1"))
    await site.backup("t1")
    disk.fail(snapshots_in(tmp_path / "data1") + "/t1", errno.EACCES, "scandir")
    assert await site.snapshots.held_alone("t1") == Held()
    await site.snapshots.clear("t1")
    assert os.listdir(snapshots_in(tmp_path / "data1")) == []
    assert await site.snapshots.own("t1") is None


async def test_a_snapshot_that_was_made_and_can_not_be_seen_stays_noted(tmp_path: Path, disk: FailingDisk) -> None:
    """Promise (I8): a disk that fails between Cassandra's call and the look at what that made."""
    cassandra = Cassandra(tmp_path, "data1")
    site = Site(cassandra)
    really = cassandra.snapshot

    async def failing(tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        await really(tag, tables, ttl_seconds)
        disk.fail(snapshots_in(tmp_path / "data1") + "/t1", errno.EIO)

    cassandra.snapshot = failing  # type: ignore[method-assign]
    with pytest.raises(SnapshotUnreadable):
        await site.backup("t1")
    assert [one.tag for one in await site.snapshots.ours()] == ["t1"]


async def test_a_dead_disk_hides_the_free_space_of_no_other(tmp_path: Path, disk: FailingDisk) -> None:
    """Promise: the volumes that answer are looked at, and what a snapshot holds on them is counted; a backup is begun
    on none."""
    cassandra = Cassandra(tmp_path, "data1", "data2")
    site = Site(cassandra)
    await site.backup("t1")
    for name in ("data1", "data2"):
        (live,) = (tmp_path / name / "shop").glob("*/nb-*")
        live.unlink()
    assert (await site.snapshots.held_alone("t1")).data_bytes == len(b"data1" + b"data2")
    disk.fail(tmp_path / "data1", errno.EIO)
    assert [one.path for one in await site.snapshots.volumes_below(101.0)] == [cassandra.disks[1]]
    assert (await site.snapshots.held_alone("t1")).data_bytes == len(b"data2")
    with pytest.raises(NoDataDirectories, match="data1"):
        await site.backup("t2")


def snapshots_in(data: Path) -> str:
    return f"{data}/shop/orders-{ID}/snapshots"
