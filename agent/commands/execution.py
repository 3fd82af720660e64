"""One command's run. In: a command whose turn has come. Out: its job's outcome in the journal."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from agent.commands.acceptance import check_begin
from agent.commands.context import LiveCommand
from agent.commands.errors import JournalFailed
from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.outcomes import cancelled, ended_with, refused
from agent.commands.records import CommandRecord, Fence, Guard
from agent.commands.telling import tell_begin
from agent.commands.unbroken import Unbroken
from agent.model.job import Job, JobContext, Outcome
from agent.wire.commands import State
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

LATE_CANCEL_SECONDS = 5.0
"""A command that is resumed only to be undone runs until its first stage, at most as long as this."""


class Execution:
    """Runs commands and writes all that changes of them. `ended` is told each terminal record."""

    def __init__(
        self,
        journal: Journal,
        events: EventLog,
        unbroken: Unbroken,
        *,
        instance: str,
        clock: Callable[[], float],
        ended: Callable[[CommandRecord], None],
        journal_retry: float,
    ) -> None:
        self._journal = journal
        self._events = events
        self._unbroken = unbroken
        self._instance = instance
        self._clock = clock
        self._ended = ended
        self._journal_retry = journal_retry
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """From now on jobs are broken off, to be resumed by the next process."""
        self._stopping.set()

    async def run(self, live: LiveCommand, job: Job) -> None:
        """Begin the command, run its job, write its end."""
        resumed = live.record.started is not None
        if not await self._begin(live):
            return
        if not resumed and (live.undo_wanted or live.stop_wanted):
            await self.finish(live, cancelled(live.record, self._clock()))
            return
        if self._stopping.is_set():
            return
        tell_begin(live.record, resumed=resumed)
        live.attach(self._enter_stage, self._show_waiting)
        live.task = asyncio.create_task(_run(job, live), name=f"{live.record.kind.value} {live.record.id}")
        late = None
        if live.undo_wanted:
            late = asyncio.get_running_loop().call_later(LATE_CANCEL_SECONDS, live.send_cancel)
        await asyncio.wait([live.task])
        if late is not None:
            late.cancel()
        ending = _ending(live.task)
        undone = live.undo_wanted and isinstance(ending, asyncio.CancelledError)
        if self._stopping.is_set() and live.cancel_sent and not undone and not isinstance(ending, Outcome):
            return  # broken off by the stop; the journal says `running`, the next start goes on
        if live.showing_wait is not None:
            await asyncio.wait([live.showing_wait])
        end = ended_with(live.record, ending, live.tally.view(), self._clock(), undone=live.undo_wanted)
        await self.finish(live, end)

    async def change(self, live: LiveCommand, guard: Guard | None = None, **fields: Any) -> None:
        """Write a new state of a command that is not terminal, with its event. Raises what `guard` raises, and
        JournalFailed."""
        await self._unbroken.run(self._change(live, guard, fields))

    async def _change(self, live: LiveCommand, guard: Guard | None, fields: dict[str, Any]) -> None:
        async with live.lock:
            if live.record.state.terminal:  # it ended just now: nothing changes it any more
                return
            changed = msgspec.structs.replace(live.record, **fields)
            await self._events.record(changed, lambda event: self._journal.set_state(changed, event, guard))
            self._is(live, changed)

    async def finish(self, live: LiveCommand, end: CommandRecord) -> None:
        """Write a terminal state, however often it takes: an end that is known must not get lost."""
        await self._unbroken.run(self._finish(live, end))

    async def _finish(self, live: LiveCommand, end: CommandRecord) -> None:
        self._events.unwatch(live.record.id)
        async with live.lock:
            end = msgspec.structs.replace(end, report_to=live.record.report_to)
            while True:
                try:
                    await self._events.record(end, lambda event: self._journal.set_state(end, event))
                    break
                except JournalFailed as failed:
                    log.error("a command's end can't be written yet", command=end.id, reason=failed.message)
                    await asyncio.sleep(self._journal_retry)
            live.record = end
        self._ended(end)
        live.ended.set()

    async def report_to(self, live: LiveCommand, reader: str) -> None:
        """Name another reader, who is told the present state at once."""
        await self._unbroken.run(self._report_to(live, reader))

    async def _report_to(self, live: LiveCommand, reader: str) -> None:
        async with live.lock:
            changed = msgspec.structs.replace(live.record, report_to=reader)
            await self._events.record(
                changed,
                lambda event: self._journal.set_report_to(changed.id, reader, event),
                changed.progress or live.tally.view(),  # the new reader has heard nothing yet
            )
            self._is(live, changed)

    async def _begin(self, live: LiveCommand) -> bool:
        def guard(fence: Fence) -> None:
            check_begin(live.record, fence, self._clock())

        started = live.record.started or self._clock()
        try:
            await self.change(live, guard, state=State.RUNNING, started=started, instance=self._instance)
        except HelenusError as error:
            await self.finish(live, refused(live.record, error, State.FAILED, self._clock()))
            return False
        return True

    async def _enter_stage(self, live: LiveCommand, stage: str, data: Any | None) -> None:
        await self._unbroken.run(self._write_stage(live, stage, data))

    async def _write_stage(self, live: LiveCommand, stage: str, data: Any | None) -> None:
        async with live.lock:
            changed = msgspec.structs.replace(live.record, stage=stage)
            await self._events.record(changed, lambda event: self._journal.enter_stage(changed, data, event))
            self._is(live, changed)

    def _show_waiting(self, live: LiveCommand) -> None:
        if live.showing_wait is None or live.showing_wait.done():
            live.showing_wait = asyncio.create_task(self._write_waiting(live))

    async def _write_waiting(self, live: LiveCommand) -> None:
        """Write the wish until what is on the disk is what is wished; wishes in between are not told."""
        while live.task is not None and not live.task.done():
            error = live.wanted_wait
            state = State.RUNNING if error is None else State.WAITING
            if (state, error) == (live.record.state, live.record.error):
                return
            try:
                await self.change(live, state=state, error=error)
            except JournalFailed as failed:
                log.warning("a command's waiting can't be shown", command=live.record.id, reason=failed.message)
                return

    def _is(self, live: LiveCommand, record: CommandRecord) -> None:
        live.record = record
        if record.started is not None and not live.ended.is_set():
            self._events.watch(record, live.tally)


async def _run(job: Job, context: JobContext) -> Outcome:
    return await job(context)


def _ending(task: asyncio.Task[Outcome]) -> Outcome | BaseException:
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception() or task.result()
