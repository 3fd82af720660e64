"""What a restore that ends too early has changed by then. In: the notes of its job. Out: one sentence for people.

What Cassandra was sent, and nobody said was done, may be done or not: it is told as such.
"""

from collections.abc import Iterable

import msgspec

from agent.wire.commands import Kind, State
from agent.wire.node import Tables
from agent.wire.results import ViewCql
from coordinator.orchestrate.restore.job_steps import JobSteps
from coordinator.orchestrate.restore.scope import RestoreScope
from coordinator.orchestrate.restore.sent_once import NOTED_WHEN_DONE, SENT, Sent
from coordinator.orchestrate.restore.verdict import Verdict
from kit.some_of import some_of


async def what_changed(steps: JobSteps, scope: RestoreScope, verdict: Verdict) -> str:
    """Of a restore past its point of no return: what became of the tables, on how many nodes the backup is imported,
    and how it goes on."""
    changes = ", ".join(await _changes(steps, verdict))
    imported = len(await steps.imported(scope.hosts))
    if await steps.noted("import_begun"):
        so_far = f"{imported} of {len(scope.hosts)} nodes"
        told = f"{changes or 'no table was emptied'}; all that was ordered is imported on {so_far}"
    else:
        told = f"{changes}; nothing is restored yet" if changes else "no table was changed"
    goes_on = "the same restore posted again goes on where it stopped"
    # A node that has imported needs nothing more of what it fetched, and may have removed it.
    return f"{told}; {goes_on if imported == len(scope.hosts) else f'what was fetched is kept, and {goes_on}'}"


def owed(views: Iterable[ViewCql]) -> str:
    """How many views are owed, and which; the result has the statements of all."""
    names = [f"{view.keyspace}.{view.name}" for view in views]
    verb = "view is" if len(names) == 1 else "views are"
    return f"{len(names)} {verb} owed: {some_of(names)}"


async def _changes(steps: JobSteps, verdict: Verdict) -> list[str]:
    changes = []
    if verdict.truncate and (done := await _done(steps, Kind.TRUNCATE)) is not None:
        changes.append(_told(_number(verdict.truncate), "emptied", done=done))
    if verdict.make_schema and (done := await _done(steps, Kind.SCHEMA)) is not None:
        if verdict.replace:
            changes.append(_told(_number(verdict.replace), "dropped and made anew", done=done))
        else:
            changes.append(f"tables that were missing {'were' if done else 'may have been'} made")
    return changes


async def _done(steps: JobSteps, kind: Kind) -> bool | None:
    """Whether what one agent was told for the whole cluster is done, for all that is known; None: it was never told."""
    noted = (await steps.step(SENT) or {}).get(kind.value)
    if noted is None:
        return None
    return msgspec.convert(noted, Sent).ended == State.SUCCESS and await steps.noted(NOTED_WHEN_DONE[kind])


def _told(tables: int, what: str, *, done: bool) -> str:
    were = ("was" if tables == 1 else "were") if done else "may have been"
    return f"{tables} {'table' if tables == 1 else 'tables'} {were} {what}"


def _number(tables: Tables) -> int:
    return sum(len(names) for names in tables.values())
