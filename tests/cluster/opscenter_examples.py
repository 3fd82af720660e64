"""The examples of the OpsCenter Backup Service's text. In: tests/data/opscenter_examples.txt. Out: commands as argument
lists, without any shell, and the answers that are printed below them."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FILE = Path(__file__).parents[1] / "data" / "opscenter_examples.txt"
_HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
_ANSWER = "\n>>>\n"


@dataclass(frozen=True)
class Example:
    """`curl`: the argument list, variables filled in. `printed`: the answer below it."""

    name: str
    curl: tuple[str, ...]
    printed: Any

    @property
    def method(self) -> str:
        """As curl takes it from its options."""
        if "-X" in self.curl:
            return self.curl[self.curl.index("-X") + 1]
        return "POST" if "-d" in self.curl else "GET"

    @property
    def url(self) -> str:
        """The one address of the command."""
        [url] = [word for word in self.curl if word.startswith("http://")]
        return url

    @property
    def path(self) -> str:
        """Path and query."""
        parts = urlsplit(self.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    @property
    def body(self) -> str | None:
        """What is sent."""
        return self.curl[self.curl.index("-d") + 1] if "-d" in self.curl else None

    def with_words(self, words: Mapping[str, str]) -> "Example":
        """The same with other ids, names and hosts: each text of `words` replaced by its value."""
        changed = []
        for word in self.curl:
            for old, new in words.items():
                word = word.replace(old, new)
            changed.append(word)
        return Example(self.name, tuple(changed), self.printed)


def examples() -> dict[str, Example]:
    """By name, in the order of the text."""
    _, *parts = _HEADING.split(FILE.read_text())
    return {name: _example(name, text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _example(name: str, text: str) -> Example:
    command, _, printed = text.strip().partition(_ANSWER)
    variables: dict[str, str] = {}
    words = shlex.split(command)
    while (assigned := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])) is not None:
        variables[assigned.group(1)] = assigned.group(2)
        words.pop(0)
    filled = tuple(re.sub(r"\$([A-Z_]+)", lambda found: variables[found.group(1)], word) for word in words)
    assert filled[0] == "curl"
    return Example(name, filled, json.loads(printed))


def differences(printed: Any, told: Any, where: str = "") -> list[str]:
    """What an answer lacks of a printed one: keys, and values of the printed kind. Where keys are names (of keyspaces,
    nodes, backups, destinations), each told entry is compared with each printed one; more keys are no difference."""
    if isinstance(printed, dict) and isinstance(told, dict):
        if _named(where):
            pairs = [(f"{where}.*", one, other) for one in printed.values() for other in told.values()]
        else:
            missing = [f"{where}.{key} is missing" for key in printed.keys() - told.keys()]
            pairs = [(f"{where}.{key}", printed[key], told[key]) for key in printed if key in told]
            return [*missing, *(each for one in pairs for each in differences(one[1], one[2], one[0]))]
        return [each for place, one, other in pairs for each in differences(one, other, place)]
    if isinstance(printed, list) and isinstance(told, list):
        return [each for one in printed[:1] for other in told for each in differences(one, other, f"{where}[]")]
    if _kind(printed) != _kind(told):
        return [f"{where} is {told!r}, a {_kind(told)}, not a {_kind(printed)}"]
    return []


def _named(where: str) -> bool:
    return where.rsplit(".", 1)[-1] in ("<names>", "keyspaces", "subrequests", "sstables", "destinations") or (
        where.endswith("sstables.*")
    )


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
