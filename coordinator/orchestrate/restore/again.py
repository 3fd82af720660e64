"""May a restore that stopped be gone on with? In: its job, and the cluster as it is now. Out: why not, or nothing."""

import msgspec

from agent.wire.node import KeyspaceView, Tables
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.restore.job_steps import EMPTIED, JobSteps
from coordinator.orchestrate.restore.scope import RestoreScope
from coordinator.orchestrate.restore.table_marks import TableMarks, table_marks
from coordinator.orchestrate.restore.verdict import Verdict
from coordinator.orchestrate.run import Surroundings
from kit.some_of import some_of


async def why_begin_anew(around: Surroundings, cluster: str, job: str) -> str | None:
    """Why what the job has done no longer stands, as a clause; None when it can be gone on with. Raises
    `MissingNodes` when no agent of the cluster sees its Cassandra, `TablesUnseen`."""
    steps = JobSteps(around.store, job)
    noted = await steps.step("scope")
    if noted is None:
        return "what it had decided is forgotten"
    scope = msgspec.convert(noted, RestoreScope)
    present = await muster(around, cluster)
    ring = {member.host_id for member in present.ring}
    gone = sorted(host_id for host_id in scope.hosts if host_id not in ring)
    if gone:
        return f"the ring has the nodes {', '.join(gone)} no more"
    verdict = await steps.step("verdict")
    lacking = _lacking(
        await _expected(steps, scope, None if verdict is None else msgspec.convert(verdict, Verdict)),
        present.keyspaces,
    )
    if lacking:
        return f"{some_of(lacking)} is there no more"
    noted_last, since = await steps.step("import_begun"), "its import began"
    if noted_last is None:
        noted_last, since = await steps.step(EMPTIED), "it had emptied tables"
    if noted_last is None or "marks" not in noted_last:
        return None
    then = msgspec.convert(noted_last["marks"], TableMarks)
    asked = list(then.truncated_at) or scope.hosts
    changed = then.changed(await table_marks(around, cluster, scope.tables, asked))
    return f"since {since} {some_of(changed)}" if changed else None


async def dropped_since(around: Surroundings, cluster: str, job: str) -> list[str]:
    """The tables that the job had emptied or made and that are there no more, as `keyspace.table`; none of them while a
    node of the ring doesn't tell. Raises `NobodyAnswers`."""
    steps = JobSteps(around.store, job)
    noted, verdict = await steps.step("scope"), await steps.step("verdict")
    if noted is None or verdict is None:
        return []
    present = await muster(around, cluster)
    if present.missing:
        return []
    scope, judged = msgspec.convert(noted, RestoreScope), msgspec.convert(verdict, Verdict)
    return _lacking(await _expected(steps, scope, judged), present.keyspaces)


async def _expected(steps: JobSteps, scope: RestoreScope, verdict: Verdict | None) -> Tables:
    """The tables that must be there, as far as the job had come."""
    if verdict is None:
        return {}
    made = not verdict.make_schema or await steps.noted("schema_made")
    return scope.tables if made else verdict.truncate


def _lacking(expected: Tables, live: dict[str, KeyspaceView]) -> list[str]:
    return [
        f"{keyspace}.{table}"
        for keyspace, tables in sorted(expected.items())
        for table in tables
        if keyspace not in live or table not in live[keyspace].tables
    ]
