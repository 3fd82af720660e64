"""Every error of the repository, the pipeline and the copies can be looked up by its code."""

import re
from pathlib import Path

from agent.jobs import copy_errors
from agent.pipeline import errors as pipeline_errors
from agent.repository import check, destination_files, destinations, live_storage
from agent.repository import errors as repository_errors
from agent.storage import keys, protocol
from kit.errors import HelenusError

ERRORS = Path(__file__).resolve().parents[3] / "docs" / "errors.md"
ROOTS = {"repository_failed", "pipeline_failed", "storage_failed"}
MODULES = (
    *(repository_errors, pipeline_errors, copy_errors),
    *(check, destination_files, destinations, live_storage, keys, protocol),
)


def test_every_code_stands_in_the_list_of_errors() -> None:
    """Promise: a person who sees a code finds what it means and what to do."""
    listed = set(re.findall(r"^\| `([a-z0-9_]+)` \|", ERRORS.read_text(), re.MULTILINE))
    known = {
        error.code
        for module in MODULES
        for error in vars(module).values()
        if isinstance(error, type) and issubclass(error, HelenusError) and error.__module__ == module.__name__
    }
    assert known - ROOTS - listed == set()
