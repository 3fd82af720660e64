"""A test that fails tells its reader what is broken: each says in its docstring which promise it proves."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_each_test_says_which_promise_it_proves() -> None:
    """Promise: no test is without a docstring, a parametrized one has it once for all its cases."""
    found, silent = 0, []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                found += 1
                if not ast.get_docstring(node):
                    silent.append(f"{path.relative_to(TESTS)}::{node.name}")
    assert found > 700, "the tests were not found"
    assert silent == []
