"""A restore that fails or is cancelled: how far it had come in, what is undone, kept and owed out."""

import msgspec

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import RESUMABLE
from coordinator.orchestrate.errors import OutcomeUnknown
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.job_steps import IRREVOCABLE, JobSteps
from coordinator.orchestrate.outcome import failures
from coordinator.orchestrate.restore_report import IMPORTED, RestoreReport
from coordinator.orchestrate.restore_scope import RestoreScope
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.sent_once import SentOnce
from coordinator.orchestrate.verdict import Verdict


class RestoreUndo:
    """Leaves one restore."""

    def __init__(self, run: Run, order: RestoreOrder, steps: JobSteps, fan_out: FanOut, sent: SentOnce) -> None:
        self._run = run
        self._order = order
        self._steps = steps
        self._fan_out = fan_out
        self._sent = sent
        self._report = RestoreReport(run, steps)

    async def leave(self, scope: RestoreScope, verdict: Verdict | None) -> None:
        """Before the point of no return everything is undone; later what is needed to go on stays, and the views come
        back as long as no import has begun."""
        irrevocable = await self._steps.noted(IRREVOCABLE)
        begun = await self._steps.noted("import_begun")
        if irrevocable:
            self._run.result[RESUMABLE] = self._steps.job
            self._run.result[IMPORTED] = await self._report.imported(scope)
            self._run.warn("tables were changed already: post the same restore again, and it goes on where it stopped")
        if not begun:
            await self._views_back(scope, verdict, "stopped" if irrevocable else "undo")
        elif verdict is not None and verdict.create_views:
            self._run.result["owed_views"] = [view.statement for view in verdict.create_views]
        if not irrevocable:
            await self._clean(scope)

    async def _clean(self, scope: RestoreScope) -> None:
        arguments = {host_id: scope.arguments(host_id, self._order) for host_id in scope.hosts}
        answers = await self._fan_out.ask("undo-clean", Kind.CLEAN, arguments, undoing=True)
        for answer in answers.values():
            self._report.pass_on(answer)
        for address, error in failures(answers.values()).items():
            self._run.warn(f"owed on {address}: removing what the restore staged ({error.get('message', '')})")

    async def _views_back(self, scope: RestoreScope, verdict: Verdict | None, prefix: str) -> None:
        step = await self._steps.step("views_dropped")
        if verdict is None or step is None or not step["dropped"]:
            return
        statements = [view.statement for view in verdict.live_views]
        phase, reason = f"{prefix}-create_views", ""
        for host_id in await self._speakers(scope):
            arguments = msgspec.structs.replace(scope.arguments(host_id, self._order), statements=statements)
            answer = (await self._fan_out.ask(phase, Kind.CREATE_VIEWS, {host_id: arguments}, undoing=True))[host_id]
            if answer.ok:
                await self._steps.note("views_dropped", dropped=False)
                return
            reason = str((answer.error or {}).get("message", ""))
            if (answer.error or {}).get("code") != OutcomeUnknown.code:
                break
            # Past its time that agent neither drops nor makes them any more: another one may be told.
            for given_up in ("drop_views", phase):
                await self._sent.gave_up(given_up)
        self._run.result["owed_views"] = statements
        self._run.warn(f"owed: {len(statements)} views that were dropped could not be made again ({reason})")

    async def _speakers(self, scope: RestoreScope) -> list[str]:
        """Whom to tell: the one that was told to drop them, then each one that answers."""
        first = await speaker(scope, self._steps)
        agents = self._run.around.registry.agents(self._run.cluster)
        alive = {agent.host_id for agent in agents if agent.alive}
        return [first, *(host_id for host_id in scope.hosts if host_id != first and host_id in alive)]


async def speaker(scope: RestoreScope, steps: JobSteps) -> str:
    """The node whose agent changes the schema: always the same, unless force gave it up."""
    for host_id in scope.hosts:
        if not await steps.noted(f"lost/{host_id}"):
            return host_id
    return scope.hosts[0]
