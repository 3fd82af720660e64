"""What on-server backups answer where something is not there, can't be read, or has an odd name."""

from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.model.on_server import MANIFEST, OWED, PLAN, RECORD
from agent.repository.errors import BackupExists, BackupNotFound, ManifestInvalid
from agent.repository.on_server import OnServer
from agent.wire.backups import RUNNING, SUCCESS, Plan, PlannedNode, Record
from agent.wire.names import InvalidName

ONE = PlannedNode("h1", "a", "dc", "r", [])
THE_PLAN = Plan("t1", "adhoc", 1.0, "test", "on-server", [ONE], {}, {}, "v", made_by="m1")
THE_RECORD = Record("t1", "adhoc", 1.0, SUCCESS, {}, [])


@pytest.fixture
def on_server(tmp_path: Path) -> OnServer:
    return OnServer(tmp_path)


async def test_no_tag_leads_out_of_the_directory(on_server: OnServer, tmp_path: Path) -> None:
    """Promise: a tag that isn't one is refused by what it should be, and what lies beside the backups under another
    name is none of them."""
    with pytest.raises(InvalidName) as odd:
        await on_server.has("../t1")
    assert odd.value.fields == {"what": "tag", "where": "tag", "name": "../t1"}
    (tmp_path / ".t1").mkdir()
    (tmp_path / ".t1" / PLAN).write_bytes(msgspec.json.encode(THE_PLAN))
    assert await on_server.listing() == []


async def test_what_is_not_there_is_told_by_its_tag(on_server: OnServer, tmp_path: Path) -> None:
    """Promise: of none, and of one that is to go, nothing is restored, shown or recorded; that nothing was noted is no
    error for who only asks."""
    assert await on_server.taken_files("t1", "h1") is None
    assert await on_server.made_by("t1") is None
    assert await on_server.snapshot_listing("t1") is None
    for doomed in (False, True):
        if doomed:
            await on_server.put_plan(THE_PLAN)
            await on_server.owe("t1", doomed=True)
        for asked in (on_server.view("t1", "h1"), on_server.manifest("t1", "h1"), on_server.put_record(THE_RECORD)):
            with pytest.raises(BackupNotFound) as gone:
                await asked
            assert gone.value.fields["tag"] == "t1"
    assert await on_server.made_by("t1") == "m1"


async def test_a_snapshot_that_is_to_be_cleared_may_still_be_wanted(on_server: OnServer, tmp_path: Path) -> None:
    """Promise: who owes a snapshot's clearing without saying more hides no backup: only what is doomed is gone."""
    await on_server.put_plan(THE_PLAN)
    await on_server.owe("t1")
    assert (await on_server.owed(), await on_server.doomed()) == (["t1"], [])
    assert await on_server.has("t1")
    await on_server.put_plan(THE_PLAN)
    await on_server.owe("t1", doomed=True)
    assert (await on_server.owed(), await on_server.doomed()) == (["t1"], ["t1"])
    await on_server.forget("t1")
    assert [path.name for path in (tmp_path / "t1").iterdir()] == [OWED]


async def test_a_manifest_is_its_parts_together(on_server: OnServer, tmp_path: Path) -> None:
    """Promise: byte for byte what a destination would get."""
    await on_server.put_manifest("t1", [b"one", b"two"])
    assert (tmp_path / "t1" / MANIFEST).read_bytes() == b"onetwo"
    with pytest.raises(BackupExists) as other:
        await on_server.put_plan(THE_PLAN)
    assert other.value.fields == {"tag": "t1"}
    with pytest.raises(ManifestInvalid):
        await on_server.taken_files("t1", "h1")


async def test_a_plan_or_record_that_can_t_be_read_is_named(on_server: OnServer, tmp_path: Path) -> None:
    """Promise: a record's damage is in the log with tag and reason; a plan's is an error with its file, and whose the
    backup is nobody knows then."""
    await on_server.put_plan(THE_PLAN)
    (tmp_path / "t1" / RECORD).write_bytes(b"{")
    with capture_logs() as logged:
        assert [view.record for view in await on_server.listing()] == [None]
    [line] = logged
    assert (line["event"], line["log_level"], line["tag"]) == ("record_not_read", "warning", "t1")
    assert "the record of the on-server backup t1 can't be read" in line["reason"]
    (tmp_path / "t1" / PLAN).write_bytes(b"{")
    assert await on_server.made_by("t1") is None
    with pytest.raises(ManifestInvalid) as unread:
        await on_server.view("t1", "h1")
    assert unread.value.fields == {"tag": "t1", "key": str(tmp_path / "t1" / PLAN)}


async def test_a_late_running_replaces_no_end(on_server: OnServer) -> None:
    """Promise: what a record told of how a backup ended stays; one that comes before is replaced."""
    await on_server.put_plan(THE_PLAN)
    for state, told in ((RUNNING, RUNNING), (SUCCESS, SUCCESS), (RUNNING, SUCCESS), ("partial", "partial")):
        await on_server.put_record(msgspec.structs.replace(THE_RECORD, state=state))
        record = (await on_server.view("t1", "h1")).record
        assert record is not None
        assert record.state == told


async def test_a_view_is_complete_with_this_node_s_manifest_alone(on_server: OnServer) -> None:
    """Promise: on-server backups of a node that the plan names alone are complete once its manifest is there; with
    others in the plan, or without a plan, nobody here can tell that they are."""
    await on_server.put_plan(THE_PLAN)
    view = await on_server.view("t1", "h1")
    assert (view.manifests, view.complete, view.whole) == ([], False, [])
    await on_server.put_manifest("t1", [b"manifest"])
    view = await on_server.view("t1", "h1")
    assert (view.manifests, view.complete, view.whole) == (["h1"], True, ["h1"])
    two = msgspec.structs.replace(THE_PLAN, tag="t2", nodes=[ONE, msgspec.structs.replace(ONE, host_id="h2")])
    await on_server.put_plan(two)
    await on_server.put_manifest("t2", [b"manifest"])
    assert (await on_server.view("t2", "h1")).complete is False
    await on_server.put_manifest("t3", [b"manifest"])
    assert (await on_server.view("t3", "h1")).complete is None
