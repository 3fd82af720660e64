"""What object lock still holds of what a delete frees. In: what sweeps, or their dry runs, told. Out: fields of the
request's result."""

from collections.abc import Sequence
from typing import Any

from agent.wire.results import FreedResult


def told_of_locked(freed: Sequence[FreedResult]) -> dict[str, Any]:
    """Bytes, objects, and when the first or all of them may go, unix seconds: whichever the nodes tell. Nothing
    where nothing is locked."""
    first = [each.first_unlocked_at for each in freed if each.first_unlocked_at is not None]
    all_of_it = [each.all_unlocked_at for each in freed if each.all_unlocked_at is not None]
    objects = sum(each.locked.objects for each in freed)
    if not objects and not first and not all_of_it:
        return {}
    told: dict[str, Any] = {"locked_bytes": sum(each.locked.bytes for each in freed), "locked_objects": objects}
    if first:
        told["first_unlocked_at"] = min(first)
    if all_of_it:
        told["all_unlocked_at"] = max(all_of_it)
    return told
