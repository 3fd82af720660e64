"""What an agent of a later minor version says, read by this one. In: an answer's JSON and what it should be. Out: that,
without what this coordinator doesn't know.

docs/protocol.md («Versions») says what a minor version may add. Only what can't be read at once comes here, for types
that refuse what they don't know because coordinators also send them (settings, documents of jobs) and for the few
values of which this coordinator knows a whole list.
"""

import re
from typing import Any, TypeVar

import msgspec

from agent.wire.archiving import ArchivingView
from agent.wire.commands import CommandView, Event, State

Answer = TypeVar("Answer")

MOST_BYTES = 1 << 20
"""Larger answers are read once: each thing that is left out costs a reading of the whole."""
MOST_LEFT_OUT = 64
"""Fields and values that are unknown in one answer."""

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`(?: - at `\$(?P<path>[^`]*)`)?")
_UNKNOWN_VALUE = re.compile(r"Invalid enum value .* - at `\$(?P<path>[^`]*)`", re.DOTALL)
_UNKNOWN_PROVIDER = re.compile(r"Invalid value .* - at `\$\[(?P<number>[0-9]+)\]\.settings\.provider`", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")
_STANDS_FOR: dict[tuple[type, str], str] = {
    (Event, ".state"): State.RUNNING,
    (CommandView, ".state"): State.RUNNING,
    (ArchivingView, ".state"): "unknown",
}
"""A state that is new since is none that ends a command; its end is told by a state that everybody knows."""


def read(content: bytes, answer: type[Answer]) -> Answer:
    """The answer. Raises what msgspec raises where it is none, also of a later version."""
    try:
        return msgspec.json.decode(content, type=answer)
    except msgspec.ValidationError as wrong:
        if len(content) > MOST_BYTES:
            raise
        value, first = msgspec.json.decode(content), wrong
    for _ in range(MOST_LEFT_OUT):
        if not _without_what_is_new(value, answer, str(first)):
            break
        try:
            return msgspec.convert(value, answer)
        except msgspec.ValidationError as wrong:
            first = wrong
    raise first


def _without_what_is_new(value: Any, answer: type, said: str) -> bool:
    """Whether what the decoder said is of something new, which is left out of the value now."""
    field = _UNKNOWN_FIELD.fullmatch(said)
    if field is not None:
        holder = _at(value, field["path"] or "")
        return isinstance(holder, dict) and holder.pop(field["field"], msgspec.UNSET) is not msgspec.UNSET
    provider = _UNKNOWN_PROVIDER.fullmatch(said)
    if provider is not None:
        del value[int(provider["number"])]  # only another coordinator has put it there
        return True
    unknown = _UNKNOWN_VALUE.fullmatch(said)
    known = _STANDS_FOR.get((answer, unknown["path"])) if unknown is not None else None
    if known is None or value["state"] == known:
        return False
    value["state"] = known
    return True


def _at(value: Any, path: str) -> Any:
    """What stands at a path as msgspec tells it; None where that can't be followed (a key of a map isn't told)."""
    end = 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            return None
        end = step.end()
        value = value[step[1]] if step[1] else value[int(step[2])]
    return value if end == len(path) else None
