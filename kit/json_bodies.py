"""What JSON allows and no order should hold: an object with one key twice. In: the body's bytes. Out: nothing, or the
error that names the key. Which of the two values counts differs from reader to reader."""

import json
from typing import Any

from kit.errors import InvalidInput

SHOWN = 80
"""Characters of a key that an error repeats."""


class RepeatedKey(InvalidInput):
    """An object of the body holds a key twice; `field` is the key."""

    code = "repeated_key"
    todo = "Send each key of an object once."


def refuse_repeated_keys(raw: bytes) -> None:
    """Raise `RepeatedKey` for the first key that its object has already, however it is escaped. Raises `ValueError`
    for what is no JSON, `RecursionError` for what is nested too deeply."""
    json.loads(raw, object_pairs_hook=_once, parse_int=len, parse_float=len)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = key[:SHOWN].encode("unicode_escape").decode("ascii")
                raise RepeatedKey(f"the body has the key '{shown}' twice", field=shown)
            seen.add(key)
    return found
