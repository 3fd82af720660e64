"""What a drill lays into a scratch node's tables for Cassandra's own tools. That these find it, and what they find:
tests/real/harness/test_drill.py."""

import io
import shutil
from pathlib import Path

import pytest

from agent.cli.drilling import drill
from agent.cli.scratch_tables import ScratchNodeUnfit, lay, take_away
from agent.cli.screen import Screen
from agent.cli.verifying import verify
from tests.fast.cli.conftest import Place

TOOL = "/bin/true"


@pytest.fixture
def extracted(place: Place, tmp_path: Path) -> Path:
    """The backup's files, and once more as those of a second node."""
    into = tmp_path / "out"
    assert place.run("extract", "t1", "--into", str(into))[0] == 0
    (first,) = into.iterdir()
    shutil.copytree(first, into / "second")
    return into


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a node with the schema."""
    for table in ("shop/orders-a1", "many/t1-b2", "many/empty-c3", "system/local-d4"):
        (tmp_path / "data" / table).mkdir(parents=True)
    return tmp_path / "data"


def directories(extracted: Path) -> list[Path]:
    """Those of the tables."""
    return list(extracted.glob("*/data*/*/*-*"))


def files(data: Path) -> dict[str, bytes]:
    """Everything in the data directory."""
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_each_sstable_of_each_node_lies_in_its_table_once(extracted: Path, data: Path) -> None:
    """Promise: equal names of two nodes don't meet, all components come along, and laid again nothing changes."""
    tables = lay(directories(extracted), data)
    assert {(one.keyspace, one.table): len(one.sstables) for one in tables} == {
        ("many", "t1"): 2,
        ("shop", "orders"): 2,
    }
    laid = files(data)
    components = {path.name.removeprefix("nb-1-big-") for path in extracted.glob("*/*/shop/*/nb-1-big-*")}
    wanted = {f"shop/orders-a1/nb-{number}-big-{name}" for number in (1, 2) for name in components}
    assert {name for name in laid if name.startswith("shop/")} == wanted
    for one in tables:
        for name, source in one.sstables.items():
            assert laid[str((one.directory / name).relative_to(data))] == source.read_bytes()
    assert lay(directories(extracted), data) == tables
    assert files(data) == laid


def test_a_persons_keyspace_is_verified_whatever_it_is_called(tmp_path: Path, data: Path) -> None:
    """Promise: only the keyspaces that every node has are left out, not all that begin as theirs do."""
    for keyspace in ("system_of_record", "system"):
        extracted = tmp_path / "out" / "h1" / "data0" / keyspace / "orders-a1"
        extracted.mkdir(parents=True)
        (extracted / "nb-1-big-Data.db").write_bytes(b"data")
        (data / keyspace / "orders-a1").mkdir(parents=True)
    assert [one.keyspace for one in lay(directories(tmp_path / "out"), data)] == ["system_of_record"]


def test_a_drill_without_an_sstable_proves_nothing(tmp_path: Path, data: Path) -> None:
    """Promise: what verified nothing doesn't end like what found all whole."""
    told = io.StringIO()
    empty = tmp_path / "out" / "h1" / "data0" / "shop" / "orders-a1"
    empty.mkdir(parents=True)
    assert drill(tmp_path / "out", [empty], Screen(told)) == 1
    assert verify(tmp_path / "out", [empty], Path(TOOL), data, Screen(told)) == 1
    assert told.getvalue().count("nothing was verified") == 2


def test_what_was_laid_is_taken_away(extracted: Path, data: Path) -> None:
    """Promise: the scratch node is as it was, with what a tool wrote beside an SSTable gone too, and the extract is
    whole."""
    before = files(extracted)
    tables = lay(directories(extracted), data)
    (data / "shop/orders-a1/nb-1-big-Summary.db").unlink()
    (data / "shop/orders-a1/nb-1-big-Summary.db").write_bytes(b"anew")
    take_away(tables)
    assert files(data) == {}
    assert files(extracted) == before


def test_a_table_with_rows_of_its_own_gets_none(extracted: Path, data: Path) -> None:
    """Promise: a backup's rows never get among those of a node that is in use: refused before the first link."""
    (data / "shop/orders-a1/nb-1-big-Data.db").write_bytes(b"rows of somebody")
    before = files(data)
    with pytest.raises(ScratchNodeUnfit, match="holds rows already"):
        lay(directories(extracted), data)
    assert files(data) == before


def test_what_the_system_refuses_is_a_line(place: Place, extracted: Path, data: Path) -> None:
    """Promise: a file that can't be looked at is named with the reason, exit code 1, no traceback."""
    link = data / "shop/orders-a1/nb-1-big-Data.db"
    link.symlink_to(data / "nowhere")
    code, told = place.run(
        "drill", "t1", "--into", str(extracted), "--sstableverify", TOOL, "--scratch-data", str(data)
    )
    assert (code, f"{link}: No such file or directory" in told) == (1, True), told


@pytest.mark.parametrize("there", [0, 2])
def test_a_node_without_the_schema_is_refused(place: Place, extracted: Path, data: Path, there: int) -> None:
    """Promise: a table that is missing, or was made twice, is named, and the command says what it needs."""
    if there:
        (data / "shop/orders-e5").mkdir()
    else:
        (data / "shop/orders-a1").rmdir()
    code, told = place.run(
        "drill", "t1", "--into", str(extracted), "--sstableverify", TOOL, "--scratch-data", str(data)
    )
    assert code == 1
    assert "scratch_node_unfit: shop.orders" in told
    assert files(data) == {}


def test_a_tool_that_says_nothing_proves_nothing(place: Place, extracted: Path, data: Path) -> None:
    """Promise: what the tool didn't call whole counts as wrong, whatever its exit code; nothing stays in the tables."""
    code, told = place.run(
        "drill", "t1", "--into", str(extracted), "--sstableverify", TOOL, "--scratch-data", str(data)
    )
    assert code == 3
    assert told.count("nb-1-big-Data.db: sstableverify: was not verified") == 2
    assert "2 are wrong" in told
    assert files(data) == {}


def test_a_tool_without_a_node_and_one_that_is_not_there_are_refused(place: Place, tmp_path: Path) -> None:
    """Promise: wrong arguments are told as such."""
    into = str(tmp_path / "out")
    with pytest.raises(SystemExit) as ended:
        place.run("drill", "t1", "--into", into, "--sstableverify", TOOL)
    assert ended.value.code == 2
    code, told = place.run("drill", "t1", "--into", into, "--sstableverify", "/no/such", "--scratch-data", into)
    assert (code, "no program" in told) == (78, True)
