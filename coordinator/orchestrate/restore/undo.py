"""A restore that fails or is cancelled: why in; how far it had come, and what is undone, kept and owed, out.

That a request leaves is noted durably before anything of it is undone: no later life of the coordinator goes forward
over nodes that hold nothing any more. What is to be undone is read from the store, so that every life leaves alike.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import RESUMABLE
from coordinator.orchestrate.errors import OutcomeUnknown, RequestCancelled, foreseen
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import failures
from coordinator.orchestrate.restore.changes import owed, what_changed
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE, JobSteps
from coordinator.orchestrate.restore.owed_views import OWED_VIEWS
from coordinator.orchestrate.restore.report import IMPORTED, RestoreReport
from coordinator.orchestrate.restore.scope import RestoreScope
from coordinator.orchestrate.restore.sent_once import SentOnce
from coordinator.orchestrate.restore.verdict import Verdict
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.until_kept import until_kept
from kit.errors import HelenusError

LEAVING = "leaving"
"""The step of a request that holds what it ends with, once it leaves."""

UNDO_CLEAN = "undo-clean"
UNDO_VIEWS = "undo-create_views"
STOPPED_VIEWS = "stopped-create_views"
UNDOING = frozenset({UNDO_CLEAN, UNDO_VIEWS, STOPPED_VIEWS})
"""Phases that leaving consists of: who goes on with it breaks none of them off."""


class Left(HelenusError):
    """What the request left with in an earlier life of the coordinator, as it was told then."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(str(told.get("message", "")))
        self._told = told

    def as_dict(self) -> dict[str, object]:
        """The error as it was noted."""
        return self._told


def raise_left(noted: Mapping[str, Any] | None) -> None:
    """Raise what was noted of leaving, `RequestCancelled` or `Left`; return when nothing was."""
    if noted is None:
        return
    if noted["cancelled"]:
        raise RequestCancelled(noted["error"]["message"], **noted["error"]["fields"])
    raise Left(noted["error"])


class RestoreUndo:
    """Leaves one restore."""

    def __init__(self, run: Run, order: RestoreOrder, steps: JobSteps, fan_out: FanOut, sent: SentOnce) -> None:
        self._run = run
        self._order = order
        self._steps = steps
        self._fan_out = fan_out
        self._sent = sent
        self._report = RestoreReport(run, steps)

    async def raise_noted(self) -> None:
        """Raise what the request left with in an earlier life of the coordinator, `RequestCancelled` or `Left`; return
        if it did not leave."""
        raise_left(await self._run.around.store.requests.step(self._run.request.id, LEAVING))

    async def leave(self, error: Exception) -> None:
        """Before the point of no return everything is undone; later what is needed to go on stays, and the views come
        back as long as no import has begun. While the store can't be written it is waited for."""
        await until_kept(self._run, "leaving the restore", partial(self._leave, error))

    async def _leave(self, error: Exception) -> None:
        run, requests = self._run, self._run.around.store.requests
        if await requests.step(run.request.id, LEAVING) is None:
            told = foreseen(error).as_dict()
            await run.note(LEAVING, cancelled=isinstance(error, RequestCancelled), error=told)
        irrevocable = await self._steps.noted(IRREVOCABLE)
        if irrevocable:
            run.result[RESUMABLE] = self._steps.job
        await self._fan_out.cancel_posted(sparing=UNDOING)
        noted = await self._steps.step("scope"), await self._steps.step("verdict")
        scope = None if noted[0] is None else msgspec.convert(noted[0], RestoreScope)
        verdict = None if noted[1] is None else msgspec.convert(noted[1], Verdict)
        views = await self._undo(scope, verdict, irrevocable) if scope is not None else ""
        changed = "no table was changed"
        if irrevocable and scope is not None and verdict is not None:
            changed = await what_changed(self._steps, scope, verdict)
        run.aftermath = f"{changed}{views}"

    async def _undo(self, scope: RestoreScope, verdict: Verdict | None, irrevocable: bool) -> str:
        """What there is to tell of views, after a semicolon."""
        if irrevocable:
            self._run.result[IMPORTED] = await self._report.imported(scope)
        # A request that goes on with another one's job, and has sent nothing yet, has nothing to undo.
        posted = bool(await self._run.around.store.commands.of(self._run.request.id))
        views = "" if verdict is None else await self._views(scope, verdict, irrevocable, posted)
        if posted and not irrevocable:
            await self._clean(scope)
        return views

    async def _clean(self, scope: RestoreScope) -> None:
        arguments = {host_id: scope.arguments(host_id, self._order) for host_id in scope.hosts}
        answers = await self._fan_out.ask(UNDO_CLEAN, Kind.CLEAN, arguments, undoing=True)
        for answer in answers.values():
            self._report.pass_on(answer)
        for address, error in failures(answers.values()).items():
            self._run.warn(f"owed on {address}: removing what the restore staged ({error.get('message', '')})")

    async def _views(self, scope: RestoreScope, verdict: Verdict, irrevocable: bool, posted: bool) -> str:
        """Bring them back, or call them owed: that first, for what is left when this breaks off."""
        dropped = await self._steps.step("views_dropped")
        if await self._steps.noted("import_begun"):
            if not verdict.create_views or await self._steps.noted("views_made"):
                return ""
            self._run.result[OWED_VIEWS] = [view.statement for view in verdict.create_views]
            return f"; {owed(verdict.create_views)}"
        if dropped is None:
            return ""
        if dropped["dropped"]:
            statements = [view.statement for view in verdict.live_views]
            self._run.result[OWED_VIEWS] = statements
            phase = STOPPED_VIEWS if irrevocable else UNDO_VIEWS
            if not (posted and await self._views_back(scope, statements, phase)):
                return f"; {owed(verdict.live_views)}"
            del self._run.result[OWED_VIEWS]
        return "; views that were dropped are made again"

    async def _views_back(self, scope: RestoreScope, statements: list[str], phase: str) -> bool:
        reason = ""
        for host_id in await self._speakers(scope):
            arguments = msgspec.structs.replace(scope.arguments(host_id, self._order), statements=statements)
            answer = (await self._fan_out.ask(phase, Kind.CREATE_VIEWS, {host_id: arguments}, undoing=True))[host_id]
            if answer.ok:
                await self._steps.note("views_dropped", dropped=False)
                return True
            reason = str((answer.error or {}).get("message", ""))
            if (answer.error or {}).get("code") != OutcomeUnknown.code:
                break
            # Past its time that agent neither drops nor makes them any more: another one may be told.
            for given_up in ("drop_views", phase):
                await self._sent.gave_up(given_up)
        self._run.warn(f"owed: {len(statements)} views that were dropped could not be made again ({reason})")
        return False

    async def _speakers(self, scope: RestoreScope) -> list[str]:
        """Whom to tell: the one that was told to drop them, then each one that answers."""
        first = await speaker(scope.hosts, self._steps)
        agents = self._run.around.registry.agents(self._run.cluster)
        alive = {agent.host_id for agent in agents if agent.alive}
        return [first, *(host_id for host_id in scope.hosts if host_id != first and host_id in alive)]


async def speaker(hosts: Sequence[str], steps: JobSteps) -> str:
    """The node whose agent changes the schema: always the same, unless force gave it up."""
    for host_id in hosts:
        if not await steps.noted(f"lost/{host_id}"):
            return host_id
    return hosts[0]
