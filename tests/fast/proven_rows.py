"""Tables of a document whose rows name the tests that show them. In: the document's text, which rows there must be, how
many columns they have and which of those name tests. Out: what is wrong, in words."""

import ast
import re
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`([^`\s]+\.py)::([A-Za-z_0-9]+)`")
NOT_PROVEN = "No test: "
SHORTEST = 20
"""Characters under which a cell of words or tests says nothing."""


class Table(msgspec.Struct, frozen=True):
    """A table of rows `letter` + two digits, from 01 to `last`. `columns` beside the row's own: the first one says what
    it is about, the last `proofs` of them name tests or say why there is none."""

    letter: str
    last: int
    columns: int
    proofs: int = 1

    def wrong_in(self, text: str) -> list[str]:
        """What is wrong with the table in `text`: rows, cells, and tests that any row of the document names."""
        rows: list[tuple[str, str]] = re.findall(rf"^\| ({self.letter}\d\d) \|(.*)\|$", text, re.MULTILINE)
        expected = [f"{self.letter}{number:02}" for number in range(1, self.last + 1)]
        wrong = []
        if [row for row, _ in rows] != expected:
            wrong.append(f"the rows are not {expected[0]} to {expected[-1]}, each once and in order")
        for row, rest in rows:
            cells = [cell.strip() for cell in rest.split(" | ")]
            if len(cells) != self.columns or any(len(cell) < SHORTEST for cell in cells[1:]) or not cells[0]:
                wrong.append(f"{row}: a cell is empty")
                continue
            if any(not NAMED.search(cell) and NOT_PROVEN not in cell for cell in cells[-self.proofs :]):
                wrong.append(f"{row}: neither a test nor «{NOT_PROVEN}» with the reason")
        named = NAMED.findall(text)
        return wrong + [f"there is no {path}::{name}" for path, name in named if name not in _names_of(path)]


def _names_of(path: str) -> set[str]:
    """The test functions of a file below `tests/`; none when it isn't there."""
    try:
        tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}
