"""The files of on-server backups: a tag names one of them for ever, and what is to go is not there any more."""

import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cassandra.snapshot_notes import SnapshotNotes
from agent.model.on_server import OWNER
from agent.model.own_state import StateFailed
from agent.repository import on_server as module
from agent.repository.errors import BackupExists, BackupNotFound
from agent.repository.on_server import OnServer
from agent.wire.backups import RUNNING, Plan, PlannedNode, Record

PLAN = Plan("t1", "adhoc", 1.0, "test", "on-server", [PlannedNode("h1", "a", "dc", "r", [])], {}, {}, "v", made_by="m1")


@pytest.fixture
def on_server(tmp_path: Path) -> OnServer:
    return OnServer(tmp_path / "on-server")


async def test_a_plan_is_put_once_and_the_same_again_is_fine(on_server: OnServer) -> None:
    """Promise: another backup of that tag is refused before it touches anything, also one that differs in nothing
    but who makes it."""
    await on_server.put_plan(PLAN)
    await on_server.put_plan(PLAN)
    with pytest.raises(BackupExists):
        await on_server.put_plan(msgspec.structs.replace(PLAN, made_by="m2"))
    assert (await on_server.view("t1", "h1")).plan == PLAN


async def test_a_backup_that_was_made_without_a_plan_is_one_too(on_server: OnServer) -> None:
    """Promise: no later plan makes another backup of it."""
    await on_server.put_manifest("t1", [b"manifest"])
    with pytest.raises(BackupExists):
        await on_server.put_plan(PLAN)


async def test_what_runs_or_failed_is_listed(on_server: OnServer) -> None:
    """Promise: from the plan on; that this node has no manifest shows."""
    await on_server.put_plan(PLAN)
    assert [(view.tag, view.record, view.complete) for view in await on_server.listing()] == [("t1", None, False)]
    await on_server.put_record(Record("t1", "adhoc", 1.0, RUNNING, {}, []))
    await on_server.put_manifest("t1", [b"manifest"])
    (view,) = await on_server.listing()
    assert view.record is not None
    assert (view.record.state, view.complete) == (RUNNING, None)


async def test_a_backup_that_is_to_go_is_not_there_any_more(on_server: OnServer) -> None:
    """Promise: not listed, not shown, not restorable, from the moment the debt is written; the debt outlives the
    files, and a new backup may have the tag once that is paid."""
    await on_server.put_plan(PLAN)
    await on_server.put_manifest("t1", [b"manifest"])
    await on_server.owe("t1", doomed=True)
    assert await on_server.listing() == []
    assert not await on_server.has("t1")
    for asked in (on_server.view("t1", "h1"), on_server.manifest("t1", "h1")):
        with pytest.raises(BackupNotFound):
            await asked
    await on_server.forget("t1")
    assert await on_server.owed() == await on_server.doomed() == ["t1"]
    await on_server.disown_debt("t1")
    assert await on_server.owed() == []
    await on_server.put_plan(msgspec.structs.replace(PLAN, made_by="m2"))


async def test_no_plan_is_taken_while_the_snapshot_of_one_that_is_to_go_stands(
    on_server: OnServer, tmp_path: Path
) -> None:
    """Promise: what is accepted stays: the plan would go with the snapshot. Once that is gone, what is left of the debt
    and of the files is in nobody's way."""
    await on_server.put_plan(PLAN)
    await on_server.put_record(Record("t1", "adhoc", 1.0, "success", {}, []))
    owner = tmp_path / "on-server" / "t1" / OWNER
    owner.write_bytes(b"{}")
    await on_server.owe("t1", doomed=True)
    newer = msgspec.structs.replace(PLAN, made_by="m2")
    for plan in (PLAN, newer):
        with pytest.raises(BackupExists, match="still clearing"):
            await on_server.put_plan(plan)
    assert await on_server.doomed() == ["t1"]
    owner.unlink()
    await on_server.put_plan(newer)
    view = await on_server.view("t1", "h1")
    assert (view.plan, view.record) == (newer, None)
    assert await on_server.owed() == []


@pytest.mark.parametrize("writes", ["the backup", "the snapshot"])
async def test_a_file_is_written_though_the_directory_goes_at_that_moment(
    tmp_path: Path, on_server: OnServer, monkeypatch: pytest.MonkeyPatch, writes: str
) -> None:
    """Promise: the snapshot's notes and the backup's files share a directory; whoever finds it empty takes it away, and
    never from under the other."""
    notes = SnapshotNotes(tmp_path / "on-server")
    really, gone = os.open, list[str]()

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if not gone and flags & os.O_CREAT:
            gone.append(str(path))
            os.rmdir(tmp_path / "on-server" / "t1")
        return really(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)
    if writes == "the backup":
        await on_server.put_plan(PLAN)
        assert (await on_server.view("t1", "h1")).plan == PLAN
    else:
        notes.begin("t1", "c1", 1.0, made_by="", kept=False)
        assert notes.find("t1") is not None
    assert gone


@pytest.mark.parametrize("goes", ["the backup", "the snapshot"])
async def test_what_goes_leaves_a_directory_in_which_the_other_has_just_begun(
    tmp_path: Path, on_server: OnServer, monkeypatch: pytest.MonkeyPatch, goes: str
) -> None:
    """Promise: the same, seen from the one that removes."""
    notes = SnapshotNotes(tmp_path / "on-server")
    notes.begin("t1", "c1", 1.0, made_by="", kept=False)
    if goes == "the backup":
        notes.forget("t1")
        await on_server.put_plan(PLAN)
    really, came = os.rmdir, tmp_path / "on-server" / "t1" / "another's"

    def removed(path: Any, **named: Any) -> None:
        came.write_bytes(b"begun")
        really(path, **named)

    monkeypatch.setattr(os, "rmdir", removed)
    if goes == "the backup":
        await on_server.forget("t1")
    else:
        notes.forget("t1")
    assert [path.name for path in (tmp_path / "on-server" / "t1").iterdir()] == ["another's"]
    assert notes.find("t1") is None


async def test_a_record_that_cant_be_read_hides_no_other_backup(on_server: OnServer, tmp_path: Path) -> None:
    """Promise: as in a destination: it costs its own words only."""
    for tag in ("t1", "t2"):
        await on_server.put_plan(msgspec.structs.replace(PLAN, tag=tag))
        await on_server.put_record(Record(tag, "adhoc", 1.0, "success", {}, []))
    (tmp_path / "on-server" / "t1" / "record.json").write_bytes(b"{")
    assert [(view.tag, view.record is None) for view in await on_server.listing()] == [("t1", True), ("t2", False)]
    shown = await on_server.view("t1", "h1")
    assert (shown.record, shown.plan) == (None, msgspec.structs.replace(PLAN, tag="t1"))


async def test_a_record_that_comes_late_brings_no_deleted_backup_back(on_server: OnServer) -> None:
    """Promise: where nothing is kept, only how a backup failed may be told, for then all of it was cleared before."""
    await on_server.put_plan(PLAN)
    await on_server.owe("t1", doomed=True)
    await on_server.forget("t1")
    for state in (RUNNING, "success"):
        with pytest.raises(BackupNotFound):
            await on_server.put_record(Record("t1", "adhoc", 1.0, state, {}, []))
    await on_server.disown_debt("t1")
    with pytest.raises(BackupNotFound):
        await on_server.put_record(Record("t1", "adhoc", 1.0, "success", {}, []))
    assert await on_server.listing() == []
    await on_server.put_record(Record("t1", "adhoc", 1.0, "failed", {}, []))
    assert [view.tag for view in await on_server.listing()] == ["t1"]


async def test_a_disk_that_is_full_has_a_name(on_server: OnServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: no error of the agent's own state ends a request or a command as `internal`."""

    def full(directory: Path, name: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(directory / name))

    monkeypatch.setattr(module, "write_into", full)
    with pytest.raises(StateFailed, match="No space left") as caught:
        await on_server.put_plan(PLAN)
    assert str(caught.value.fields["path"]).endswith("t1/plan.json")
