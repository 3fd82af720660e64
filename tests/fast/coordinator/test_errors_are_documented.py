"""Every error of the coordinator can be looked up by its code, and says what to do."""

import re
from collections.abc import Iterator
from pathlib import Path

import coordinator.main
from kit.errors import HelenusError

ERRORS = Path(__file__).resolve().parents[3] / "docs" / "errors.md"
LAYERS = ("coordinator.", "kit.")


def all_of(kind: type[HelenusError]) -> Iterator[type[HelenusError]]:
    for error in kind.__subclasses__():
        yield error
        yield from all_of(error)


def test_every_code_stands_in_the_list_of_errors() -> None:
    """All classes that the running coordinator knows, the kit's included."""
    assert coordinator.main
    listed = set(re.findall(r"^\| `([a-z0-9_]+)` \|", ERRORS.read_text(), re.MULTILINE))
    known = {error.code for error in all_of(HelenusError) if error.__module__.startswith(LAYERS)}
    assert known - listed == set()


def test_every_error_says_what_to_do() -> None:
    """In a sentence of its own, and with a status that a client can tell apart."""
    for error in all_of(HelenusError):
        assert error.todo.strip(), error
        assert 400 <= error.status < 600, error
