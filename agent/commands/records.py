"""What the journal keeps, as frozen types that know nothing of SQL."""

from collections.abc import Callable
from typing import Any

import msgspec

from agent.wire.commands import CommandView, Event, Kind, Progress, State


class CommandRecord(msgspec.Struct, frozen=True):
    """A command. `arguments`: canonical JSON of the release that accepted it. `tag`: the backup it works on.
    `cancelling`: a person asked for its end while it ran. Times in unix seconds. `number`: order of acceptance."""

    id: str
    kind: Kind
    arguments: bytes
    tag: str | None
    job: str | None
    phase: str | None
    fence: int
    not_after: float | None
    report_to: str | None
    state: State
    accepted: float
    instance: str
    stage: str = ""
    cancelling: bool = False
    started: float | None = None
    finished: float | None = None
    progress: Progress = {}
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    number: int = 0

    def view(self, progress: Progress | None = None) -> CommandView:
        """The command as it is shown, with live counts when there are."""
        return CommandView(
            id=self.id,
            kind=self.kind.value,
            state=self.state,
            stage=self.stage,
            job=self.job,
            phase=self.phase,
            fence=self.fence,
            accepted=self.accepted,
            started=self.started,
            finished=self.finished,
            progress=self.progress if progress is None else progress,
            result=self.result,
            error=self.error,
            instance=self.instance,
            report_to=self.report_to,
        )

    def event(self, sequence: int, at: float, progress: Progress | None = None) -> Event:
        """The command's present state as an entry of the event log."""
        return Event(
            sequence=sequence,
            instance=self.instance,
            at=at,
            command=self.id,
            kind=self.kind.value,
            job=self.job,
            phase=self.phase,
            state=self.state,
            stage=self.stage,
            progress=self.progress if progress is None else progress,
            result=self.result,
            error=self.error,
        )


class Fence(msgspec.Struct, frozen=True):
    """What an agent remembers of a job: the highest fence it was shown, and whether an import of it has begun here."""

    highest: int = 0
    import_begun: bool = False


class Situation(msgspec.Struct, frozen=True):
    """What acceptance is decided from, read in the transaction that accepts. `rival`: an unfinished command on the
    same tag, of a kind that excludes the new one's. `unfinished`: how many commands are not terminal."""

    existing: CommandRecord | None
    fence: Fence
    rival: CommandRecord | None
    unfinished: int


Decide = Callable[[CommandRecord, Situation], bool]
"""True: take it as new; False: it is the existing command. Raises the error that refuses it."""

Guard = Callable[[Fence], None]
"""Raises the error because of which a command may not begin now."""
