"""A command of this process as its job sees it: agent.model.job.JobContext over the journal and the counters."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agent.commands.records import CommandRecord
from agent.model.job import Outcome
from agent.progress.tally import CommandTally

EnterStage = Callable[["LiveCommand", str, Any | None], Awaitable[None]]
ShowWaiting = Callable[["LiveCommand"], None]


class LiveCommand:
    """One command from its acceptance (or a restart) to its end. `record` is what is on the disk of it; it is changed
    only under `lock`. It implements JobContext, and is its own Stages."""

    def __init__(self, record: CommandRecord, arguments: msgspec.Struct, saved: dict[str, Any]) -> None:
        self.record = record
        self.typed_arguments = arguments
        self.lock = asyncio.Lock()
        self.ended = asyncio.Event()
        self.task: asyncio.Task[Outcome] | None = None
        self.undo_wanted = record.cancelling
        self.stop_wanted = False
        self.cancel_sent = False
        self.wanted_wait: dict[str, Any] | None = None
        self.showing_wait: asyncio.Task[None] | None = None
        self._counters = CommandTally()
        self._saved = saved
        self._enter_stage: EnterStage | None = None
        self._show_waiting: ShowWaiting | None = None

    def attach(self, enter_stage: EnterStage, show_waiting: ShowWaiting) -> None:
        """Who writes what the job says."""
        self._enter_stage = enter_stage
        self._show_waiting = show_waiting

    def send_cancel(self) -> None:
        """Cancel the job's task, once: a second cancel would break off its undoing."""
        if self.task is not None and not self.cancel_sent:
            self.cancel_sent = True
            self.task.cancel()

    @property
    def command_id(self) -> str:
        """The command's id."""
        return self.record.id

    @property
    def job(self) -> str | None:
        """The job it is part of."""
        return self.record.job

    @property
    def arguments(self) -> Any:
        """The decoded argument struct of the command's kind."""
        return self.typed_arguments

    @property
    def stages(self) -> "LiveCommand":
        """This object."""
        return self

    @property
    def tally(self) -> CommandTally:
        """The command's counters."""
        return self._counters

    @property
    def undo(self) -> bool:
        """Whether a person cancelled."""
        return self.undo_wanted

    @property
    def not_after(self) -> float | None:
        """Unix seconds after which nothing that can't be undone may begin."""
        return self.record.not_after

    @property
    def stop_requested(self) -> bool:
        """A forced cancel: end after the running batch."""
        return self.stop_wanted

    def waiting(self, error: dict[str, Any] | None) -> None:
        """Show the command as waiting with the reason; None: running again. Call it in the event loop."""
        self.wanted_wait = error
        if self._show_waiting is not None:
            self._show_waiting(self)

    @property
    def current(self) -> str:
        """The stage last entered."""
        return self.record.stage

    def recall(self, stage: str) -> Any | None:
        """The data saved with a stage."""
        return self._saved.get(stage)

    async def enter(self, stage: str, data: Any | None = None) -> None:
        """Commit that `stage` begins."""
        if self._enter_stage is None:
            raise RuntimeError("the command does not run")
        await self._enter_stage(self, stage, data)
        if data is not None:
            # As a restart would give it back, so that no job comes to rely on tuples or shared lists.
            self._saved[stage] = msgspec.json.decode(msgspec.json.encode(data, enc_hook=str))
        if self.undo_wanted and not self.cancel_sent:
            # Resumed only to be undone: by its first stage it has found what the earlier run made.
            self.send_cancel()
            await asyncio.sleep(0)
