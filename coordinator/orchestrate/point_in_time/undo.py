"""A restore to a point that fails or is cancelled: why in; how the nodes are then, and what is owed, out.

Before the point of no return, and by a forced cancel until clients are let in, every node gets its old data back and
runs. Later everything stays as it is, and the same restore sent again goes on. That a job is undone is noted durably
first, and holds for every later life and coordinator: it never goes forward again.
"""

from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from agent.wire.commands import Kind
from agent.wire.point_in_time import PitArguments
from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import RESUMABLE
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import RequestCancelled, foreseen
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.documents import JobDocuments, is_taken_over
from coordinator.orchestrate.point_in_time.errors import JobNotKept, JobTakenOver
from coordinator.orchestrate.point_in_time.in_turn import InTurn
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.point_in_time.verdict import PitVerdict
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE, JobSteps
from coordinator.orchestrate.restore.owed_views import OWED_VIEWS
from coordinator.orchestrate.restore.sent_once import SentOnce
from coordinator.orchestrate.restore.undo import UNDO_VIEWS, raise_left, speaker
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.until_kept import until_kept

UNDO_PIT = "undo-pit_undo"
UNDO_PIT_CLEAN = "undo-pit_clean"
UNDOING_PHASES = frozenset({UNDO_PIT, UNDO_PIT_CLEAN, UNDO_VIEWS})
GOES_ON = "the same restore sent again goes on"


class PitUndo:
    """Leaves one job."""

    def __init__(
        self,
        run: Run,
        order: PointInTimeOrder,
        steps: JobSteps,
        fan_out: FanOut,
        sent: SentOnce,
        documents: JobDocuments,
    ) -> None:
        self._run = run
        self._order = order
        self._steps = steps
        self._fan_out = fan_out
        self._sent = sent
        self._documents = documents

    async def raise_noted(self) -> None:
        """Raise what the job was left with, `RequestCancelled` or `Left`; return if it is not being undone."""
        raise_left(await self._steps.step(S.UNDOING))

    async def leave(self, error: Exception) -> None:
        """While the store can't be written it is waited for."""
        if is_taken_over(error):
            self._run.aftermath = "another coordinator carries on with it"
            return
        try:
            await until_kept(self._run, "leaving the restore to a point in time", partial(self._leave, error))
        except JobTakenOver:
            self._run.aftermath = "another coordinator carries on with it"

    async def _leave(self, error: Exception) -> None:
        run = self._run
        cancelled = isinstance(error, RequestCancelled)
        irrevocable = await self._steps.noted(IRREVOCABLE)
        undoing = await self._steps.noted(S.UNDOING)
        if irrevocable and not undoing and not (cancelled and not await self._steps.noted(S.OPENING)):
            await self._fan_out.cancel_posted()
            run.result[RESUMABLE] = self._steps.job
            run.aftermath = f"{await self._how_far()}; {GOES_ON}"
            await self._put_end(resumable=True)
            return
        if not undoing:
            await self._steps.note(S.UNDOING, cancelled=cancelled, error=foreseen(error).as_dict())
        run.result.pop(RESUMABLE, None)
        await self._fan_out.cancel_posted(sparing=UNDOING_PHASES)
        noted = await self._steps.step(S.SCOPE), await self._steps.step(S.VERDICT)
        if noted[0] is None or noted[1] is None:
            run.aftermath = "no table was changed and no node was stopped"
            return
        with suppress(JobNotKept):
            await self._documents.put(S.UNDOING)
        scope, verdict = msgspec.convert(noted[0], PitScope), msgspec.convert(noted[1], PitVerdict)
        told = scope.arguments(self._order, verdict.tag, verdict.pit_micros, verdict.tables)
        failed = await self._bring_back(dict.fromkeys(scope.hosts, told))
        views = await self._views_back(scope, verdict) if not failed else ""
        if not failed:
            await self._clean(dict.fromkeys(scope.hosts, told))
        run.aftermath = "; ".join(text for text in (await self._told(scope, verdict, failed), views) if text)
        if failed:
            run.result[RESUMABLE] = self._steps.job
        await self._put_end(resumable=bool(failed))

    async def _bring_back(self, everybody: dict[str, PitArguments]) -> dict[str, Answered]:
        """Host id → how it ended for the nodes that don't run with their old data."""
        if not await self._steps.noted(S.STOPPING):
            return {}
        done = await S.hosts_of(self._steps, S.UNDONE)
        left = {host_id: told for host_id, told in everybody.items() if host_id not in done}

        async def undone(answer: Answered) -> None:
            warnings = answer.result.get("warnings", [])  # PIT_UNDO has one: that another restore has the node
            for warning in warnings:
                self._run.warn(f"{answer.address}: {warning}")
            if warnings:
                await S.add_host(self._steps, S.LEFT_DOWN, answer.host_id)
            await S.add_host(self._steps, S.UNDONE, answer.host_id)

        failed = await InTurn(self._run, self._fan_out).ask_at_once(UNDO_PIT, Kind.PIT_UNDO, left, undone)
        for answer in failed.values():
            why = (answer.error or {}).get("message", "")
            self._run.warn(f"owed on {answer.address}: its old data, and its start ({why})")
        return failed

    async def _views_back(self, scope: PitScope, verdict: PitVerdict) -> str:
        """What there is to tell of views that were dropped."""
        if not await self._steps.noted(S.VIEWS_DROPPED):
            return ""
        standing = [view for view in verdict.live_views if view.base not in verdict.recreated.get(view.keyspace, [])]
        statements = [view.statement for view in standing]
        if not statements:
            return ""
        host_id = await speaker(scope.hosts, self._steps)
        told = scope.view_arguments(host_id, verdict.tag, verdict.tables, statements)
        answers = await self._fan_out.ask(UNDO_VIEWS, Kind.CREATE_VIEWS, {host_id: told}, undoing=True)
        [answer] = answers.values()
        if answer.ok:
            await self._steps.take_back(S.VIEWS_DROPPED)
            return "views that were dropped are made again"
        self._run.result[OWED_VIEWS] = statements
        self._run.warn(
            f"owed: {len(statements)} views that were dropped could not be made again "
            f"({(answer.error or {}).get('message', '')})"
        )
        return f"{len(statements)} views are owed"

    async def _clean(self, everybody: dict[str, PitArguments]) -> None:
        """Only of nodes that have their old data: what was set aside is gone from nobody who lacks it."""
        posted = await self._run.around.store.commands.of(self._run.request.id)
        if not posted:
            return
        answers = await self._fan_out.ask(UNDO_PIT_CLEAN, Kind.PIT_CLEAN, everybody, undoing=True)
        for answer in answers.values():
            if not answer.ok:
                why = (answer.error or {}).get("message", "")
                self._run.warn(f"owed on {answer.address}: removing what was staged ({why})")

    async def _told(self, scope: PitScope, verdict: PitVerdict, failed: dict[str, Answered]) -> str:
        tables = ""
        if await self._changed_tables():
            names = ", ".join(f"{keyspace}.{table}" for keyspace, each in verdict.changed.items() for table in each)
            tables = (
                f"; {names} may have been made anew, what they held is in Cassandra's own snapshots, dropped-* (where "
                f"auto_snapshot is off in helenus-dropped-{self._steps.job}, without what was written after it)"
            )
        if failed:
            where = ", ".join(sorted(answer.address for answer in failed.values()))
            return f"{where} could not be given the old data back yet; {GOES_ON} with that{tables}"
        if await self._steps.noted(S.STOPPING):
            down = await S.hosts_of(self._steps, S.LEFT_DOWN)
            if down:
                where = ", ".join(sorted(node.address for node in scope.nodes if node.host_id in down))
                return f"every node has its old data; {where} was left as it is, and a warning says why{tables}"
            return f"every node runs with its old data{tables}"
        return f"no node was stopped{tables or ' and no table was changed'}"

    async def _changed_tables(self) -> bool:
        verdict: dict[str, Any] = await self._steps.step(S.VERDICT) or {}
        commands = await self._run.around.store.commands.of(self._run.request.id)
        asked = any(command.kind is Kind.PIT_TABLES for command in commands)
        return bool(verdict.get("changed")) and (asked or await self._steps.noted(S.TABLES_MADE))

    async def _how_far(self) -> str:
        if await self._steps.noted(S.OPENING):
            return "every node runs with what was restored, and clients may not be let in everywhere"
        if await self._steps.noted(S.VERIFIED):
            return "every node runs with what was restored, and clients are not let in yet"
        started = await S.hosts_of(self._steps, S.STARTED)
        noted = await self._steps.step(S.SCOPE)
        hosts = 0 if noted is None else len(msgspec.convert(noted, PitScope).hosts)
        state = f"{len(started)} of {hosts} nodes run and let no client in" if started else "nodes are stopped"
        return f"{state}; what was there before is set aside and kept"

    async def _put_end(self, *, resumable: bool) -> None:
        with suppress(JobNotKept):
            await self._documents.put("ended", ended=True, resumable=resumable)
