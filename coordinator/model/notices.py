"""Notices: what happened, as whoever subscribed to it is told, and what waits to be told."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

VERSION = 1
"""Of the JSON shape (docs/webhooks.md). Fields may be added to it; what is there keeps its meaning."""

SUBJECTS = ("backup", "sync", "restore", "point_in_time", "delete", "scrub", "archiving")
"""Requests that are told of, by the first word of their types."""
ENDS = ("succeeded", "partial", "failed", "cancelled")
STARTED = "started"

LOST = "archiving.lost"
LAGGING = "archiving.lagging"
CAUGHT_UP = "archiving.caught_up"
MISSED = "backup.missed"
RETENTION_DONE = "retention.done"
RETENTION_FAILED = "retention.failed"

TYPES = frozenset(f"{subject}.{how}" for subject in SUBJECTS for how in (STARTED, *ENDS)) | {
    LOST,
    LAGGING,
    CAUGHT_UP,
    MISSED,
    RETENTION_DONE,
    RETENTION_FAILED,
}
"""Every type there is."""
BAD = frozenset({LOST, LAGGING, MISSED, RETENTION_FAILED}) | {
    type for type in TYPES if type.endswith((".partial", ".failed"))
}
"""Types that a person should look at."""


class Notice(msgspec.Struct, frozen=True):
    """Something that happened. `id`: the same for the same happening, whoever finds it and how often. `at` unix
    seconds. `request` "" and `tag` None where there is none. `destinations`: ids, OPSC_ON_SERVER included. `message`:
    one line for people. `error`: code, message and todo of what went wrong. `fields`: what the type has beside."""

    id: str
    type: str
    at: float
    cluster: str
    request: str = ""
    tag: str | None = None
    destinations: list[str] = []
    message: str = ""
    error: dict[str, str] | None = None
    fields: dict[str, Any] = {}


class Waiting(msgspec.Struct, frozen=True):
    """A notice that a hook is to be told. `put`: when it was put into the outbox; `tries`: how often it was told in
    vain; `next_try`: not before then. Both times in unix seconds."""

    hook: str
    notice: Notice
    put: float
    tries: int = 0
    next_try: float = 0.0


class HookState(msgspec.Struct, frozen=True):
    """How a hook stands, since this start: how many notices it was told, how many tries failed, how many notices were
    dropped untold; when it was told last (unix seconds), and what the last try failed with, "" after one that did
    not. `gone`: it answered that it wants no more. `waiting`: notices that it isn't told yet."""

    name: str
    host: str
    events: list[str]
    told: int = 0
    failed: int = 0
    dropped: int = 0
    last_told: float | None = None
    last_error: str = ""
    gone: bool = False
    waiting: int = 0


def wants(events: Iterable[str], type: str) -> bool:
    """Whether a hook with these patterns is told of the type; without any it is told of all but beginnings."""
    patterns = list(events)
    if not patterns:
        return not type.endswith(f".{STARTED}")
    return any(fnmatchcase(type, pattern) for pattern in patterns)
