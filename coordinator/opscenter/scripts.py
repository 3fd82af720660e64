"""The scripts of a backup as people name them. In: `pre_snapshot_script` and `post_snapshot_script` of a run, or of a
schedule's job. Out: names that are nothing but names."""

from typing import Any

import msgspec

from agent.wire.names import is_name
from coordinator.opscenter import quirks

NAMES = ("pre_snapshot_script", "post_snapshot_script")


class Scripts(msgspec.Struct, frozen=True):
    """Names of files in the agents' script directories, "" = none."""

    pre: str
    post: str


def take_scripts(options: dict[str, Any], inside: str = "") -> Scripts:
    """What the options say of scripts, taken out of them and checked; absent, null, false and empty name none.
    `inside`: what stands before a field's name in a refusal."""
    return Scripts(*(_name(options.pop(field, None), f"{inside}{field}") for field in NAMES))


def _name(value: object, field: str) -> str:
    if value is None or value is False or value == "":
        return ""
    text = quirks.as_text(value, field)
    if not is_name("script", text):
        raise quirks.refuse(
            field,
            "must be the name of a file in the agents' script directory (letters, digits, . _ -, at most 64, "
            f"beginning with a letter or digit), not {quirks.shown(text)}",
        )
    return text
