"""What a job is given and what it gives back: the seam between the command runner and the flows.

A job is an async function of a `JobContext`. It returns an `Outcome`, or raises a `HelenusError` (the command fails
with it), or is cancelled.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from agent.wire.commands import State


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended: success or partial, with the result of its kind (agent.wire.results) and, when partial, the
    error that explains it."""

    result: msgspec.Struct
    state: State = State.SUCCESS
    error: dict[str, Any] | None = None


class Tally(Protocol):
    """Counts a command's progress; safe to call from worker threads, cheap enough to call per piece."""

    def expect(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        """Set the totals of a table (bytes)."""

    def anew(self, destination: str) -> None:
        """Take back all that was counted as done of a destination, and what was wrong with its tables: it is gone
        through from the beginning."""

    def done(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        """Add files that are finished, and bytes that are there or on their way; a negative `size` takes back bytes
        that did not arrive."""

    def error(self, destination: str, keyspace: str, table: str, text: str) -> None:
        """Note what went wrong with a table."""


class Stages(Protocol):
    """The durable place of a command: each `enter` is committed to the journal before it returns."""

    @property
    def current(self) -> str:
        """The stage last entered, "" before the first: after a restart it tells where the job was."""

    def recall(self, stage: str) -> Any | None:
        """The data saved with a stage in this or an earlier run, None if it was never entered or had none."""

    async def enter(self, stage: str, data: Any | None = None) -> None:
        """Commit that `stage` begins, with JSON-ready data to recall after a restart; None keeps what an earlier enter
        of the same stage saved."""


class JobContext(Protocol):
    """A command as its job sees it."""

    @property
    def command_id(self) -> str: ...
    @property
    def job(self) -> str | None: ...
    @property
    def arguments(self) -> Any:
        """The decoded argument struct of the command's kind (agent.wire.commands)."""

    @property
    def stages(self) -> Stages: ...
    @property
    def tally(self) -> Tally: ...
    @property
    def undo(self) -> bool:
        """Inside an `except CancelledError`: True when a person cancelled (clean up all that the command made), False
        when the agent is stopping (leave everything for the resume)."""

    @property
    def not_after(self) -> float | None:
        """Unix seconds after which the command may no longer begin what can't be undone (None: no such moment). The
        runner checked it at the start; a job checks it again right before such a step."""

    @property
    def stop_requested(self) -> bool:
        """A person forced the cancel of a fenced command: end after the running batch (no CancelledError comes), with
        an outcome or error that says what was done and how to finish."""

    def waiting(self, error: dict[str, Any] | None) -> None:
        """Show the command as `waiting` with the reason; None: running again."""


Job = Callable[[JobContext], Awaitable[Outcome]]
