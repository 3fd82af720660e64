"""What a recording of agents holds, and what a recorder hears. In: requests and answers as they pass. Out: a file of
JSON that `tests.recording.replayed` serves again."""

from typing import Any

import msgspec

SUFFIX = "-agents.json"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request and its answer. `pattern`: method and path, names replaced; `sent`, `answer`: JSON (None: no body)."""

    pattern: str
    path: str
    sent: Any = None
    status: int = 200
    answer: Any = None


class Told(msgspec.Struct, frozen=True):
    """What one agent said: its answers in order, and the events that it told."""

    address: str
    messages: list[Message]
    events: list[dict[str, Any]]


class Recording(msgspec.Struct, frozen=True):
    """`of`: which state of the sources the agents were of. `tag`, `destination`: of the backup that was made."""

    of: str
    tag: str
    destination: str
    agents: list[Told]


def pattern_of(method: str, path: str) -> str:
    """The kind of request that it is: `GET /v1/commands/*`."""
    parts = path.partition("?")[0].split("/")
    if len(parts) > 3:
        parts[3] = "*"
    return f"{method} {'/'.join(parts)}"
