"""Every error of the node and of a restore's phases can be looked up by its code."""

import re
from pathlib import Path

from agent.cassandra import errors as node_errors
from agent.jobs import restore_errors
from kit.errors import HelenusError

ERRORS = Path(__file__).resolve().parents[3] / "docs" / "errors.md"
ROOTS = {"cassandra_failed", "restore_failed"}


def test_every_code_stands_in_the_list_of_errors() -> None:
    """Promise: a person who sees a code finds what it means and what to do."""
    listed = set(re.findall(r"^\| `([a-z0-9_]+)` \|", ERRORS.read_text(), re.MULTILINE))
    known = {
        error.code
        for module in (node_errors, restore_errors)
        for error in vars(module).values()
        if isinstance(error, type) and issubclass(error, HelenusError) and error.__module__ == module.__name__
    }
    assert known - ROOTS - listed == set()
