"""A restore to a point in time: every node checks and fetches, all stop, all put in place, all start again.

Each step is a barrier: noted in the store and on the agents before the next one begins (`documents`), so that any later
life of this coordinator, and another one that never heard of the job, goes on from there. Cassandra is asked nothing
while it is down.
"""

from contextlib import suppress
from typing import Any

import msgspec

from agent.wire.commands import Kind
from agent.wire.point_in_time import (
    PitArguments,
    PitCoverResult,
    PitPlaceResult,
    PitQuiesceResult,
    PitVerifyResult,
)
from coordinator.model.orders import PointInTimeOrder
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import OutcomeUnknown
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.check import PitChecks, causes, refuse_keyspaces
from coordinator.orchestrate.point_in_time.checking import refused
from coordinator.orchestrate.point_in_time.documents import JobDocuments, is_taken_over
from coordinator.orchestrate.point_in_time.errors import JobNotKept, JobTakenOver, LogIncomplete, ReplayFailed
from coordinator.orchestrate.point_in_time.followed import Following
from coordinator.orchestrate.point_in_time.in_turn import InTurn
from coordinator.orchestrate.point_in_time.report import PitReport
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.point_in_time.times import told_point, told_time
from coordinator.orchestrate.point_in_time.undo import PitUndo
from coordinator.orchestrate.point_in_time.verdict import PitVerdict, reaches, told_gap
from coordinator.orchestrate.point_in_time.wake import start_what_is_down
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE, JobSteps, job_of
from coordinator.orchestrate.restore.sent_once import SentOnce
from coordinator.orchestrate.restore.undo import speaker
from coordinator.orchestrate.run import Run, once
from coordinator.orchestrate.until_kept import until_kept


class PointInTimeFlow:
    """Carries out an order: where the state is shared, up to where nodes are stopped; then it follows."""

    def __init__(self, run: Run, order: PointInTimeOrder) -> None:
        self._run = run
        self._order = order
        self._store = run.around.store
        self._job = job_of(run.request)
        self._steps = JobSteps(self._store, self._job, run.keep_warnings)
        self._sent = SentOnce(run, force=order.force, empties=True)
        self._report = PitReport(run, self._steps)
        apart = run.around.apart
        self._following = None if apart is None else Following(run, self._job, apart)
        run.result.update(run.request.result)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the request fails with, and says then how the nodes are."""
        refuse_keyspaces(self._order)
        if self._following is not None and await self._following.is_handed_over():
            return await self._following.to_its_end()
        fence = await until_kept(self._run, "the restore", self._next_fence)
        self._documents = JobDocuments(self._run, self._steps, fence)
        self._fan_out = FanOut(
            self._run,
            job=self._job,
            fence=fence,
            force=self._order.force,
            repair=Places(self._run.around, self._run.cluster).repair,
            sent=self._sent,
        )
        undo = PitUndo(self._run, self._order, self._steps, self._fan_out, self._sent, self._documents)
        try:
            noted = await self._steps.step(S.SCOPE)
            if noted is not None:
                await self._take_up(msgspec.convert(noted, PitScope), fence)
            await undo.raise_noted()
            async with self._documents.kept_alive():
                outcome = await self._go(fence)
        except Exception as error:
            await undo.leave(error)
            if is_taken_over(error) and not isinstance(error, JobTakenOver):
                raise JobTakenOver("Another coordinator carries on with the job", job=self._job) from error
            raise
        return await outcome.to_its_end() if isinstance(outcome, Following) else outcome

    async def _next_fence(self) -> int:
        return await self._store.commands.next_fence(self._job)

    async def _take_up(self, scope: PitScope, fence: int) -> None:
        """What an earlier life had begun. Raises `JobTakenOver` when another coordinator has followed that one."""
        for node in scope.nodes:
            self._run.around.registry.hint(self._run.cluster, node.host_id, node.agent, node.address)
        self._documents.spread_over(scope.nodes)
        newest = await self._documents.newest()
        if newest is not None and newest.fence >= fence:
            raise JobTakenOver("Another coordinator carries on with the job", job=self._job)

    async def _go(self, fence: int) -> Outcome | Following:
        scope, verdict = await self._decided()
        for warning in verdict.warnings:
            self._run.warn(warning)
        told = scope.arguments(self._order, verdict.tag, verdict.pit_micros, verdict.tables)
        everybody = dict.fromkeys(scope.hosts, told)
        # Nothing is made, stopped or placed while another request's truncate or DDL may still come.
        await self._sent.settle_earlier()
        await self._barrier(S.VERDICT)
        if not await self._steps.noted(S.FETCHED):
            self._good("Fetching", await self._fan_out.ask("pit_fetch", Kind.PIT_FETCH, everybody))
            await self._note(S.FETCHED)
        await self._make_tables(scope, verdict, told)
        if self._following is not None:
            await self._hand_over(fence)
            return self._following
        await self._stop(everybody)
        await self._cover(everybody, verdict)
        await self._place(everybody)
        await self._start(everybody)
        await self._verify(everybody)
        await self._open(everybody)
        owed = await self._make_views(scope, verdict)
        await self._clean(everybody)
        outcome = await self._report.summed_up(scope, verdict, owed)
        with suppress(JobNotKept):
            await self._documents.put("ended", ended=True)
        return outcome

    async def _decided(self) -> tuple[PitScope, PitVerdict]:
        """Who takes part and what is done, once for the job. Raises what the checks raise, and `PointRefused`."""
        checks = PitChecks(self._run, self._order, self._fan_out)

        async def scope_now() -> PitScope:
            return await checks.scope(await start_what_is_down(self._run, self._fan_out))

        scope = await once(self._store, self._job, S.SCOPE, scope_now, PitScope)
        self._documents.spread_over(scope.nodes)

        async def verdict_now() -> PitVerdict:
            verdict = await checks.verdict(scope)
            if verdict.refusals:
                raise refused(verdict)
            return verdict

        verdict = await once(self._store, self._job, S.VERDICT, verdict_now, PitVerdict)
        if self._run.request.keyspaces != verdict.tables or self._run.request.tag != verdict.tag:
            await self._run.update(keyspaces=verdict.tables, tag=verdict.tag)
        return scope, verdict

    async def _make_tables(self, scope: PitScope, verdict: PitVerdict, told: PitArguments) -> None:
        """Views go, and tables that aren't what they were are made: by one agent, while all nodes are up."""
        if not (verdict.changed or verdict.drop_views) or await self._steps.noted(S.TABLES_MADE):
            return
        if verdict.drop_views:
            await self._note(S.VIEWS_DROPPED)  # their statements are in the verdict, durable by now
        host_id = await speaker(scope.hosts, self._steps)
        told = msgspec.structs.replace(told, views=verdict.drop_views)
        answers = await self._fan_out.ask("pit_tables", Kind.PIT_TABLES, {host_id: told})
        [answer] = answers.values()
        if not answer.ok:
            if not ((answer.error or {}).get("code") == OutcomeUnknown.code and self._order.force):
                raise nodes_failed("Making the tables as they were", causes(answers))
            self._run.warn(f"{answer.address} was lost while it made tables; force went on without knowing of it")
            await self._sent.gave_up("pit_tables")
            await self._steps.note(f"lost/{host_id}", phase="pit_tables")
        self._report.pass_on([answer])
        await self._note(S.TABLES_MADE, outcome="done" if answer.ok else "unknown")

    async def _hand_over(self, fence: int) -> None:
        """Where the state is shared, everything from here on happens apart from it: it may lie on these nodes."""
        self._run.stop_if_cancelled()
        await self._steps.note(S.HANDED_OVER, fence=fence)
        try:
            await self._barrier(S.HANDED_OVER)
        except JobNotKept:  # no node was told to stop
            await self._steps.take_back(S.HANDED_OVER)
            raise

    async def _stop(self, everybody: dict[str, PitArguments]) -> None:
        if not await self._steps.noted(S.STOPPING):
            self._run.stop_if_cancelled()
            await self._note(S.STOPPING, at=self._run.around.clock())
        if not await self._steps.noted(S.QUIESCED):
            answers = await self._fan_out.ask("pit_quiesce", Kind.PIT_QUIESCE, everybody)
            self._good("Bringing the nodes to rest", answers)
            for answer in answers.values():
                left = msgspec.convert(answer.result, PitQuiesceResult).hints_left
                if left:
                    told = ", ".join(f"{address} ({size:,} bytes)" for address, size in left.items())
                    self._run.warn(f"{answer.address}: hints that could not be delivered were set aside: for {told}")
            await self._note(S.QUIESCED)
        if not await self._steps.noted(S.STOPPED):
            self._good("Stopping the nodes", await self._fan_out.ask("pit_stop", Kind.PIT_STOP, everybody))
            await self._note(S.STOPPED)

    async def _cover(self, everybody: dict[str, PitArguments], verdict: PitVerdict) -> None:
        """Nothing is set aside before every node's log reaches the point. Raises `LogIncomplete`."""
        if await self._steps.noted(S.COVERED):
            return
        answers = await self._fan_out.ask("pit_cover", Kind.PIT_COVER, everybody)
        self._good("Completing the logs", answers)
        short: dict[str, str] = {}
        for answer in answers.values():
            found = msgspec.convert(answer.result, PitCoverResult)
            if not reaches(found.covered_until, verdict.pit_micros):
                gaps = [told_gap(gap) for gap in found.gaps if gap.since * 1_000_000 <= verdict.pit_micros]
                until = "nothing" if found.covered_until is None else f"only until {told_time(found.covered_until)}"
                short[answer.address] = "; ".join([f"its log with its own one added covers {until}", *gaps])
        if short:
            told = "; ".join(f"{address}: {why}" for address, why in sorted(short.items()))
            message = f"The logs don't reach {told_point(verdict.pit_micros)}: {told}"
            if not self._order.force:
                raise LogIncomplete(message, nodes=short)
            self._run.warn(f"forced: {message}")
        await self._note(S.COVERED)

    async def _place(self, everybody: dict[str, PitArguments]) -> None:
        """The point of no return lies before the first file that is moved."""
        if await self._steps.noted(S.PLACED):
            return
        first = not await self._steps.noted(IRREVOCABLE)
        if first:
            async with self._run.guard:
                self._run.stop_if_cancelled()
                await self._steps.note(IRREVOCABLE)
        try:
            await self._barrier(IRREVOCABLE)
        except JobNotKept:
            if first:  # nobody was told to place anything: the nodes can go back
                await self._steps.take_back(IRREVOCABLE)
            raise
        answers = await self._fan_out.ask("pit_place", Kind.PIT_PLACE, everybody)
        self._good("Placing", answers)
        found = {answer.address: msgspec.convert(answer.result, PitPlaceResult) for answer in answers.values()}
        await self._note(
            S.PLACED,
            placed={address: each.placed for address, each in found.items()},
            set_aside={address: each.set_aside for address, each in found.items()},
        )

    async def _start(self, everybody: dict[str, PitArguments]) -> None:
        """Those that an earlier life, or request, started are told again: one may have ended since."""
        if await self._steps.noted(S.OPENED):
            return
        done = await S.hosts_of(self._steps, S.STARTED)
        again = {host_id: told for host_id, told in everybody.items() if host_id in done}
        answers = await self._fan_out.ask("pit_start-again", Kind.PIT_START, again)
        runs = {host_id for host_id, answer in answers.items() if answer.ok}
        left = {host_id: told for host_id, told in everybody.items() if host_id not in runs}

        async def started(answer: Answered) -> None:
            await S.add_host(self._steps, S.STARTED, answer.host_id)

        turn = InTurn(self._run, self._fan_out)
        failed = await turn.ask("pit_start", Kind.PIT_START, left, started, pause=self._order.restart_pause)
        if failed:
            raise nodes_failed("Starting the nodes", causes(failed))
        await self._barrier(S.STARTED)

    async def _verify(self, everybody: dict[str, PitArguments]) -> None:
        if await self._steps.noted(S.VERIFIED):
            return
        answers = await self._fan_out.ask("pit_verify", Kind.PIT_VERIFY, everybody)
        self._good("Checking what was replayed", answers)
        found = {answer.address: msgspec.convert(answer.result, PitVerifyResult) for answer in answers.values()}
        wrong = {address: each.errors for address, each in found.items() if each.errors}
        if wrong:
            told = "; ".join(f"{address}: {lines[0]}" for address, lines in sorted(wrong.items()))
            if not self._order.force:
                raise ReplayFailed(f"Not all of the log could be replayed on {told}", nodes=wrong)
            self._run.warn(f"forced: not all of the log could be replayed on {told}")
        replayed = {
            address: {
                "segments": each.replayed_segments,
                "mutations": each.replayed_mutations,
                "indexes_rebuilt": each.indexes_rebuilt,
            }
            for address, each in found.items()
        }
        await self._note(S.VERIFIED, replayed=replayed)

    async def _open(self, everybody: dict[str, PitArguments]) -> None:
        """From its first command on clients write to what was restored."""
        if await self._steps.noted(S.OPENED):
            return
        if not await self._steps.noted(S.OPENING):
            async with self._run.guard:
                self._run.stop_if_cancelled()
                await self._steps.note(S.OPENING)
        await self._barrier(S.OPENING)
        self._good("Letting clients in", await self._fan_out.ask("pit_open", Kind.PIT_OPEN, everybody))
        await self._note(S.OPENED, at=self._run.around.clock())

    async def _make_views(self, scope: PitScope, verdict: PitVerdict) -> list[str]:
        """Statements of the views that could not be made."""
        statements = [view.statement for view in verdict.create_views]
        if not statements or await self._steps.noted(S.VIEWS_MADE):
            return []
        host_id = await speaker(scope.hosts, self._steps)
        told = scope.view_arguments(host_id, verdict.tag, verdict.tables, statements)
        answers = await self._fan_out.ask("create_views", Kind.CREATE_VIEWS, {host_id: told})
        [answer] = answers.values()
        if not answer.ok:
            self._run.warn(f"the views could not be made: {(answer.error or {}).get('message', '')}")
            return statements
        self._report.pass_on([answer])
        await self._note(S.VIEWS_MADE)
        return []

    async def _clean(self, everybody: dict[str, PitArguments]) -> None:
        done = await S.hosts_of(self._steps, S.CLEANED)
        left = {host_id: told for host_id, told in everybody.items() if host_id not in done}
        answers = await self._fan_out.ask("pit_clean", Kind.PIT_CLEAN, left)
        self._report.pass_on(answer for answer in answers.values() if answer.ok)
        for answer in answers.values():
            if answer.ok:
                await S.add_host(self._steps, S.CLEANED, answer.host_id)
            else:
                why = (answer.error or {}).get("message", "")
                self._run.warn(f"owed on {answer.address}: removing what was staged and set aside ({why})")

    def _good(self, what: str, answers: dict[str, Answered]) -> None:
        if not all(answer.ok for answer in answers.values()):
            raise nodes_failed(what, causes(answers))
        self._report.pass_on(answers.values())

    async def _note(self, step: str, **data: Any) -> None:
        await self._steps.note(step, **data)
        await self._barrier(step)

    async def _barrier(self, step: str) -> None:
        await self._documents.put(step)
