"""The directory that a backup is extracted to: what else may be in it."""

from pathlib import Path

import pytest

from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN
from tests.fast.cli.conftest import Place, recorded
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Repositories
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup

SHOP = ("--keyspace", "shop", "--table", "orders")


@pytest.fixture
async def two(place: Place) -> Place:
    """A second backup, `t2`, in which other SSTables hold the rows of shop.orders."""
    for path in place.node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    place.node.sstable("shop", "orders", 7, 2_000)
    storage = LocalStorage(place.root)
    await recorded(OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4), "t2", 1_700_000_100.0)
    agent = Agent(place.node, {}, place.root.parent / "second", repositories=Repositories({"d1": storage}))
    await agent.backup.run(backup("t2"))
    agent.close()
    await storage.close()
    return place


def all_in(directory: Path) -> dict[str, bytes]:
    """Everything below it."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["extract", "drill"])
def test_two_backups_never_meet_in_a_table(two: Place, tmp_path: Path, command: str) -> None:
    """Promise: where another backup's SSTables stand nothing is written, and they are named: loaded together they would
    bring back rows that were deleted in between."""
    into = tmp_path / "out"
    assert two.run("extract", "t1", "--into", str(into), *SHOP)[0] == 0
    before = all_in(into)
    code, told = two.run(command, "t2", "--into", str(into))
    assert (code, "target_foreign" in told) == (1, True), told
    assert "nb-1-big-Data.db" in told
    assert "t2" in told
    assert all_in(into) == before
    assert two.run(command, "t1", "--into", str(into))[0] == 0


def test_a_stray_file_is_named_and_not_counted(place: Place, tmp_path: Path) -> None:
    """Promise: also in a legacy index's directory, in another data directory, or under another id of the table."""
    into = tmp_path / "out"
    assert place.run("drill", "t1", "--into", str(into))[0] == 0
    table = next((into / HOST / "data0/shop").iterdir())
    index = next(into.rglob(".by_name"))
    for stray in (
        table / "nb-9-big-Data.db",
        index / "nb-9-big-Data.db",
        into / HOST / "data1/shop" / table.name / "nb-1-big-Data.db",
        table.with_name("orders-0123") / "nb-1-big-Data.db",
        table / "of mine",
    ):
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_bytes(b"stray")
        code, told = place.run("drill", "t1", "--into", str(into))
        assert (code, str(stray.relative_to(into / HOST)) in told) == (1, True), told
        stray.unlink()
    assert place.run("drill", "t1", "--into", str(into))[0] == 0


def test_a_drill_of_a_part_counts_that_part(place: Place, tmp_path: Path) -> None:
    """Promise: what else of the backup lies in the directory is another drill's matter, broken or not."""
    into = tmp_path / "out"
    assert "3 SSTables: all are whole" in place.run("drill", "t1", "--into", str(into))[1]
    code, told = place.run("drill", "t1", "--into", str(into), *SHOP)
    assert (code, "1 SSTables: all are whole" in told) == (0, True), told


def test_a_cut_extract_goes_on_in_its_directory(place: Place, tmp_path: Path) -> None:
    """Promise: a kill leaves some files, and unfinished ones without their names: these are nobody's."""
    into = tmp_path / "out"
    assert place.run("extract", "t1", "--into", str(into))[0] == 0
    whole = all_in(into)
    data = next(into.rglob("nb-1-big-Data.db"))
    data.rename(data.with_name(".helenus-part-0123"))
    next(into.rglob("nb-2-big-TOC.txt")).unlink()
    code, told = place.run("extract", "t1", "--into", str(into))
    assert code == 0, told
    assert {name: body for name, body in all_in(into).items() if ".helenus-part-" not in name} == whole


def test_nothing_is_made_through_a_link(place: Place, tmp_path: Path) -> None:
    """Promise: no directory either, whichever level the link is at; the link is named."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for level in (HOST, f"{HOST}/data0", f"{HOST}/data0/shop"):
        into = tmp_path / level.replace("/", "-")
        (into / level).parent.mkdir(parents=True)
        (into / level).symlink_to(outside)
        code, told = place.run("extract", "t1", "--into", str(into), *SHOP)
        assert (code, f"{into / level}: a link" in told) == (1, True), told
        assert list(outside.iterdir()) == []


def test_a_place_that_takes_no_files_is_a_line(place: Place, tmp_path: Path) -> None:
    """Promise: path and reason, exit code 1, no traceback: where no directory can be made, and where a file is."""
    (tmp_path / "file").write_bytes(b"mine")
    for into in (Path("/proc/foo"), tmp_path / "file", tmp_path / "file/below"):
        code, told = place.run("extract", "t1", "--into", str(into))
        assert (code, str(into) in told, len(told.splitlines())) == (1, True, 2), told
    assert (tmp_path / "file").read_bytes() == b"mine"
