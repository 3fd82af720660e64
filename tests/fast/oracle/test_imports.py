"""The oracle is a second reader: nothing that it runs is the product's, nor any test's."""

import ast
import sys
from pathlib import Path

import pytest

from tests import oracle

DIRECTORY = Path(oracle.__file__).parent
MODULES = sorted(path.stem for path in DIRECTORY.glob("*.py"))
LIBRARIES = {"blake3", "cryptography", "zstandard"}
"""The digest, the cipher and the codec of the format."""


@pytest.mark.parametrize("module", MODULES)
def test_the_oracle_shares_no_code_with_the_agent(module: str) -> None:
    """Promise: it judges by its own reading of the formats; what was wrong in shared code neither of both would see."""
    imported = set()
    for node in ast.walk(ast.parse((DIRECTORY / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module))
    allowed = (sys.stdlib_module_names - {"importlib", "runpy"}) | LIBRARIES
    own = {f"tests.oracle.{name}" for name in MODULES}
    assert {name for name in imported if name.partition(".")[0] not in allowed} <= own


def test_there_is_an_oracle_to_look_at() -> None:
    """The modules above are those that judge."""
    assert {*MODULES} >= {"checker", "formats", "listing", "reader"}
