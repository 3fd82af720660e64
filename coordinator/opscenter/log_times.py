"""Of which times the archived commit log is complete. In: how each node archives. Out: what a backup has of it, apart
from the backup's own success. Pure."""

from collections.abc import Mapping, Sequence

from coordinator.model.archiving import NodeArchiving

Times = Mapping[str, tuple[float, float] | None]
"""Place → since when, and up to when (unix seconds), every node's log is there without a gap; None: of some node
nothing is, or one's began after another's ended."""


def complete_in(nodes: Sequence[NodeArchiving]) -> Times:
    """By the places of the nodes that archive, or did. One that never did is named elsewhere."""
    archiving = [node for node in nodes if node.safe]
    found: dict[str, tuple[float, float] | None] = {}
    for place in sorted({place for node in archiving for place in node.safe}):
        since = [at for node in archiving if (at := node.since.get(place)) is not None]
        until = [at for node in archiving if (at := node.safe.get(place)) is not None]
        whole = len(since) == len(until) == len(archiving) and max(since) <= min(until)
        found[place] = (max(since), min(until)) if whole else None
    return found


def log_since(at: float, times: Times) -> dict[str, float | None]:
    """Place → up to when a backup of that time has its log there; None: what it needs first is not there."""
    return {
        place: None if complete is None or not complete[0] <= at <= complete[1] else complete[1]
        for place, complete in times.items()
    }
