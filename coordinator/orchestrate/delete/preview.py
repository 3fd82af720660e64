"""What a delete would free: each node counts, in a destination by a sweep's dry run; nothing is marked or removed."""

from typing import Any

import msgspec

from agent.wire.commands import DeleteArguments, Kind, SweepArguments
from agent.wire.results import FreedPart, FreedResult
from coordinator.model.cluster import NamedNode
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.delete.adopting import adopt
from coordinator.orchestrate.delete.delete import DeleteScope, delete_scope
from coordinator.orchestrate.delete.locked import told_of_locked
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import NOT_THERE, Outcome, failures, nodes_failed
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Run


class NodeSpace(msgspec.Struct, frozen=True):
    """What would go of a node. `bytes`, `objects`: all that the node's sweep would free after the delete, what earlier
    deletions left included (on a node: what the snapshot alone holds, in files). `backup_bytes`, `backup_objects`: of
    those, what only this backup needs."""

    host_id: str
    address: str
    bytes: int
    objects: int
    backup_bytes: int
    backup_objects: int


class DeletePreview:
    """Carries out a delete order that is a dry run."""

    def __init__(self, run: Run, order: DeleteOrder) -> None:
        self._run = run
        self._order = order
        self._places = Places(run.around, run.cluster)
        self._fan_out = FanOut(run, repair=self._places.repair)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        order = self._order
        scope = await self._run.once("scope", self._scope, DeleteScope)
        place = await self._places.optional(order.destination)
        left: list[tuple[NamedNode, Answered]] = []
        if place is None:
            answers = await self._counted(scope, Kind.DELETE, DeleteArguments(order.tag, dry_run=True))
        else:
            sweep = SweepArguments(target_of(place), dry_run=True, as_deleted=[order.tag])
            answers = await self._counted(scope, Kind.SWEEP, sweep)
            left = await adopt(self._fan_out, scope.gone, scope.hosts if place.shared else [], sweep)
        failed = {
            address: error
            for address, error in failures(answers.values()).items()
            if place is not None or error.get("code") not in NOT_THERE
        }
        for node, answer in left:
            if not answer.ok:
                why = (answer.error or {}).get("message")
                self._run.warn(f"the part of {node.host_id}, which left the ring, is not counted: {why}")
        for address in scope.absent:
            self._run.warn(f"{address} doesn't answer: its part is not counted")
        nodes = [self._space(answer, host, answer.address) for host, answer in sorted(answers.items()) if answer.ok]
        nodes += [self._space(answer, node.host_id, node.address) for node, answer in left if answer.ok]
        counted = [*answers.values(), *(answer for _, answer in left)]
        freed = [msgspec.convert(answer.result, FreedResult) for answer in counted if answer.ok]
        result: dict[str, Any] = {
            "dry_run": True,
            "would_free": {
                "bytes": sum(node.bytes for node in nodes),
                "objects": sum(node.objects for node in nodes),
                "backup_bytes": sum(node.backup_bytes for node in nodes),
                "backup_objects": sum(node.backup_objects for node in nodes),
                "nodes": [msgspec.to_builtins(node) for node in nodes],
            },
        }
        told = f"nothing was deleted; {sum(node.bytes for node in nodes)} bytes would be freed"
        locked = told_of_locked(freed)
        if locked:
            result["would_free"] |= locked
            told += f", {locked['locked_bytes']} of them when their object lock has ended"
        if not failed:
            return Outcome(RequestState.SUCCESS, told, result=result)
        error = nodes_failed("The dry run", failed)
        return Outcome(RequestState.ERROR, error.message, partial=bool(nodes), error=error.as_dict(), result=result)

    async def _counted(self, scope: DeleteScope, kind: Kind, arguments: msgspec.Struct) -> dict[str, Answered]:
        return await self._fan_out.ask("count", kind, dict.fromkeys(scope.hosts, arguments))

    def _space(self, answer: Answered, host_id: str, address: str) -> NodeSpace:
        freed = msgspec.convert(answer.result, FreedResult)
        whole = FreedPart(freed.bytes_freed, freed.objects)
        part = whole if self._order.destination is None else freed.backups.get(self._order.tag, FreedPart(0, 0))
        return NodeSpace(host_id, address, whole.bytes, whole.objects, part.bytes, part.objects)

    async def _scope(self) -> DeleteScope:
        return await delete_scope(self._run.around, self._run.cluster, self._order)
