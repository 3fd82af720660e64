"""Command → exactly one outcome, across restarts. In: posted commands and wishes to end them. Out: jobs run, lane by
lane, and their ends in the journal.

At the start, repeatable commands that had not ended are queued again with the stages that they had entered; fenced
ones, and scripts that had begun, end `interrupted`. When the agent stops, running jobs are cancelled with `undo` False
and their commands stay `running` in the journal for the next start.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from agent.commands.acceptance import is_new
from agent.commands.arguments import canonical, check_envelope, decode_arguments, destinations_of, tag_of
from agent.commands.context import LiveCommand
from agent.commands.endless import died
from agent.commands.errors import (
    AgentStopping,
    Interrupted,
    JournalFailed,
    PastThePointOfReturn,
    ScriptInterrupted,
    UnknownCommand,
    UnknownCoordinator,
    UnsupportedKind,
)
from agent.commands.events import EventLog
from agent.commands.execution import Execution
from agent.commands.journal import Journal
from agent.commands.measures import CommandMeasures
from agent.commands.outcomes import cancelled, refused
from agent.commands.queue import Lane
from agent.commands.records import CommandRecord
from agent.commands.telling import tell_end
from agent.commands.unbroken import Unbroken
from agent.model.job import Job
from agent.wire.commands import FENCED, NOT_REPEATED, CommandView, Event, Kind, PatchCommand, PostCommand, State
from kit.errors import HelenusError

log = structlog.get_logger(__name__)


class JobSpec(msgspec.Struct, frozen=True):
    """A kind's job and the lane it runs in: one command at a time per lane, lanes side by side."""

    lane: str
    run: Job


class Posted(msgspec.Struct, frozen=True):
    """A command as it stands after POST, and whether this POST made it."""

    view: CommandView
    new: bool


class RunnerTiming(msgspec.Struct, frozen=True):
    """Seconds. `cancel`: how long DELETE waits for the undoing before it answers with what is; `journal_retry`: between
    tries to write an end; `prune`: between two clearings of what is older than 30 days."""

    cancel: float = 20.0
    journal_retry: float = 1.0
    prune: float = 6 * 3600.0


class Runner:
    """Runs the commands of one agent. `coordinators`: the names that `report_to` may say."""

    def __init__(
        self,
        journal: Journal,
        events: EventLog,
        jobs: Mapping[Kind, JobSpec],
        *,
        instance: str,
        coordinators: Sequence[str] = (),
        measures: CommandMeasures | None = None,
        clock: Callable[[], float] = time.time,
        patience: RunnerTiming | None = None,
    ) -> None:
        self._journal = journal
        self._events = events
        self._jobs = dict(jobs)
        self._instance = instance
        self._coordinators = frozenset(coordinators)
        self._measures = measures
        self._clock = clock
        self._patience = patience or RunnerTiming()
        self._live: dict[str, LiveCommand] = {}
        self._lanes: dict[str, Lane[LiveCommand]] = {spec.lane: Lane() for spec in self._jobs.values()}
        self._tasks: list[asyncio.Task[None]] = []
        self._pruning: asyncio.Task[None] | None = None
        self._stopping = False
        self._accepting = Unbroken()
        self._unbroken = Unbroken()
        self._execution = Execution(
            journal,
            events,
            self._unbroken,
            instance=instance,
            clock=clock,
            ended=self._has_ended,
            journal_retry=self._patience.journal_retry,
        )

    async def start(self) -> None:
        """Take up what an earlier process left, then run the lanes. The journal and the event log must be open."""
        for record, saved in await self._journal.unfinished():
            await self._take_up(msgspec.structs.replace(record, instance=self._instance), saved)
        self._tasks = [
            asyncio.create_task(self._run_lane(lane), name=f"lane {name}") for name, lane in self._lanes.items()
        ]
        self._pruning = asyncio.create_task(self._prune(), name="journal pruning")

    async def stop(self, seconds: float = 20.0) -> None:
        """Accept nothing more, break running jobs off for a later resume, and wait for them at most so long."""
        self._stopping = True
        self._execution.stop()
        for lane in self._lanes.values():
            lane.close()
        for live in list(self._live.values()):
            live.send_cancel()
        if self._pruning is not None:
            self._pruning.cancel()
            await asyncio.wait([self._pruning])
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                log.warning("a job did not stop in time", lane=task.get_name())
                task.cancel()
        settled = (self._accepting.settle(), self._unbroken.settle())
        await asyncio.wait([asyncio.create_task(each) for each in settled], timeout=seconds)

    async def post(self, post: PostCommand) -> Posted:
        """Accept a command, or find it accepted before. Raises the error that refuses it (agent.commands.errors)."""
        check_envelope(post)
        arguments = decode_arguments(post.kind, bytes(post.arguments))
        self._check_coordinator(post.report_to)
        if post.kind not in self._jobs:
            raise UnsupportedKind(f"this agent can't do {post.kind.value}", kind=post.kind.value)
        if self._stopping:
            raise AgentStopping("the agent is being stopped")
        wanted = CommandRecord(
            id=post.id,
            kind=post.kind,
            arguments=canonical(arguments),
            tag=tag_of(arguments),
            job=post.job,
            phase=post.phase,
            fence=post.fence,
            not_after=post.not_after,
            report_to=post.report_to,
            state=State.QUEUED,
            accepted=self._clock(),
            instance=self._instance,
        )
        return await self._accepting.run(self._post(wanted, arguments))

    async def view(self, command: str) -> CommandView:
        """A command as it stands, with live counts. Raises UnknownCommand."""
        live = self._live.get(command)
        return self._view(live.record if live is not None else await self._journalled(command))

    async def views(
        self, job: str | None = None, states: Sequence[State] = (), limit: int = 1_000
    ) -> list[CommandView]:
        """The newest commands first. Counts only of commands that have not ended: so a list stays small."""
        found = await self._journal.commands(job, states, limit)
        return [self._view(record) if record.id in self._live else record.view() for record in found]

    async def patch(self, command: str, patch: PatchCommand) -> CommandView:
        """Let another coordinator hear of the command, from its present state on. Raises UnknownCommand and
        UnknownCoordinator."""
        self._check_coordinator(patch.report_to)
        live = self._live.get(command)
        if live is None:
            record = msgspec.structs.replace(await self._journalled(command), report_to=patch.report_to)
            live = LiveCommand(record, PatchCommand(patch.report_to), {})
            live.ended.set()
        await self._execution.report_to(live, patch.report_to)
        return self._view(live.record)

    async def cancel(self, command: str, *, force: bool = False) -> CommandView:
        """End a command: one that never began at once, a running repeatable one after undoing what it made (waited for,
        but not for ever: look at the answer's state), a terminal one is left as it is. A running fenced one only with
        `force`, after its running batch. Raises UnknownCommand, PastThePointOfReturn, JournalFailed."""
        await self._accepting.present_ones()  # one that is on its way into its lane is found there after that
        live = self._live.get(command)
        if live is None:
            return await self.view(command)
        if live.record.started is None and self._lanes[self._jobs[live.record.kind].lane].remove(live):
            await self._execution.finish(live, cancelled(live.record, self._clock()))
            return self._view(live.record)
        if live.record.kind in FENCED:
            if not force:
                kind = live.record.kind.value
                raise PastThePointOfReturn(f"{kind} {command} has begun and can't be undone", command=command)
            live.stop_wanted = True
        elif not live.undo_wanted:
            # On the disk first: an agent that dies while it undoes must not go on with the command.
            await self._execution.change(live, cancelling=True)
            live.undo_wanted = True
            live.send_cancel()
        try:
            async with asyncio.timeout(self._patience.cancel):
                await live.ended.wait()
        except TimeoutError:
            log.info("a cancelled command has not ended yet", command=command)
        return self._view(live.record)

    def using_destination(self, destination: str, but: Kind | None = None) -> list[str]:
        """Ids of unfinished commands that name the destination, those of the kind `but` left out."""
        return [
            live.record.id
            for live in self._live.values()
            if live.record.kind is not but and destination in destinations_of(live.typed_arguments)
        ]

    def using_tag(self, tag: str) -> list[str]:
        """Ids of unfinished commands that work on the backup."""
        return [live.record.id for live in self._live.values() if live.record.tag == tag]

    def using_job(self, job: str) -> list[str]:
        """Ids of unfinished commands of the job."""
        return [live.record.id for live in self._live.values() if live.record.job == job]

    @property
    def unfinished(self) -> int:
        """How many commands are queued, running or waiting."""
        return len(self._live)

    @property
    def died(self) -> tuple[str, ...]:
        """What should go on and doesn't: lanes that are not served any more, or the pruning, with the reason."""
        return died(self._tasks if self._pruning is None else [*self._tasks, self._pruning])

    async def _post(self, wanted: CommandRecord, arguments: msgspec.Struct) -> Posted:
        accepted: list[tuple[CommandRecord, bool]] = []

        async def write(event: Event) -> bool:
            decided = await self._journal.accept(
                wanted, lambda command, situation: is_new(command, situation, self._clock()), event
            )
            accepted.append(decided)
            return decided[1]

        # Posts that come together share a commit, and come out of it in the order of their acceptance.
        await self._events.record(wanted, write)
        record, new = accepted[0]
        if new:
            self._enqueue(LiveCommand(record, arguments, {}))
        return Posted(self._view(record), new)

    async def _take_up(self, record: CommandRecord, saved: dict[str, Any]) -> None:
        """A command that an earlier process left unfinished."""
        ended = self._end_at_start(record)
        if ended is not None:
            await self._events.record(ended, lambda event: self._journal.set_state(ended, event))
            self._note_end(ended)
            return
        arguments = decode_arguments(record.kind, record.arguments)
        if record.state is not State.QUEUED:
            again = msgspec.structs.replace(record, state=State.QUEUED, error=None)
            await self._events.record(again, lambda event: self._journal.set_state(again, event))
            record = again
        self._enqueue(LiveCommand(record, arguments, saved))

    def _end_at_start(self, record: CommandRecord) -> CommandRecord | None:
        now = self._clock()
        begun = record.started is not None
        if record.kind in FENCED or (begun and record.kind in NOT_REPEATED):
            kind = ScriptInterrupted if record.kind is Kind.SCRIPT else Interrupted
            error = kind(
                f"the agent ended while {record.kind.value} was {record.state.value}, stage «{record.stage}»",
                stage=record.stage,
                was=record.state.value,
            )
            return refused(record, error, State.INTERRUPTED, now)
        if record.cancelling and not begun:
            return cancelled(record, now)
        if record.kind not in self._jobs:
            return refused(record, UnsupportedKind(f"this agent can't do {record.kind.value}"), State.FAILED, now)
        try:
            decode_arguments(record.kind, record.arguments)
        except HelenusError as error:  # accepted by a release that understood more
            return refused(record, error, State.FAILED, now)
        return None

    def _enqueue(self, live: LiveCommand) -> None:
        self._live[live.record.id] = live
        lane = self._jobs[live.record.kind].lane
        self._lanes[lane].put(live)
        if self._measures:
            self._measures.unfinished.labels(lane).inc()

    async def _run_lane(self, lane: Lane[LiveCommand]) -> None:
        while (live := await lane.take()) is not None:
            try:
                await self._execution.run(live, self._jobs[live.record.kind].run)
            except Exception:
                # Whatever happens to one command, its lane lives on; the next start takes the command up again.
                log.exception("a command could not be run to its end", command=live.record.id)

    def _has_ended(self, end: CommandRecord) -> None:
        if self._live.pop(end.id, None) is not None and self._measures:
            self._measures.unfinished.labels(self._jobs[end.kind].lane).dec()
        self._note_end(end)

    def _note_end(self, end: CommandRecord) -> None:
        tell_end(end)
        if self._measures is None or end.finished is None:
            return
        kind = end.kind.value
        self._measures.ended.labels(kind, end.state.value).inc()
        self._measures.seconds.labels(kind).observe(max(0.0, end.finished - end.accepted))
        if end.state is State.SUCCESS:
            self._measures.last_success.labels(kind).set(end.finished)

    async def _journalled(self, command: str) -> CommandRecord:
        record = await self._journal.command(command)
        if record is None:
            raise UnknownCommand(f"there is no command {command}", command=command)
        return record

    def _view(self, record: CommandRecord) -> CommandView:
        live = self._live.get(record.id)
        return record.view() if live is None else live.record.view(live.tally.view())

    def _check_coordinator(self, name: str | None) -> None:
        if name is not None and name not in self._coordinators:
            raise UnknownCoordinator(f"no coordinator {name} is configured here", report_to=name)

    async def _prune(self) -> None:
        while True:
            try:
                gone = await self._journal.prune()
                if gone:
                    log.info("commands that ended over 30 days ago were forgotten", commands=gone)
            except JournalFailed as failed:
                log.warning("the journal can't be pruned", reason=failed.message)
            await asyncio.sleep(self._patience.prune)
