"""What object lock still holds of what a delete frees. In: what sweeps told. Out: fields of the request's result."""

from collections.abc import Sequence
from typing import Any

from agent.wire.results import FreedResult


def told_of_locked(freed: Sequence[FreedResult], *, last: bool = False) -> dict[str, Any]:
    """Bytes, objects and until when the first of them is held (`last`: the last), unix seconds; nothing where nothing
    is locked."""
    ends = [each.locked_until for each in freed if each.locked_until is not None]
    objects = sum(each.locked.objects for each in freed)
    if not objects and not ends:
        return {}
    until = (max if last else min)(ends, default=None)
    return {"locked_bytes": sum(each.locked.bytes for each in freed), "locked_objects": objects, "locked_until": until}
