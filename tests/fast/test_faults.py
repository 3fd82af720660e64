"""docs/faults.md answers for every fault of the matrix: with tests that exist, or with the reason why there is none."""

import re

import pytest

from tests.fast.proven_rows import ROOT, Table

FAULTS = ROOT / "docs" / "faults.md"
TABLE = Table("F", 36, columns=3)


def test_every_fault_has_its_test_or_the_reason_why_not() -> None:
    """Promise: no fault of the matrix is passed over, and no row names a test that was renamed or removed."""
    assert TABLE.wrong_in(FAULTS.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (r"(\| F07 \| [^|]+ \| [^|]+ \|)[^\n]+", r"\1  |", "F07: a cell is empty"),
        (r"(\| F07 \| [^|]+ \|)[^|]+", r"\1 ", "F07: a cell is empty"),
        (r"(\| F07 \| [^|]+ \| [^|]+ \|)[^\n]+", r"\1 that is looked at by a person |", "F07: neither a test"),
        (r"(\| F07 .*?::)", r"\1test_nobody_wrote_", "there is no "),
        (r"\| F07 [^\n]+\n", "", "the rows are not"),
    ],
)
def test_a_row_that_proves_nothing_is_found(old: str, new: str, told: str) -> None:
    """Promise: an empty cell, words without a reason, a test that isn't there and a missing row are each told."""
    text = FAULTS.read_text(encoding="utf-8")
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    assert any(one.startswith(told) for one in TABLE.wrong_in(changed))
