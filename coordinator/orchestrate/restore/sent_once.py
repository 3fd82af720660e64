"""Commands that change tables or views for the whole cluster, told to one agent: noted before they are sent, open until
that agent has said how they ended, and until what its Cassandra was sent can't be carried out any more.

One whose outcome isn't known may still be done whenever its agent, or Cassandra, wakes up: whoever works on the same
tables asks for it first. Who empties them asks for IMPORTs too that nobody heard the end of. In: commands, before they
are posted and when they ended. Out: the certainty that none of them comes any more.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from agent.wire.commands import Kind, State
from coordinator.fleet.errors import AgentMisbehaved, AgentRefused, AgentUnreachable, DuplicateHostId, MixedClusters
from coordinator.fleet.registry import Agent
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import Request, RequestKind
from coordinator.orchestrate.restore.job_steps import JobSteps, job_of
from coordinator.orchestrate.restore.lost_imports import lost_imports
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.scope import common_tables
from coordinator.orchestrate.steady import Steady
from coordinator.orchestrate.timing import Timing

SENT = "sent"
"""The step of a job that holds its notes, by phase."""

NOTED_WHEN_DONE = {Kind.TRUNCATE: "truncated", Kind.SCHEMA: "schema_made", Kind.PIT_TABLES: "tables_made"}
"""The step that says that such a command was carried out."""

CHANGES_ROWS = frozenset({*NOTED_WHEN_DONE, Kind.IMPORT})
"""Kinds that cost, or bring, rows when they are done late: only a person may go on without knowing."""

NO_AGENT = (AgentUnreachable, DuplicateHostId, MixedClusters)
"""What the registry raises when it can't say which agent speaks for a node: trouble of that node, not of the phase."""

GIVEN_UP = "unknown"
"""How a command ended that nothing is known of, where one went on without knowing."""


class Sent(msgspec.Struct, frozen=True):
    """A command that was, or is about to be, sent. `not_after`: when its agent must not begin it any more, by the
    agent's clock. `until`: from when on nobody need wait for it, by the coordinator's. Both unix seconds. `ended`: its
    terminal state, or `GIVEN_UP`; "" while that is open. `unknown`: why Cassandra may still carry out what this
    command, or one before it of the same phase, has sent; "" when it can't."""

    request: str
    phase: str
    kind: Kind
    host_id: str
    address: str
    command: str
    not_after: float
    until: float
    ended: str = ""
    unknown: str = ""

    @property
    def key(self) -> str:
        """Under which the job knows it: of an import there is one for each node."""
        return f"{self.phase}/{self.command}" if self.kind is Kind.IMPORT else self.phase


def hopeless_from(command: PostedCommand, timing: Timing) -> float:
    """From when on, by the coordinator's clock, an agent that was lost with the command can't begin it any more, and
    the margin is over as well."""
    return max(command.not_after or 0.0, command.posted + timing.fence) + timing.force_margin


def least_silence(timing: Timing) -> float:
    """For how many seconds such an agent must have been silent besides, by time that passes in this life of the
    coordinator: the clock may have been set since the command was posted, and then tells nothing of its time."""
    return max(timing.fence, timing.force_margin)


def why_unknown(state: State, error: Mapping[str, Any] | None) -> str:
    """Why Cassandra may still carry out what a command had sent whose agent tells this end; "" when it can't."""
    if state is State.INTERRUPTED:
        return "its agent was restarted meanwhile"
    if ((error or {}).get("fields") or {}).get("outcome_unknown"):
        return "its Cassandra did not say whether it was carried out"
    return ""


class SentOnce:
    """The notes of the run's job, and those of other jobs that work on the same tables. `force`: whether the person
    lets it go on without an agent that was lost. `empties`: whether the run truncates tables, or makes them anew."""

    def __init__(self, run: Run, *, force: bool, empties: bool) -> None:
        self._run = run
        self._around = run.around
        self._force = force
        self._empties = empties
        self._job = job_of(run.request)

    async def about_to_send(self, command: PostedCommand) -> None:
        """Note a command of the run, durable when it returns."""
        known = (await self._notes(self._job)).get(command.phase)
        if known is None or known.command != command.id:
            unknown = known.unknown if known is not None and not known.ended else ""
            await self._put(self._job, msgspec.structs.replace(self._sent(command), unknown=unknown))

    async def ended(self, command: PostedCommand) -> None:
        """Close the note of a command: its agent has said how it ended, or that it doesn't take it. It stays open when
        Cassandra may still carry out what was sent."""
        known = (await self._notes(self._job)).get(command.phase)
        unknown = why_unknown(command.state, command.error) or (known.unknown if known is not None else "")
        if known is not None and not known.ended and unknown and command.state is not State.SUCCESS:
            await self._put(self._job, msgspec.structs.replace(known, unknown=unknown))
        else:
            await self._close(self._job, command.phase, command.state.value)

    async def is_open(self, phase: str) -> bool:
        """Whether what a phase of the run's job has sent may still come."""
        known = (await self._notes(self._job)).get(phase)
        return known is not None and not known.ended

    async def gave_up(self, phase: str) -> None:
        """Close the note of a phase without knowing how it ended."""
        await self._close(self._job, phase, GIVEN_UP)

    async def settle_earlier(self) -> None:
        """Return when nothing that other requests sent for the run's tables can come any more. Raises
        `RequestCancelled` when a person ends the wait."""
        for job, requests in (await self._jobs()).items():
            for sent in await self._open(job, requests):
                await self._settle(JobSteps(self._around.store, job), sent)
        if self._run.request.message:
            await self._run.update(message="")

    async def _jobs(self) -> dict[str, list[Request]]:
        """The job of the run, and every other one that has any of its tables; of each its other requests."""
        jobs: dict[str, list[Request]] = {self._job: []}
        for kind in (RequestKind.RESTORE, RequestKind.POINT_IN_TIME):
            for each in await self._around.store.requests.find(cluster=self._run.cluster, kind=kind):
                if each.id != self._run.request.id and self._meets(each):
                    jobs.setdefault(job_of(each), []).append(each)
        return jobs

    async def _open(self, job: str, requests: list[Request]) -> list[Sent]:
        """What other requests sent for the job and may still come. The imports of the run's own job may: it empties
        nothing once they were let go, and the agents know which batches are in."""
        notes = await self._notes(job)
        found = [sent for sent in notes.values() if not sent.ended and sent.request != self._run.request.id]
        if self._empties and job != self._job:
            lost = [
                self._sent(each) for request in requests for each in await lost_imports(self._around.store, request)
            ]
            found += [sent for sent in lost if sent.key not in notes]
        return found

    def _sent(self, command: PostedCommand) -> Sent:
        return Sent(
            request=command.request,
            phase=command.phase,
            kind=command.kind,
            host_id=command.host_id,
            address=command.address,
            command=command.id,
            not_after=command.not_after or 0.0,
            until=hopeless_from(command, self._around.timing),
        )

    def _meets(self, request: Request) -> bool:
        return bool(common_tables(request.keyspaces, self._run.request.keyspaces))

    async def _settle(self, steps: JobSteps, sent: Sent) -> None:
        waiting = asyncio.create_task(self._end_of(sent))
        cancelled = asyncio.create_task(self._run.cancelled.wait())
        try:
            await asyncio.wait({waiting, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                self._run.stop_if_cancelled()
            end = await waiting
        finally:
            for task in (waiting, cancelled):
                task.cancel()
            await asyncio.gather(waiting, cancelled, return_exceptions=True)
        step = NOTED_WHEN_DONE.get(sent.kind)
        if end == GIVEN_UP:
            self._run.warn(
                f"{sent.address} was lost during {sent.phase} of the restore {sent.request}; this one went on without "
                "knowing whether it was done"
            )
            await self._run.keep_warnings()  # nobody looks again
            if sent.kind is not Kind.IMPORT:
                await steps.note(f"lost/{sent.host_id}", phase=sent.phase)
        if step is not None and end in (GIVEN_UP, State.SUCCESS):
            await steps.note(step, outcome="done" if end == State.SUCCESS else "unknown")
        await self._put(steps.job, msgspec.structs.replace(sent, ended=end))

    async def _end_of(self, sent: Sent) -> str:
        """How it ended, once that is known and nothing of it can come any more, or once nobody need know."""
        late = False
        answers_since: float | None = None
        silent_since: float | None = None
        now = Steady(self._around.clock, self._around.monotonic)
        while True:
            answers = False
            try:
                if sent.kind is Kind.IMPORT and await self._has_left(sent.host_id):
                    return State.INTERRUPTED.value
                agent = await self._around.registry.agent_of(self._run.cluster, sent.host_id)
                end, why = await self._told_by(agent, sent, late)
                if end is not None and (end is State.SUCCESS or sent.kind is Kind.IMPORT or not why):
                    return end.value
                report = await agent.client.node()
                answers, late = end is None or report.node is not None, report.now > sent.not_after
                if end is not None and answers:
                    answers_since = now() if answers_since is None else answers_since
                    if now() >= answers_since + self._around.timing.outlive:
                        return end.value
            except (*NO_AGENT, AgentMisbehaved, AgentRefused) as lost:
                why = lost.message
            given_up: float | None = None
            if answers:
                silent_since = None
            else:
                answers_since = None
                silent_since = now() if silent_since is None else silent_since
                given_up = max(sent.until, silent_since + least_silence(self._around.timing))
                if now() >= given_up and self._may_be_given_up(sent):
                    return GIVEN_UP
            await self._tell(sent, why, given_up)
            await asyncio.sleep(self._around.timing.retry_pause)

    async def _has_left(self, host_id: str) -> bool:
        """Whether no node has this one in its ring any more: it was rebuilt, or removed. Nobody will answer for it, and
        it brings no rows into the cluster."""
        agents = await self._around.registry.refresh(self._run.cluster, self._around.timing.report_age)
        reports = [agent.report for agent in agents if agent.cassandra_up]
        rings = {id(report.ring): report.ring for report in reports if report is not None}
        ring = {member.host_id for each in rings.values() for member in each}
        return bool(ring) and host_id not in ring

    async def _told_by(self, agent: Agent, sent: Sent, late: bool) -> tuple[State | None, str]:
        """The terminal state, and why Cassandra may carry it out all the same; or None, and why the end isn't known.
        `late`: that the agent's clock had passed `not_after` before it is asked here."""
        try:
            view = await agent.client.command(sent.command)
        except AgentRefused as refused:
            if refused.agent_status != 404:
                raise
            if await self._was_accepted(sent):
                # The agent lost its state with it: that takes a new process.
                return State.INTERRUPTED, sent.unknown or why_unknown(State.INTERRUPTED, None)
            if late:  # it never arrived, and would be refused by now
                return State.INTERRUPTED, sent.unknown
            return None, "the agent doesn't know it, but it may still arrive"
        if not view.state.terminal:
            return None, f"it is {view.state.value} there"
        return view.state, sent.unknown or why_unknown(view.state, view.error)

    async def _was_accepted(self, sent: Sent) -> bool:
        command = await self._around.store.commands.get(sent.command)
        return command is None or command.accepted

    def _may_be_given_up(self, sent: Sent) -> bool:
        """Of views only work is lost, and it is named; of tables rows are, so that a person must say it."""
        return self._force or sent.kind not in CHANGES_ROWS

    async def _tell(self, sent: Sent, why: str, given_up: float | None) -> None:
        """`given_up`: from when on force goes on without an agent that is silent; None of one that answers, for that
        is waited for by force as well."""
        told = (
            f"waits for the agent of {sent.address}, for it isn't known what became of {sent.phase} of the restore "
            f"{sent.request} ({why})"
        )
        if given_up is not None and sent.kind in CHANGES_ROWS:
            until = f"{datetime.fromtimestamp(given_up, UTC):%H:%M} UTC"
            if self._force:
                told += f"; goes on without it from {until}"
            else:
                told += f"; only force goes on without it, from {until}: cancel this (with force), send it with force"
        if self._run.request.message != told:
            await self._run.update(message=told)

    async def _notes(self, job: str) -> dict[str, Sent]:
        step = await self._around.store.requests.step(job, SENT)
        return {} if step is None else msgspec.convert(step, dict[str, Sent])

    async def _put(self, job: str, sent: Sent) -> None:
        notes = {**(await self._notes(job)), sent.key: sent}
        await self._around.store.requests.record_step(job, SENT, msgspec.to_builtins(notes))

    async def _close(self, job: str, phase: str, ended: str) -> None:
        known = (await self._notes(job)).get(phase)
        if known is not None and not known.ended:
            await self._put(job, msgspec.structs.replace(known, ended=ended))
