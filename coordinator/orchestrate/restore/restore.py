"""A restore: every node checks and fetches, one agent empties and makes tables, every node imports, checks and cleans.

What may happen once only is noted durably under the job before it is let go (design §4), so that any later life of the
coordinator, and the same restore posted again, goes on from there and never truncates a second time.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from agent.wire.commands import Kind, RestoreArguments
from agent.wire.results import CheckRestoreResult, ImportResult, PreflightResult, ViewCql
from coordinator.model.orders import RestoreOrder
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import NodesFailed, OutcomeUnknown, RequestCancelled, RestoreRefused, TablesUnseen
from coordinator.orchestrate.fan_out import FanOut, OnEnd
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.outcome import Outcome, failures, nodes_failed
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.restore.job_steps import EMPTIED, IRREVOCABLE, JobSteps, job_of
from coordinator.orchestrate.restore.owed_views import owed_views
from coordinator.orchestrate.restore.report import RestoreReport
from coordinator.orchestrate.restore.scope import RestoreScope, restore_scope_of
from coordinator.orchestrate.restore.sent_once import SentOnce
from coordinator.orchestrate.restore.standing_views import refuse_views
from coordinator.orchestrate.restore.table_marks import table_marks
from coordinator.orchestrate.restore.undo import RestoreUndo, speaker
from coordinator.orchestrate.restore.verdict import Situation, Verdict, judge, most_skew
from coordinator.orchestrate.run import Run, once
from coordinator.orchestrate.until_kept import until_kept
from kit.errors import HelenusError

NOT_IN = frozenset({"counts_differ", "not_fetched"})
"""Codes of a node's check after which that node must fetch and import again."""


class RestoreFlow:
    """Carries out a restore order."""

    def __init__(self, run: Run, order: RestoreOrder) -> None:
        self._run = run
        self._order = order
        self._store = run.around.store
        self._places = Places(run.around, run.cluster)
        self._job = job_of(run.request)
        self._steps = JobSteps(self._store, self._job, run.keep_warnings)
        self._sent = SentOnce(run, force=order.force, empties=_empties(order))
        self._report = RestoreReport(run, self._steps)
        run.result.update(run.request.result)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with, and says when no table was changed by then."""
        run = self._run
        fence, import_begun = await until_kept(run, "the restore", self._where_it_stands)
        self._fan_out = FanOut(
            run,
            job=self._job,
            fence=fence,
            import_begun=import_begun,
            force=self._order.force,
            repair=self._places.repair,
            sent=self._sent,
        )
        undo = RestoreUndo(run, self._order, self._steps, self._fan_out, self._sent)
        try:
            await undo.raise_noted()
            # Nothing is judged, emptied or imported while another request's truncate or DDL may still come.
            await self._sent.settle_earlier()
            scope = await once(self._store, self._job, "scope", self._decide_scope, RestoreScope)
            if run.request.keyspaces != scope.tables:
                await run.update(keyspaces=scope.tables)
            verdict = await self._earlier_verdict()
            if verdict is None:
                verdict = await self._preflight(scope)
                await self._note_verdict(verdict)
            elif self._forced_otherwise(verdict) and not await self._steps.noted("import_begun"):
                scope, verdict = await self._judged_anew(scope, verdict)
            for warning in verdict.warnings:
                run.warn(warning)
            left = [host_id for host_id in scope.hosts if not await self._steps.noted(f"imported/{host_id}")]
            fetched = await self._fetch(scope, left)
            await self._drop_views(scope, verdict)
            await self._pass_the_point_of_return()
            await self._truncate(scope, verdict)
            await self._make_schema(scope, verdict)
            return await self._import_and_after(scope, verdict, fetched)
        except Exception as error:
            # Also what nobody foresaw: no agent works on, views that were dropped come back, and nothing that was
            # fetched stays behind.
            await undo.leave(error)
            raise

    async def _where_it_stands(self) -> tuple[int, bool]:
        """A new fence of the job, and whether an import of it has begun: leaving the restore takes both, so that it
        can't fail before they are known."""
        return await self._store.commands.next_fence(self._job), await self._steps.noted("import_begun")

    async def _decide_scope(self) -> RestoreScope:
        truncated = await self._steps.noted("truncated")
        return await restore_scope_of(self._run.around, self._run.cluster, self._order, truncate_done=truncated)

    async def _earlier_verdict(self) -> Verdict | None:
        step = await self._steps.step("verdict")
        return None if step is None else msgspec.convert(step, Verdict)

    async def _note_verdict(self, verdict: Verdict) -> None:
        await self._store.requests.record_step(self._job, "verdict", msgspec.to_builtins(verdict))

    def _forced_otherwise(self, verdict: Verdict) -> bool:
        return (verdict.force, verdict.force_schema) != (self._order.force, self._order.force_schema)

    async def _judged_anew(self, scope: RestoreScope, earlier: Verdict) -> tuple[RestoreScope, Verdict]:
        """The same restore, sent again with other `force` or `force_schema` before any import: who takes part and what
        is made anew is decided once more, to hold once judged. Tables, and what is emptied, are the job's own."""
        now = await self._decide_scope()
        scope = msgspec.structs.replace(
            scope,
            sources=now.sources,
            left_out=now.left_out,
            forced_out=now.forced_out,
            partless=now.partless,
            source=now.source,
        )
        dropped = await self._steps.step("views_dropped")
        verdict = (await self._preflight(scope)).with_views_of(
            earlier, dropped=dropped is not None and bool(dropped["dropped"])
        )
        await self._steps.note_decided(
            msgspec.to_builtins(scope), msgspec.to_builtins(verdict), schema_again=verdict.make_schema
        )
        return scope, verdict

    async def _preflight(self, scope: RestoreScope) -> Verdict:
        """Every node says what it knows; the verdict, once recorded, holds for the job until it is forced otherwise."""
        truncated = await self._steps.noted("truncated")
        asked = msgspec.structs.replace(scope, truncated=[]) if truncated else scope
        answers = await self._ask("preflight", Kind.PREFLIGHT, asked, scope.hosts)
        failed = failures(answers.values())
        if failed:
            raise nodes_failed("The preflight", _causes(failed))
        present = await muster(self._run.around, self._run.cluster)
        owed = await owed_views(self._store, self._run.cluster, self._job, scope.tables, present.keyspaces)
        found = {answer.address: msgspec.convert(answer.result, PreflightResult) for answer in answers.values()}
        verdict = await asyncio.to_thread(
            judge,
            Situation(
                tables=scope.tables,
                truncated=scope.truncated,
                ring=present.ring,
                down=present.down,
                restored=scope.hosts,
                excluded=scope.left_out,
                replication={
                    keyspace: scope.plan.replication[keyspace]
                    for keyspace in scope.tables
                    if keyspace in scope.plan.replication
                },
                skews=present.skews,
                most_skew=most_skew(self._run.around.timing.force_margin),
                force=self._order.force,
                force_schema=self._order.force_schema,
                truncate_done=truncated,
                owed_views=owed,
            ),
            found,
        )
        if verdict.refusals:
            told = "; ".join(str(refusal.get("message")) for refusal in verdict.refusals)
            raise RestoreRefused(f"The restore can't be done: {told}", refusals=verdict.refusals)
        return verdict

    async def _fetch(self, scope: RestoreScope, hosts: list[str]) -> dict[str, Answered]:
        """Nothing is changed in Cassandra before every node holds its verified bytes; once an import has begun, those
        that don't keep no other one from its own."""
        answers = await self._ask("fetch", Kind.FETCH, scope, hosts)
        failed = failures(answers.values())
        if failed and not await self._steps.noted("import_begun"):
            raise nodes_failed("Fetching", _causes(failed))
        return answers

    async def _drop_views(self, scope: RestoreScope, verdict: Verdict) -> None:
        if not verdict.drop_views or await self._steps.noted("import_begun"):
            return
        # The verdict, durable by now, holds the views' statements.
        await self._steps.note("views_dropped", dropped=True)
        await self._one("drop_views", Kind.DROP_VIEWS, scope, views=verdict.drop_views)

    async def _pass_the_point_of_return(self) -> None:
        async with self._run.guard:
            self._run.stop_if_cancelled()
            await self._steps.note(IRREVOCABLE)

    async def _truncate(self, scope: RestoreScope, verdict: Verdict) -> None:
        """At most once for the job, whatever happens; noted before any import is let go."""
        if not verdict.truncate or await self._steps.noted("truncated"):
            return
        await self._steps.take_back(EMPTIED)
        try:
            known = await self._one("truncate", Kind.TRUNCATE, scope, tables=verdict.truncate, truncate=True)
        except NodesFailed:
            if not await self._sent.is_open("truncate"):
                await self._note_emptied(scope, verdict)
            raise
        if known:
            await self._note_emptied(scope, verdict)
        await self._steps.note("truncated", outcome="done" if known else "unknown")

    async def _note_emptied(self, scope: RestoreScope, verdict: Verdict) -> None:
        """By what a later post of the restore knows that nobody dropped, made anew or emptied them since."""
        with suppress(TablesUnseen):  # before the import begins it is asked once more
            marks = await table_marks(self._run.around, self._run.cluster, verdict.truncate, scope.hosts)
            await self._steps.note(EMPTIED, marks=msgspec.to_builtins(marks))

    async def _make_schema(self, scope: RestoreScope, verdict: Verdict) -> None:
        if not verdict.make_schema or await self._steps.noted("schema_made"):
            return
        await self._one("schema", Kind.SCHEMA, scope, replace=verdict.replace)
        await self._steps.note("schema_made")

    async def _import_and_after(self, scope: RestoreScope, verdict: Verdict, fetched: dict[str, Answered]) -> Outcome:
        hosts = [answer.host_id for answer in fetched.values() if answer.ok]
        if hosts:
            if await self._steps.noted("views_made"):  # of tables that lacked what is imported now
                await self._steps.take_back("views_made")
            await refuse_views(self._run, scope.tables, scope.hosts)
        if not await self._steps.noted("import_begun"):
            marks = await table_marks(self._run.around, self._run.cluster, scope.tables, scope.hosts)
            await self._steps.note("import_begun", marks=msgspec.to_builtins(marks))
        answers = await self._ask("import", Kind.IMPORT, scope, hosts, on_end=self._imported)
        failed = failures(fetched.values()) | failures(answers.values())
        good = await self._hosts(scope, having="imported", lacking="checked")
        checks = await self._ask("check", Kind.CHECK, scope, good)
        for answer in checks.values():
            if answer.ok:
                found = msgspec.convert(answer.result, CheckRestoreResult)
                for warning in found.warnings:
                    self._run.warn(f"{answer.address}: {warning}")
                await self._steps.note(f"checked/{answer.host_id}", kept=[found.kept_snapshots, found.kept_bytes])
            elif (answer.error or {}).get("code") in NOT_IN:
                await self._steps.take_back(f"imported/{answer.host_id}")
                if verdict.create_views and await self._steps.noted("views_made"):
                    views = ", ".join(f"{view.keyspace}.{view.name}" for view in verdict.create_views)
                    self._run.warn(
                        f"{answer.address} imports again what its check missed: an import fills no view, so drop "
                        f"{views} before the restore is sent again, which makes them anew"
                    )
        failed |= failures(checks.values())
        owed_views: list[ViewCql] = []
        if verdict.create_views and not await self._steps.noted("views_made"):
            # Views are built from their tables once: made before the last import they would stay incomplete.
            all_in = all([await self._steps.noted(f"imported/{host_id}") for host_id in scope.hosts])
            owed_views = await self._create_views(scope, verdict) if all_in else verdict.create_views
        checked = await self._hosts(scope, having="checked", lacking="cleaned")
        for answer in (await self._ask("clean", Kind.CLEAN, scope, checked)).values():
            if answer.ok:
                self._report.pass_on(answer)
                await self._steps.note(f"cleaned/{answer.host_id}")
            else:
                reason = (answer.error or {}).get("message", "")
                self._run.warn(f"owed on {answer.address}: removing what the restore staged ({reason})")
        return await self._report.summed_up(scope, verdict, failed, owed_views)

    async def _imported(self, answer: Answered) -> None:
        """Noted as it comes: a cancel tells what is in, whoever it had to wait for."""
        if answer.ok:
            for warning in msgspec.convert(answer.result, ImportResult).warnings:
                self._run.warn(f"{answer.address}: {warning}")
            await self._steps.note(f"imported/{answer.host_id}", tables=answer.result.get("imported", {}))
        else:
            self._report.stopped(answer)

    async def _hosts(self, scope: RestoreScope, *, having: str, lacking: str) -> list[str]:
        """The nodes that have got so far in this job, by the steps noted."""
        return [
            host_id
            for host_id in scope.hosts
            if await self._steps.noted(f"{having}/{host_id}") and not await self._steps.noted(f"{lacking}/{host_id}")
        ]

    async def _create_views(self, scope: RestoreScope, verdict: Verdict) -> list[ViewCql]:
        """The views that could not be made."""
        try:
            made = await self._one(
                "create_views",
                Kind.CREATE_VIEWS,
                scope,
                statements=[view.statement for view in verdict.create_views],
            )
        except RequestCancelled:
            raise
        except HelenusError as error:
            self._run.warn(f"the views could not be made: {error.message}")
            return verdict.create_views
        if made:
            await self._steps.note("views_made")
        return [] if made else verdict.create_views

    async def _one(self, phase: str, kind: Kind, scope: RestoreScope, **changes: Any) -> bool:
        """A phase that exactly one agent does. False: its outcome is unknown, and force went on."""
        host_id = await speaker(scope.hosts, self._steps)
        arguments: RestoreArguments = msgspec.structs.replace(scope.arguments(host_id, self._order), **changes)
        answer = (await self._fan_out.ask(phase, kind, {host_id: arguments}))[host_id]
        if answer.ok:
            self._report.pass_on(answer)
            return True
        error = answer.error or {}
        if error.get("code") == OutcomeUnknown.code and self._order.force:
            self._run.warn(
                f"{answer.address} was lost during {phase}; force went on without knowing whether it was done"
            )
            await self._sent.gave_up(phase)
            await self._steps.note(f"lost/{host_id}", phase=phase)
            return False
        raise nodes_failed(phase.replace("_", " ").capitalize(), {answer.address: error})

    async def _ask(
        self, phase: str, kind: Kind, scope: RestoreScope, hosts: list[str], *, on_end: OnEnd | None = None
    ) -> dict[str, Answered]:
        arguments = {host_id: scope.arguments(host_id, self._order) for host_id in hosts}
        return await self._fan_out.ask(phase, kind, arguments, on_end=on_end)


def _empties(order: RestoreOrder) -> bool:
    """Whether tables are truncated or made anew."""
    return order.truncate or order.force_schema or any(each.truncate for each in (order.keyspaces or {}).values())


def _causes(failed: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without the nodes that only stopped because another one had failed."""
    causes = {
        address: error
        for address, error in failed.items()
        if error.get("code") not in ("cancelled", "request_cancelled")
    }
    return causes or failed
