"""docs/attacks.md answers for every attack, for each process: with tests that exist, or with the reason why not."""

import re

import pytest

from tests.fast.proven_rows import ROOT, Table

ATTACKS = ROOT / "docs" / "attacks.md"
TABLE = Table("A", 15, columns=4, proofs=2)


def test_every_attack_has_its_tests_for_both_processes() -> None:
    """Promise: no attack is passed over for the agent or for the coordinator, and no row names a test that was renamed
    or removed."""
    assert TABLE.wrong_in(ATTACKS.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (r"(\| A09 \| [^|]+ \| [^|]+ \| [^|]+ \|)[^\n]+", r"\1  |", "A09: a cell is empty"),
        (r"(\| A09 \| [^|]+ \| [^|]+ \|)[^|]+", r"\1  ", "A09: a cell is empty"),
        (r"(\| A09 \| [^|]+ \| [^|]+ \|)[^|]+", r"\1 the other process is tested well ", "A09: neither a test"),
        (r"(\| A09 .*?::)", r"\1test_nobody_wrote_", "there is no "),
        (r"\| A09 [^\n]+\n", "", "the rows are not"),
    ],
)
def test_a_row_that_proves_nothing_is_found(old: str, new: str, told: str) -> None:
    """Promise: one process without tests, words in their place, a test that isn't there and a missing row are told."""
    text = ATTACKS.read_text(encoding="utf-8")
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    assert any(one.startswith(told) for one in TABLE.wrong_in(changed))
