"""What a restore to a point tells people at its end. In: what its nodes did. Out: the outcome, and advice."""

from collections.abc import Iterable
from typing import Any

from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.by_nodes import by_nodes
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.point_in_time.times import told_point
from coordinator.orchestrate.point_in_time.verdict import PitVerdict
from coordinator.orchestrate.restore.job_steps import JobSteps
from coordinator.orchestrate.restore.owed_views import OWED_VIEWS
from coordinator.orchestrate.run import Run

MOST_NAMED = 3
"""Tables that a request's message names."""


class PitReport:
    """Tells of one restore."""

    def __init__(self, run: Run, steps: JobSteps) -> None:
        self._run = run
        self._steps = steps

    def pass_on(self, answers: Iterable[Answered]) -> None:
        """What nodes have to say to a person beside their results."""
        for warning in by_nodes({answer.address: answer.result.get("warnings", []) for answer in answers}):
            self._run.warn(warning)

    async def summed_up(self, scope: PitScope, verdict: PitVerdict, owed: list[str]) -> Outcome:
        """How the restore ended: well, but for views that could not be made."""
        if verdict.recreated:
            names = ", ".join(f"{keyspace}.{table}" for keyspace, each in verdict.recreated.items() for table in each)
            self._run.warn(
                f"owed: where auto_snapshot is on, Cassandra kept what {names} held as its own snapshots, dropped-*, "
                f"elsewhere force had it kept as helenus-dropped-{self._steps.job}: nodetool listsnapshots names them; "
                "clear each by its tag when nobody needs it"
            )
        self._run.warn("recommended: a backup now, for the log of before the restore leads to no point after it")
        result: dict[str, Any] = {
            **verdict.shown(),
            **(await self._steps.step(S.PLACED) or {}),
            **(await self._steps.step(S.VERIFIED) or {}),
        }
        if scope.started:
            result["nodes_started_first"] = scope.started
        shut = await self._shut_out()
        if shut is not None:
            result["clients_shut_out_seconds"] = shut
        if not owed:
            return Outcome(RequestState.SUCCESS, _restored(verdict, shut), result=result)
        result[OWED_VIEWS] = owed
        error = nodes_failed("The restore", {"views": {"message": "some could not be made"}})
        return Outcome(RequestState.ERROR, error.message, partial=True, error=error.as_dict(), result=result)

    async def _shut_out(self) -> float | None:
        """Seconds from when the first node let no client in to when the last one did again, as far as it is noted."""
        begun, ended = [(await self._steps.step(step) or {}).get("at") for step in (S.STOPPING, S.OPENED)]
        return None if begun is None or ended is None else round(max(ended - begun, 0.0), 1)


def _restored(verdict: PitVerdict, shut: float | None) -> str:
    """The end in a sentence, and what is to be done next."""
    names = [f"{keyspace}.{table}" for keyspace, tables in verdict.tables.items() for table in tables]
    which = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} tables"
    while_ = "" if shut is None else f"; clients were shut out for {shut:.0f} s"
    return f"restored to {told_point(verdict.pit_micros)}: {which}{while_}; take a backup now"
