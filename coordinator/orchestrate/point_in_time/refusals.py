"""What a coordinator itself says against a point in time. In: a code and a sentence. Out: a refusal, as a person and a
client get it, with what to do (docs/errors.md). Pure."""

from typing import Any

from coordinator.orchestrate.restore.verdict import FORCE

LATER_WRITE = "write_after_point"
PART_UNREADABLE = "part_unreadable"
"""The codes of refusals for which an older snapshot is tried."""

LIFTED = frozenset({"log_gap", "log_short", LATER_WRITE, "schema_in_doubt"})
"""What force lifts of these; of an agent's own refusals, those that say so."""

TODO = {
    "log_gap": "Choose a point before the gap, or after the next snapshot; with force what was written then is lost on "
    "that node.",
    "log_short": "Choose an earlier point; with force what came after it is lost on that node.",
    LATER_WRITE: "Choose a later point. With force the write stays in.",
    PART_UNREADABLE: "Scrub the destination, and choose a point after a backup that is whole; or name another "
    "destination that has a copy of it.",
    "schema_in_doubt": "Choose a point outside of the named times; with force the earlier schema counts.",
    "topology_changed": "Choose a snapshot after the change, or one before with a point before it and the same ring.",
    "not_enough_space": "Make room on the named volume.",
    "clock_skewed": "Correct the clock.",
}


def refusal(code: str, message: str, **fields: object) -> dict[str, Any]:
    """`fields`: what else a client may want of it."""
    lifted_by = FORCE if code in LIFTED else None
    return {"code": code, "message": message, "todo": TODO[code], "fields": fields, "lifted_by": lifted_by}
