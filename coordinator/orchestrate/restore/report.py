"""What a restore tells people at its end. In: what its nodes did, as noted. Out: the outcome, and advice."""

from typing import Any

from agent.wire.results import ViewCql
from coordinator.model.requests import RESUMABLE, RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import NodeLeftOut, NoPartInBackup
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.restore.changes import owed, what_changed
from coordinator.orchestrate.restore.job_steps import JobSteps
from coordinator.orchestrate.restore.owed_views import OWED_VIEWS
from coordinator.orchestrate.restore.scope import RestoreScope
from coordinator.orchestrate.restore.verdict import Verdict
from coordinator.orchestrate.run import Run

NOT_RESTORED = "nodes_not_restored"
"""In a request's result: addresses of the nodes that were left out."""
IMPORTED = "imported"
"""In a restore's result: address → keyspace → table → Data files, of the nodes whose import ended well."""

IMPORTED_IN_PART = "imported_in_part"
"""The same, of nodes whose import was stopped after its running batch."""

IMPORT_STOPPED = "import_stopped"
"""The agent's code of an import that a forced cancel ended."""


class RestoreReport:
    """Tells of one restore."""

    def __init__(self, run: Run, steps: JobSteps) -> None:
        self._run = run
        self._steps = steps

    async def imported(self, scope: RestoreScope) -> dict[str, Any]:
        """Address → keyspace → table → Data files imported."""
        registry, cluster = self._run.around.registry, self._run.cluster
        noted = await self._steps.imported(scope.hosts)
        return {registry.address_of(cluster, host_id): tables for host_id, tables in noted.items()}

    def stopped(self, answer: Answered) -> None:
        """Keep what an import that was stopped says is in."""
        error = answer.error or {}
        fields = error.get("fields")
        if error.get("code") == IMPORT_STOPPED and isinstance(fields, dict):
            in_part = self._run.result.setdefault(IMPORTED_IN_PART, {})
            in_part[answer.address] = fields.get("imported", {})

    def pass_on(self, answer: Answered) -> None:
        """What a node has to say to a person beside its result."""
        for warning in answer.result.get("warnings", []):
            self._run.warn(f"{answer.address}: {warning}")

    async def summed_up(
        self, scope: RestoreScope, verdict: Verdict, failed: dict[str, dict[str, Any]], owed_views: list[ViewCql]
    ) -> Outcome:
        """How the restore ended. `failed`: address → error of the nodes that did not do all."""
        await self._advise(scope, verdict)
        result: dict[str, Any] = {IMPORTED: await self.imported(scope)}
        if scope.left_out:
            result[NOT_RESTORED] = scope.left_out
        if owed_views:
            result[OWED_VIEWS] = [view.statement for view in owed_views]
            self._run.warn(f"owed: the views {', '.join(f'{view.keyspace}.{view.name}' for view in owed_views)}")
        if failed or owed_views:
            # What is owed is owed by this job alone: a new one would find no view that it should make again.
            result[RESUMABLE] = self._steps.job
            changed = await what_changed(self._steps, scope, verdict)
            self._run.aftermath = f"{changed}; {owed(owed_views)}" if owed_views else changed
        for address in scope.forced_out:
            # Of this nothing is left to go on with: the same restore, once the node can take part, is a new one.
            partless = address in scope.partless
            why = ", for the backup has no part of it" if partless else ""
            kind = NoPartInBackup if partless else NodeLeftOut
            failed.setdefault(address, kind(f"left out by force, not restored{why}", node=address).as_dict())
        if not failed and not owed_views:
            return Outcome(RequestState.SUCCESS, "restored", result=result)
        error = nodes_failed("The restore", failed or {"views": {"message": "some could not be made"}})
        return Outcome(RequestState.ERROR, error.message, partial=True, error=error.as_dict(), result=result)

    async def _advise(self, scope: RestoreScope, verdict: Verdict) -> None:
        self._run.warn("recommended: nodetool cleanup on every node (imports do not check token ranges)")
        if (not verdict.truncate and not verdict.replace) or len(verdict.without_snapshots) == len(scope.hosts):
            return
        snapshots, held = 0, 0
        for host_id in scope.hosts:
            step = await self._steps.step(f"checked/{host_id}")
            kept = (step or {}).get("kept") or [0, 0]
            snapshots, held = snapshots + kept[0], held + kept[1]
        counted = f" ({snapshots} over all nodes, {held} bytes, earlier ones included)" if snapshots else ""
        where = f", but on {', '.join(verdict.without_snapshots)}" if verdict.without_snapshots else ""
        self._run.warn(
            f"owed on every node{where}: Cassandra kept what was there before as its own snapshots, truncated-* and "
            f"dropped-*{counted}: nodetool listsnapshots names them; when nobody needs them, clear each with nodetool "
            "clearsnapshot -t <tag> (never all at once: backups that are kept on the nodes are snapshots too)"
        )
