"""docs/mutants.md answers for surviving mutants of code that exists, each with a reason."""

from pathlib import Path

import pytest

from tests.mutation.found import change, is_wording
from tests.mutation.listed import Survivor, cell, counted, functions_of, listed, without_reason

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = ROOT / "docs" / "mutants.md"
ONE = Survivor("plan/toc.py", "may_grow", "component is not None and component.component", "component.component | 1")
ROW = f"| `{ONE.module}::{ONE.function}` | {cell(ONE)} | because nobody could see that |"


def gone(survivors: set[Survivor]) -> list[str]:
    """The survivors whose function, or whose text within it, is there no longer."""
    left = []
    for one in survivors:
        module = ROOT / "agent" / one.module
        functions = functions_of(module.read_text(encoding="utf-8")) if module.exists() else {}
        if one.old not in functions.get(one.function, ""):
            left.append(f"{one.module}::{one.function}: {one.old}")
    return sorted(left)


def test_every_listed_survivor_is_a_change_of_code_that_exists() -> None:
    """Promise: no row of docs/mutants.md outlives the code that it speaks of, and each gives its reason."""
    text = MUTANTS.read_text(encoding="utf-8")
    assert gone(listed(text)) == []
    assert without_reason(text) == []
    modules = counted(text)
    assert modules
    assert [module for module in modules if not (ROOT / "agent" / f"{module.replace('.', '/')}.py").exists()] == []
    assert {one.module.removesuffix(".py").replace("/", ".") for one in listed(text)} <= set(modules)


@pytest.mark.parametrize(
    ("old", "new"),
    [("plan/toc.py", "plan/nobodys.py"), ("may_grow", "may_shrink"), ("is not None and", "is None or")],
)
def test_a_row_that_speaks_of_what_is_gone_is_found(old: str, new: str) -> None:
    """Promise: a module, a function and a text that were renamed or changed are each told."""
    assert listed(ROW) == {ONE}
    assert gone({ONE}) == []
    assert len(gone(listed(ROW.replace(old, new, 1)))) == 1


def test_a_row_without_a_reason_is_found() -> None:
    """Promise: an empty reason, and a row that names no change, do not pass."""
    assert without_reason(ROW) == []
    assert without_reason(ROW.replace("because nobody could see that", "")) == ["plan/toc.py::may_grow"]
    assert without_reason(ROW.replace("→", "->")) == ["plan/toc.py::may_grow"]


def test_a_change_is_told_with_a_little_of_what_is_around() -> None:
    """Promise: a row finds its place again: it holds what differs and some of its line, over several lines too."""
    difference = "--- a\n+++ b\n@@ -1,3 +1,2 @@\n def f():\n-    return g(\n-        a, b\n-    )\n+    return g(a)\n"
    assert change(difference) == ("return g( a, b )", "return g(a)")
    line = "if the_first_of_all_the_names < the_last_of_them_all and so_on:"
    assert change(f"--- a\n+++ b\n-{line}\n+{line.replace('<', '<=')}\n") == (
        "the_first_of_all_the_names < the_last_of_them_all and",
        "the_first_of_all_the_names <= the_last_of_them_all and",
    )


@pytest.mark.parametrize(
    ("old", "new", "wording"),
    [
        ('raise Gone("it is gone", key=key)', 'raise Gone("XXit is goneXX", key=key)', True),
        ('raise Gone("it is gone", key=key)', 'raise Gone("IT IS GONE", key=key)', True),
        ('raise Gone("it is gone", key=key)', 'raise Gone("it is gone", key=None)', False),
        ('raise Gone("it is gone", key=key)', "raise Gone(None, key=key)", False),
        ('raise Gone("gone")', 'raise Gone("XXgoneXX")', False),
    ],
)
def test_only_the_letters_of_a_sentence_are_wording(old: str, new: str, wording: bool) -> None:
    """Promise: no name, key or field that a program reads counts as wording, nor a message that is left out."""
    assert is_wording(f"--- a\n+++ b\n def f():\n-    {old}\n+    {new}\n") == wording
