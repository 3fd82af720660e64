"""How a job's end becomes a command's end. In: what the job returned or raised. Out: the terminal record."""

import asyncio

import msgspec
import structlog

from agent.commands.records import CommandRecord
from agent.model.job import Outcome
from agent.wire.commands import Progress, State
from kit.errors import HelenusError

log = structlog.get_logger(__name__)


def ended_with(
    record: CommandRecord, ending: Outcome | BaseException, progress: Progress, now: float, *, undone: bool
) -> CommandRecord:
    """The terminal record. `undone`: a person cancelled the command. Logs the traceback of an unexpected exception."""
    if isinstance(ending, Outcome):
        state = ending.state if ending.state.terminal else State.FAILED
        result = msgspec.to_builtins(ending.result, enc_hook=str)
        return _end(record, state, progress, now, result=result, error=ending.error)
    if isinstance(ending, asyncio.CancelledError) and undone:
        return _end(record, State.CANCELLED, progress, now)
    return _end(record, State.FAILED, progress, now, error=explain(record, ending).as_dict())


def refused(record: CommandRecord, error: HelenusError, state: State, now: float) -> CommandRecord:
    """The terminal record of a command whose job is not begun (again)."""
    return _end(record, state, record.progress, now, error=error.as_dict())


def cancelled(record: CommandRecord, now: float) -> CommandRecord:
    """The terminal record of a command that was cancelled before it began."""
    return _end(record, State.CANCELLED, record.progress, now)


def explain(record: CommandRecord, error: BaseException) -> HelenusError:
    """The error to show: the first HelenusError of a group; anything else is `internal`, its text only in the log, for
    it may hold what must not be shown."""
    leaves = list(_leaves(error))
    known = [leaf for leaf in leaves if isinstance(leaf, HelenusError)]
    unknown = [leaf for leaf in leaves if not isinstance(leaf, HelenusError | asyncio.CancelledError)]
    if unknown or not known:
        log.error("a job ended unexpectedly", command=record.id, kind=record.kind.value, exc_info=error)
    if known:
        return known[0]
    name = type(leaves[0]).__name__
    return HelenusError(f"{record.kind.value} ended with an unexpected {name}", exception=name, command=record.id)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _end(
    record: CommandRecord,
    state: State,
    progress: Progress,
    now: float,
    *,
    result: dict[str, object] | None = None,
    error: dict[str, object] | None = None,
) -> CommandRecord:
    return msgspec.structs.replace(
        record, state=state, finished=now, progress=progress, result=result, error=error, cancelling=False
    )
