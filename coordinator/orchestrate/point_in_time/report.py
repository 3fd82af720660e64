"""What a restore to a point tells people at its end. In: what its nodes did. Out: the outcome, and advice."""

from typing import Any

from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.point_in_time.times import told_point
from coordinator.orchestrate.point_in_time.verdict import PitVerdict
from coordinator.orchestrate.restore.job_steps import JobSteps
from coordinator.orchestrate.restore.owed_views import OWED_VIEWS
from coordinator.orchestrate.run import Run


class PitReport:
    """Tells of one restore."""

    def __init__(self, run: Run, steps: JobSteps) -> None:
        self._run = run
        self._steps = steps

    def pass_on(self, answer: Answered) -> None:
        """What a node has to say to a person beside its result."""
        for warning in answer.result.get("warnings", []):
            self._run.warn(f"{answer.address}: {warning}")

    async def summed_up(self, scope: PitScope, verdict: PitVerdict, owed: list[str]) -> Outcome:
        """How the restore ended: well, but for views that could not be made."""
        if verdict.recreated:
            names = ", ".join(f"{keyspace}.{table}" for keyspace, each in verdict.recreated.items() for table in each)
            self._run.warn(
                f"owed: where auto_snapshot is on, Cassandra kept what {names} held as its own snapshots, dropped-*: "
                "nodetool listsnapshots names them; clear each by its tag when nobody needs it"
            )
        self._run.warn("recommended: a backup now, for the log of before the restore leads to no point after it")
        result: dict[str, Any] = {
            **verdict.shown(),
            **(await self._steps.step(S.PLACED) or {}),
            **(await self._steps.step(S.VERIFIED) or {}),
        }
        if scope.started:
            result["nodes_started_first"] = scope.started
        point = told_point(verdict.pit_micros)
        if not owed:
            return Outcome(RequestState.SUCCESS, f"restored to {point}", result=result)
        result[OWED_VIEWS] = owed
        error = nodes_failed("The restore", {"views": {"message": "some could not be made"}})
        return Outcome(RequestState.ERROR, error.message, partial=True, error=error.as_dict(), result=result)
