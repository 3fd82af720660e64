"""docs/mutants.md as data: the survivors that it answers for.

In: the document's text. Out: its rows, and what is wrong with them. A row is `| module::function | changes | reason |`;
each change is what stood in the source and what the mutant made of it.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ROW = re.compile(r"^\| `([a-z_/]+\.py)::([A-Za-z_0-9.]+)` \| (.*) \| (.*) \|$", re.MULTILINE)
_COUNTED = re.compile(r"^\| `([a-z_/]+)\.py` \|(?: \d+ \|)+$", re.MULTILINE)
_CHANGE = re.compile(r"`` (.*?) `` → `` (.*?) ``")
_SHORTEST = 15
"""Characters under which a reason says nothing."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that no test noticed: module below `agent/`, function or `Class.method`, what changed in its source."""

    module: str
    function: str
    old: str
    new: str


def cell(survivor: Survivor) -> str:
    """The change as a row writes it."""
    old, new = (text.replace("|", "\\|") for text in (survivor.old, survivor.new))
    return f"`` {old} `` → `` {new} ``"


def listed(text: str) -> set[Survivor]:
    """All survivors that a document answers for."""
    return {
        Survivor(module, function, *(part.replace("\\|", "|") for part in change))
        for module, function, changes, _ in _ROW.findall(text)
        for change in _CHANGE.findall(changes)
    }


def counted(text: str) -> list[str]:
    """The modules, dotted as below `agent`, that a document has figures of: those that were gone through."""
    return [module.replace("/", ".") for module in _COUNTED.findall(text)]


def without_reason(text: str) -> list[str]:
    """The functions of rows that name no change, or give no reason."""
    return [
        f"{module}::{function}"
        for module, function, changes, reason in _ROW.findall(text)
        if not _CHANGE.search(changes) or len(reason.strip()) < _SHORTEST
    ]


def functions_of(source: str) -> dict[str, str]:
    """The source of each function and method of a module by the name that rows give it, as one line without indents."""
    found = {}
    for outer in ast.parse(source).body:
        inner = (
            [(f"{outer.name}.{one.name}", one) for one in _functions(outer.body)]
            if isinstance(outer, ast.ClassDef)
            else []
        )
        for name, one in inner or [(one.name, one) for one in _functions([outer])]:
            found[name] = " ".join(line.strip() for line in (ast.get_source_segment(source, one) or "").splitlines())
    return found


def _functions(body: Iterable[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
