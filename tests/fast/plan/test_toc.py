"""What is stored of a TOC.txt that an index was written into after the snapshot was listed."""

import pytest

from agent.plan.toc import as_listed, may_grow

THERE = {"Data.db", "Statistics.db", "TOC.txt"}


def test_only_a_toc_may_grow() -> None:
    """Promise: any other file of another size is another file; a legacy index has a TOC.txt too."""
    assert may_grow("nb-1-big-TOC.txt")
    assert may_grow(".by_name/nb-1-big-TOC.txt")
    assert not may_grow("nb-1-big-Data.db")
    assert not may_grow("TOC.txt")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (b"TOC.txt\nStatistics.db\nData.db\n", b"TOC.txt\nStatistics.db\nData.db\nSAI+aa+Meta.db\n"),
        (b"Data.db\nStatistics.db\nTOC.txt\n", b"Data.db\nSAI+aa+Meta.db\nStatistics.db\nTOC.txt\n"),
    ],
)
def test_it_is_what_it_was(before: bytes, now: bytes) -> None:
    """Promise: byte for byte, wherever Cassandra put the index's components."""
    assert as_listed(now, THERE, len(before)) == before


def test_what_named_more_names_what_is_there() -> None:
    """Promise: no component that the snapshot has is lost, none is cut in half, and what went is empty lines."""
    before = b"Data.db\nSAI+aa+Meta.db\nStatistics.db\nTOC.txt\n"
    held = as_listed(before.replace(b"Stat", b"SAI+bb+Meta.db\nStat"), THERE, len(before))
    assert held == b"Data.db\nStatistics.db\nTOC.txt\n".ljust(len(before), b"\n")


def test_a_line_that_is_no_text_is_no_component() -> None:
    """Promise: bytes that Cassandra never writes don't end the copy by an error of their own."""
    assert as_listed(b"Data.db\n\xff\xfe\nTOC.txt\n", THERE, 16) == b"Data.db\nTOC.txt\n"


def test_what_it_can_not_have_been_is_nothing() -> None:
    """Promise: lines that were not there are not stored as if they were."""
    assert as_listed(b"Data.db\nStatistics.db\nTOC.txt\n", THERE, 9) is None
