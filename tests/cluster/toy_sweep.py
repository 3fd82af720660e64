"""A toy node's sweep of a repository in memory, and its dry run."""

from collections.abc import Callable

from agent.wire.commands import SweepArguments
from agent.wire.results import FreedPart, FreedResult
from tests.cluster.toy_repository import Held, Rows


def swept(place: Held, asked: SweepArguments, host_id: str, sizes: Callable[[Rows], dict[str, int]]) -> FreedResult:
    """What a sweep of the node's part frees; it is gone, unless that was only asked."""
    going = place.marks | {*asked.as_deleted}
    parts_of = {tag: rows for (tag, host), rows in place.manifests.items() if tag in going and host == host_id}
    freed = {tag: sum(sizes(rows).values()) for tag, rows in parts_of.items()}
    if asked.dry_run:
        parts = {tag: FreedPart(size, 1) for tag, size in freed.items() if tag in asked.as_deleted}
        return FreedResult(sum(freed.values()), len(freed), [*freed], dry_run=True, backups=parts)
    for tag in freed:
        del place.manifests[tag, host_id]
    return FreedResult(sum(freed.values()), len(freed), [*freed])
