"""What a drill makes of Cassandra's own tool: a program of ours speaks in its place, as it does in
tests/real/cassandra/test_sstableverify.py."""

from pathlib import Path

import pytest

from tests.fast.cli.conftest import Place

SAYS = """#!/bin/sh
for path in {data}/"$3"/"$4"-*/*-Data.db; do
    case "$path" in
        {bad}) ;;
        *) echo "Verify of BigTableReader(path='$path') succeeded. All 7 rows read successfully" ;;
    esac
done
exit {code}
"""


@pytest.mark.parametrize(
    ("bad", "ended", "code", "told"),
    [
        ("none", 0, 0, "2 SSTables of 2 tables (not of their indexes): all are whole"),
        ("none", 4, 3, "shop.orders: sstableverify ended with 4"),
        ("*/shop/*", 0, 3, "nb-1-big-Data.db: sstableverify: was not verified"),
    ],
)
def test_all_that_the_tool_says_counts(
    place: Place, tmp_path: Path, bad: str, ended: int, code: int, told: str
) -> None:
    """Promise: only SSTables that it called whole one by one are, and only if it ended well too."""
    data, tool = tmp_path / "data", tmp_path / "sstableverify"
    for table in ("shop/orders-a1", "many/t1-b2", "many/empty-c3"):
        (data / table).mkdir(parents=True)
    tool.write_text(SAYS.format(data=data, bad=bad, code=ended))
    tool.chmod(0o755)
    into = str(tmp_path / "out")
    done, said = place.run("drill", "t1", "--into", into, "--sstableverify", str(tool), "--scratch-data", str(data))
    assert (done, told in said) == (code, True), said
