"""What a toy node puts into destinations: in, the rows of a part; out, a result for each target."""

from typing import Any, Protocol

from agent.model.job import JobContext
from agent.repository.errors import UnknownDestination
from agent.wire.commands import Target
from agent.wire.results import TargetResult, UploadResult
from tests.cluster.toy_repository import Held, Rows, counted, sizes_of


class Puts(Protocol):
    """What it takes of a node."""

    warnings: list[str]
    full: set[str]

    def directory(self, target: Target) -> Held: ...


def put(node: Puts, context: JobContext, asked: Any, rows: Rows, host_id: str) -> UploadResult:
    """Put these rows as that host's part of `asked.tag` into every target."""
    targets = {}
    for target in asked.targets:
        if target.destination in node.full:
            error: dict[str, object] = {"code": "storage_failed", "message": "no room", "retry": "never"}
            targets[target.destination] = TargetResult("failed", error=error)
            continue
        try:
            place = node.directory(target)
        except UnknownDestination as unknown:
            targets[target.destination] = TargetResult("failed", error=unknown.as_dict())
            continue
        assert asked.tag in place.plans, "data before the plan"
        counted(context, target.destination, rows)
        place.manifests[asked.tag, host_id] = rows
        sizes = sizes_of(rows)
        done = TargetResult("success", 1, sum(sizes.values()), sizes=sizes, warnings=node.warnings)
        targets[target.destination] = done
    return UploadResult(targets)
