"""Every error of the product can be looked up by its code, and says what to do."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import agent
import coordinator
import kit
from kit.errors import HelenusError

ERRORS = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| (\d+) \| (never|later|now) \| .+ \| (.+) \|$", re.MULTILINE)
BOTH = "Both services"


def every_error() -> list[type[HelenusError]]:
    """The classes of every module, imported or not by what a service starts with."""
    for package in (agent, coordinator, kit):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return [HelenusError, *_below(HelenusError)]


def _below(kind: type[HelenusError]) -> Iterator[type[HelenusError]]:
    for error in kind.__subclasses__():
        if error.__module__.partition(".")[0] in ("agent", "coordinator", "kit"):
            yield error
            yield from _below(error)


def listed() -> dict[str, set[tuple[str, str, str, str]]]:
    """Code, status, retry and todo of every row, by the title of its section up to a colon."""
    found: dict[str, set[tuple[str, str, str, str]]] = {}
    for section in ERRORS.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.partition("\n")[0].partition(":")[0]
        found.setdefault(title, set()).update(ROW.findall(section))
    return found


def test_every_error_stands_in_the_list_as_it_is() -> None:
    """Promise: a person who sees a code finds, in the section of the service that said it, the status, whether to try
    again, and what to do, as the service itself says it."""
    rows = listed()
    assert set(rows) == {BOTH, "Coordinator", "The agent"}
    sections = {"kit": BOTH, "coordinator": "Coordinator", "agent": "The agent"}
    wrong = []
    for error in every_error():
        section = sections[error.__module__.partition(".")[0]]
        row = (error.code, str(error.status), error.retry, error.todo)
        if row not in rows[section] | rows[BOTH]:
            wrong.append((section, *row))
    assert wrong == []


def test_the_list_names_no_error_that_nobody_raises() -> None:
    """Promise: what was renamed or removed goes from the list too."""
    known = {error.code for error in every_error()}
    assert {row[0] for rows in listed().values() for row in rows} <= known


def test_every_error_says_what_to_do() -> None:
    """In a sentence of its own, and with a status that a client can tell apart."""
    for error in every_error():
        assert error.todo.strip(), error
        assert 400 <= error.status < 600, error
