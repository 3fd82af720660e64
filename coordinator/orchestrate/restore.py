"""A restore: every node checks and fetches, one agent empties and makes tables, every node imports, checks and cleans.

What may happen once only is noted durably under the job before it is let go (design §4), so that any later life of the
coordinator, and the same restore posted again, goes on from there and never truncates a second time.
"""

import asyncio
from typing import Any

import msgspec

from agent.wire.commands import Kind, RestoreArguments
from agent.wire.results import CheckRestoreResult, ImportResult, PreflightResult, ViewCql
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import JOB, RESUMABLE, Request, RequestState
from coordinator.orchestrate.errors import NodeLeftOut, OutcomeUnknown, RequestCancelled, RestoreRefused
from coordinator.orchestrate.fan_out import Answered, FanOut
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.outcome import Outcome, failures, nodes_failed
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.restore_scope import RestoreScope, restore_scope_of
from coordinator.orchestrate.run import Run, once
from coordinator.orchestrate.verdict import Situation, Verdict, judge
from kit.errors import HelenusError

IRREVOCABLE = "irrevocable"
"""The step after which cancelling can't give back what was in the tables."""

CHANGED = ("truncated", "schema_made", "import_begun")
"""The steps that say that an order which changes tables was carried out, or is being."""

TAKEN_BACK = "taken_back"
"""In what is noted of a step: it counts as not done."""

NOT_IN = frozenset({"counts_differ", "not_fetched"})
"""Codes of a node's check after which that node must fetch and import again."""


def job_of(request: Request) -> str:
    """The job that a restore's phases belong to: the id of the first request of it."""
    return str(request.result.get(JOB, request.id))


class RestoreFlow:
    """Carries out a restore order."""

    def __init__(self, run: Run, order: RestoreOrder) -> None:
        self._run = run
        self._order = order
        self._store = run.around.store
        self._places = Places(run.around, run.cluster)
        self._job = job_of(run.request)
        run.result.update(run.request.result)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        run = self._run
        fence = await self._store.commands.next_fence(self._job)
        self._fan_out = FanOut(run, job=self._job, fence=fence, force=self._order.force, repair=self._places.repair)
        scope = await once(self._store, self._job, "scope", self._decide_scope, RestoreScope)
        if run.request.keyspaces != scope.tables:
            await run.update(keyspaces=scope.tables)
        verdict = await self._earlier_verdict()
        try:
            if verdict is None:
                verdict = await self._preflight(scope)
                await self._note_verdict(verdict)
            elif self._forced_otherwise(verdict) and not await self._noted("import_begun"):
                scope, verdict = await self._judged_anew(scope, verdict)
            for warning in verdict.warnings:
                run.warn(warning)
            left = [host_id for host_id in scope.hosts if not await self._noted(f"imported/{host_id}")]
            await self._fetch(scope, left)
            await self._drop_views(scope, verdict)
            await self._pass_the_point_of_return()
            await self._truncate(scope, verdict)
            await self._make_schema(scope, verdict)
            return await self._import_and_after(scope, verdict, left)
        except RequestCancelled:
            await self._fan_out.cancel_posted()
            await self._leave(scope, verdict)
            raise
        except HelenusError:
            await self._leave(scope, verdict)
            raise

    async def _decide_scope(self) -> RestoreScope:
        return await restore_scope_of(self._run.around, self._run.cluster, self._order)

    async def _earlier_verdict(self) -> Verdict | None:
        step = await self._step("verdict")
        return None if step is None else msgspec.convert(step, Verdict)

    async def _note_verdict(self, verdict: Verdict) -> None:
        await self._store.requests.record_step(self._job, "verdict", msgspec.to_builtins(verdict))

    def _forced_otherwise(self, verdict: Verdict) -> bool:
        return (verdict.force, verdict.force_schema) != (self._order.force, self._order.force_schema)

    async def _judged_anew(self, scope: RestoreScope, earlier: Verdict) -> tuple[RestoreScope, Verdict]:
        """The same restore, sent again with other `force` or `force_schema` before any import: who takes part and what
        is made anew is decided once more. Tables, and what is emptied, are the job's own."""
        now = await self._decide_scope()
        scope = msgspec.structs.replace(
            scope, sources=now.sources, left_out=now.left_out, forced_out=now.forced_out, source=now.source
        )
        await self._store.requests.record_step(self._job, "scope", msgspec.to_builtins(scope))
        dropped = await self._step("views_dropped")
        verdict = (await self._preflight(scope)).with_views_of(
            earlier, dropped=dropped is not None and bool(dropped["dropped"])
        )
        if verdict.make_schema:
            await self._take_back("schema_made")
        await self._note_verdict(verdict)
        return scope, verdict

    async def _preflight(self, scope: RestoreScope) -> Verdict:
        """Every node says what it knows; the verdict, once recorded, holds for the job until it is forced otherwise."""
        answers = await self._ask("preflight", Kind.PREFLIGHT, scope, scope.hosts)
        failed = failures(answers.values())
        if failed:
            raise nodes_failed("The preflight", _causes(failed))
        present = await muster(self._run.around, self._run.cluster)
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
                force=self._order.force,
                force_schema=self._order.force_schema,
            ),
            found,
        )
        if verdict.refusals:
            told = "; ".join(str(refusal.get("message")) for refusal in verdict.refusals)
            raise RestoreRefused(f"The restore can't be done: {told}", refusals=verdict.refusals)
        return verdict

    async def _fetch(self, scope: RestoreScope, hosts: list[str]) -> None:
        """Nothing is changed in Cassandra before every node holds its verified bytes."""
        answers = await self._ask("fetch", Kind.FETCH, scope, hosts)
        failed = failures(answers.values())
        if failed:
            raise nodes_failed("Fetching", _causes(failed))

    async def _drop_views(self, scope: RestoreScope, verdict: Verdict) -> None:
        if not verdict.drop_views or await self._noted("import_begun"):
            return
        # The verdict, durable by now, holds the views' statements.
        await self._note("views_dropped", dropped=True)
        await self._one("drop_views", Kind.DROP_VIEWS, scope, views=verdict.drop_views)

    async def _pass_the_point_of_return(self) -> None:
        async with self._run.guard:
            self._run.stop_if_cancelled()
            await self._note(IRREVOCABLE)

    async def _truncate(self, scope: RestoreScope, verdict: Verdict) -> None:
        """At most once for the job, whatever happens; noted before any import is let go."""
        if not verdict.truncate or await self._noted("truncated"):
            return
        if await self._one("truncate", Kind.TRUNCATE, scope, tables=verdict.truncate, truncate=True):
            await self._note("truncated", outcome="done")
        else:
            await self._note("truncated", outcome="unknown")

    async def _make_schema(self, scope: RestoreScope, verdict: Verdict) -> None:
        if not verdict.make_schema or await self._noted("schema_made"):
            return
        await self._one("schema", Kind.SCHEMA, scope, replace=verdict.replace)
        await self._note("schema_made")

    async def _import_and_after(self, scope: RestoreScope, verdict: Verdict, hosts: list[str]) -> Outcome:
        await self._note("import_begun")
        answers = await self._ask("import", Kind.IMPORT, scope, hosts)
        for answer in answers.values():
            if answer.ok:
                await self._note(f"imported/{answer.host_id}", tables=answer.result.get("imported", {}))
                for warning in msgspec.convert(answer.result, ImportResult).warnings:
                    self._run.warn(f"{answer.address}: {warning}")
        failed = failures(answers.values())
        good = await self._hosts(scope, having="imported", lacking="checked")
        checks = await self._ask("check", Kind.CHECK, scope, good)
        for answer in checks.values():
            if answer.ok:
                found = msgspec.convert(answer.result, CheckRestoreResult)
                await self._note(f"checked/{answer.host_id}", kept=[found.kept_snapshots, found.kept_bytes])
                for warning in found.warnings:
                    self._run.warn(f"{answer.address}: {warning}")
            elif (answer.error or {}).get("code") in NOT_IN:
                await self._take_back(f"imported/{answer.host_id}")
                if verdict.create_views and await self._noted("views_made"):
                    views = ", ".join(f"{view.keyspace}.{view.name}" for view in verdict.create_views)
                    self._run.warn(
                        f"{answer.address} imports again what its check missed: an import fills no view, so drop and "
                        f"make anew {views} afterwards"
                    )
        failed |= failures(checks.values())
        owed_views: list[ViewCql] = []
        if verdict.create_views and not await self._noted("views_made"):
            # Views are built from their tables once: made before the last import they would stay incomplete.
            all_in = all([await self._noted(f"imported/{host_id}") for host_id in scope.hosts])
            owed_views = await self._create_views(scope, verdict) if all_in else verdict.create_views
        checked = await self._hosts(scope, having="checked", lacking="cleaned")
        for answer in (await self._ask("clean", Kind.CLEAN, scope, checked)).values():
            if answer.ok:
                await self._note(f"cleaned/{answer.host_id}")
                self._pass_on(answer)
            else:
                reason = (answer.error or {}).get("message", "")
                self._run.warn(f"owed on {answer.address}: removing what the restore staged ({reason})")
        return await self._summed_up(scope, verdict, failed, owed_views)

    async def _hosts(self, scope: RestoreScope, *, having: str, lacking: str) -> list[str]:
        """The nodes that have got so far in this job, by the steps noted."""
        return [
            host_id
            for host_id in scope.hosts
            if await self._noted(f"{having}/{host_id}") and not await self._noted(f"{lacking}/{host_id}")
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
            await self._note("views_made")
        return [] if made else verdict.create_views

    async def _summed_up(
        self, scope: RestoreScope, verdict: Verdict, failed: dict[str, dict[str, Any]], owed_views: list[ViewCql]
    ) -> Outcome:
        await self._advise(scope, verdict)
        result: dict[str, Any] = {"imported": await self._imported(scope)}
        if scope.left_out:
            result["nodes_not_restored"] = scope.left_out
        if owed_views:
            result["owed_views"] = [view.statement for view in owed_views]
            self._run.warn(f"owed: the views {', '.join(f'{view.keyspace}.{view.name}' for view in owed_views)}")
        if failed or owed_views:
            # What is owed is owed by this job alone: a new one would find no view that it should make again.
            result[RESUMABLE] = self._job
        for address in scope.forced_out:
            # Of this nothing is left to go on with: the same restore, once the node can take part, is a new one.
            failed.setdefault(address, NodeLeftOut("left out by force, not restored", node=address).as_dict())
        if not failed and not owed_views:
            return Outcome(RequestState.SUCCESS, "restored", result=result)
        error = nodes_failed("The restore", failed or {"views": {"message": "some could not be made"}})
        return Outcome(RequestState.ERROR, error.message, partial=True, error=error.as_dict(), result=result)

    async def _imported(self, scope: RestoreScope) -> dict[str, Any]:
        """Address → keyspace → table → Data files imported."""
        imported: dict[str, Any] = {}
        for host_id in scope.hosts:
            step = await self._step(f"imported/{host_id}")
            if step is not None:
                imported[self._run.around.registry.address_of(self._run.cluster, host_id)] = step.get("tables", {})
        return imported

    async def _advise(self, scope: RestoreScope, verdict: Verdict) -> None:
        self._run.warn("recommended: nodetool cleanup on every node (imports do not check token ranges)")
        if not verdict.truncate and not verdict.replace:
            return
        snapshots, held = 0, 0
        for host_id in scope.hosts:
            step = await self._step(f"checked/{host_id}")
            kept = (step or {}).get("kept") or [0, 0]
            snapshots, held = snapshots + kept[0], held + kept[1]
        counted = f" ({snapshots} over all nodes, {held} bytes, earlier ones included)" if snapshots else ""
        self._run.warn(
            "owed on every node: Cassandra kept what was there before as its own snapshots, truncated-* and dropped-*"
            f"{counted}: nodetool listsnapshots names them; when nobody needs them, clear each with nodetool "
            "clearsnapshot -t <tag> (never all at once: backups that are kept on the nodes are snapshots too)"
        )

    async def _leave(self, scope: RestoreScope, verdict: Verdict | None) -> None:
        """After a failure or a cancel: before the point of no return everything is undone; later what is needed to go
        on stays, and the views come back as long as no import has begun."""
        irrevocable = await self._noted(IRREVOCABLE)
        if not await self._noted("import_begun"):
            await self._views_back(scope, verdict, "stopped" if irrevocable else "undo")
        if not irrevocable:
            answers = await self._ask("undo-clean", Kind.CLEAN, scope, scope.hosts, undoing=True)
            for answer in answers.values():
                self._pass_on(answer)
            for address, error in failures(answers.values()).items():
                self._run.warn(f"owed on {address}: removing what the restore staged ({error.get('message', '')})")
            return
        self._run.result[RESUMABLE] = self._job
        self._run.result["imported"] = await self._imported(scope)
        if verdict is not None and verdict.create_views and await self._noted("import_begun"):
            self._run.result["owed_views"] = [view.statement for view in verdict.create_views]
        self._run.warn("tables were changed already: post the same restore again, and it goes on where it stopped")

    async def _views_back(self, scope: RestoreScope, verdict: Verdict | None, phase: str) -> None:
        step = await self._step("views_dropped")
        if verdict is None or step is None or not step["dropped"]:
            return
        statements = [view.statement for view in verdict.live_views]
        host_id = await self._speaker(scope)
        arguments = msgspec.structs.replace(scope.arguments(host_id, self._order), statements=statements)
        answers = await self._fan_out.ask(
            f"{phase}-create_views", Kind.CREATE_VIEWS, {host_id: arguments}, undoing=True
        )
        if answers[host_id].ok:
            await self._note("views_dropped", dropped=False)
            return
        self._run.result["owed_views"] = statements
        reason = (answers[host_id].error or {}).get("message", "")
        self._run.warn(f"owed: {len(statements)} views that were dropped could not be made again ({reason})")

    async def _one(self, phase: str, kind: Kind, scope: RestoreScope, **changes: Any) -> bool:
        """A phase that exactly one agent does. False: its outcome is unknown, and force went on."""
        host_id = await self._speaker(scope)
        arguments: RestoreArguments = msgspec.structs.replace(scope.arguments(host_id, self._order), **changes)
        answer = (await self._fan_out.ask(phase, kind, {host_id: arguments}))[host_id]
        if answer.ok:
            self._pass_on(answer)
            return True
        error = answer.error or {}
        if error.get("code") == OutcomeUnknown.code:
            await self._note(f"lost/{host_id}", phase=phase)
            self._run.warn(
                f"{answer.address} was lost during {phase}; force went on without knowing whether it was done"
            )
            return False
        raise nodes_failed(phase.replace("_", " ").capitalize(), {answer.address: error})

    def _pass_on(self, answer: Answered) -> None:
        """What a node has to say to a person beside its result."""
        for warning in answer.result.get("warnings", []):
            self._run.warn(f"{answer.address}: {warning}")

    async def _speaker(self, scope: RestoreScope) -> str:
        """The node whose agent changes the schema: always the same, unless force gave it up."""
        for host_id in scope.hosts:
            if not await self._noted(f"lost/{host_id}"):
                return host_id
        return scope.hosts[0]

    async def _ask(
        self, phase: str, kind: Kind, scope: RestoreScope, hosts: list[str], *, undoing: bool = False
    ) -> dict[str, Answered]:
        arguments = {host_id: scope.arguments(host_id, self._order) for host_id in hosts}
        return await self._fan_out.ask(phase, kind, arguments, undoing=undoing)

    async def _note(self, step: str, **data: Any) -> None:
        await self._store.requests.record_step(self._job, step, data)

    async def _noted(self, step: str) -> bool:
        return await self._step(step) is not None

    async def _step(self, step: str) -> dict[str, Any] | None:
        """What was noted of a step of the job; None also when it was taken back."""
        found = await self._store.requests.step(self._job, step)
        return None if found is None or found.get(TAKEN_BACK) else found

    async def _take_back(self, step: str) -> None:
        await self._note(step, **{TAKEN_BACK: True})


def _causes(failed: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without the nodes that only stopped because another one had failed."""
    causes = {
        address: error
        for address, error in failed.items()
        if error.get("code") not in ("cancelled", "request_cancelled")
    }
    return causes or failed
