"""docs/faults.md answers for every fault of the matrix: with tests that exist, or with the reason why there is none."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / "docs" / "faults.md"
ROW = re.compile(r"^\| (F\d\d) \|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`([^`\s]+\.py)::([A-Za-z_0-9]+)`")
EXPECTED = [f"F{number:02}" for number in range(1, 37)]
NOT_PROVEN = "No test: "
SHORTEST = 20
"""Characters under which a cell says nothing."""


def wrong_in(text: str) -> list[str]:
    """What is wrong with the table in `text`: rows, cells, and tests that it names."""
    rows = ROW.findall(text)
    wrong = [] if [row for row, _ in rows] == EXPECTED else ["the rows are not F01 to F36, each once and in order"]
    for row, rest in rows:
        cells = [cell.strip() for cell in rest.split(" | ")]
        if len(cells) != 3 or any(len(cell) < SHORTEST for cell in cells[1:]) or not cells[0]:
            wrong.append(f"{row}: a cell is empty")
            continue
        if not NAMED.search(cells[2]) and NOT_PROVEN not in cells[2]:
            wrong.append(f"{row}: neither a test nor «{NOT_PROVEN}» with the reason")
    named = NAMED.findall(text)
    return wrong + [f"there is no {path}::{name}" for path, name in named if name not in names_of(path)]


def names_of(path: str) -> set[str]:
    """The test functions of a file below `tests/`; none when it isn't there."""
    try:
        tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def test_every_fault_has_its_test_or_the_reason_why_not() -> None:
    """Promise: no fault of the matrix is passed over, and no row names a test that was renamed or removed."""
    assert wrong_in(FAULTS.read_text(encoding="utf-8")) == []


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
    assert any(one.startswith(told) for one in wrong_in(changed))
