"""Whether a command is taken, and whether it may begin. Pure rules: in, the command and what the journal knows; out,
yes or the error that refuses it."""

import msgspec

from agent.commands.arguments import canonical
from agent.commands.errors import CommandDiffers, FenceTooLow, TagInUse, TooManyCommands
from agent.commands.records import CommandRecord, Fence, Situation
from agent.model.refusals import ImportHasBegun, TooLate
from agent.wire.arguments import ARGUMENTS
from agent.wire.commands import FENCED, Kind

MOST_UNFINISHED = 1_000
"""Commands that an agent holds at a time: more is a coordinator gone wild."""

_BEFORE_IMPORT = frozenset({Kind.DROP_VIEWS, Kind.TRUNCATE, Kind.SCHEMA})
_TAKES_TAG = frozenset({Kind.SNAPSHOT, Kind.BACKUP})
_COPIES_TAG = frozenset({Kind.UPLOAD, Kind.SYNC})
_PINS_TAG = frozenset(Kind) - {Kind.DELETE, Kind.SWEEP, Kind.CLEAN}


def is_new(command: CommandRecord, situation: Situation, now: float) -> bool:
    """True: accept it; False: it was accepted before. Raises the error of the first rule that it breaks.

    The same command again is answered even when its fence is low or its moment has passed: that changes nothing.
    """
    existing = situation.existing
    if existing is not None:
        if existing.kind is not command.kind or _today(existing) != command.arguments:
            differs = "kind" if existing.kind is not command.kind else "arguments"
            raise CommandDiffers(
                f"command {command.id} was accepted before with another {differs}", command=command.id, differs=differs
            )
        return False
    _check_order(command, situation.fence)
    _check_moment(command, now)
    _check_tag(command, situation.rival)
    if situation.unfinished >= MOST_UNFINISHED:
        raise TooManyCommands(f"{situation.unfinished} commands are unfinished", unfinished=situation.unfinished)
    return True


def _today(existing: CommandRecord) -> bytes:
    """The arguments as this release writes them: one that was accepted before an upgrade lacks newer fields."""
    try:
        return canonical(msgspec.json.decode(existing.arguments, type=ARGUMENTS[existing.kind]))
    except msgspec.ValidationError:
        return existing.arguments


def rivals_of(kind: Kind) -> frozenset[Kind]:
    """The kinds that must not be unfinished with the same tag when a command of `kind` is accepted."""
    if kind in _TAKES_TAG:
        return _TAKES_TAG | {Kind.DELETE}  # one that is still queued would take away what comes after it
    if kind in _COPIES_TAG:
        return frozenset({Kind.DELETE})  # its mark must not come between the look for one and the manifest
    return _PINS_TAG if kind is Kind.DELETE else frozenset()


def check_begin(command: CommandRecord, fence: Fence, now: float) -> None:
    """Raise if the world has moved on while the command was queued, so that it may not begin any more.

    Repeatable commands that had begun before a restart go on: `not_after` is about the beginning, and nothing that
    they do is made wrong by a newer coordinator.
    """
    if command.kind in FENCED:
        _check_order(command, fence)
        _check_moment(command, now)
    elif command.started is None:
        _check_moment(command, now)


def _check_order(command: CommandRecord, fence: Fence) -> None:
    if command.job is None:
        return
    if command.fence < fence.highest:
        raise FenceTooLow(
            f"job {command.job} is led by a coordinator with fence {fence.highest}; this command has {command.fence}",
            job=command.job,
            fence=command.fence,
            highest=fence.highest,
        )
    if fence.import_begun and command.kind in _BEFORE_IMPORT:
        raise ImportHasBegun(
            f"the import of job {command.job} has begun on this node: {command.kind.value} is refused", job=command.job
        )


def _check_moment(command: CommandRecord, now: float) -> None:
    if command.not_after is not None and now > command.not_after:
        raise TooLate(
            f"command {command.id} was not to begin after {command.not_after:.3f}; it is {now:.3f} here",
            command=command.id,
            not_after=command.not_after,
            now=now,
        )


def _check_tag(command: CommandRecord, rival: CommandRecord | None) -> None:
    if rival is not None:
        raise TagInUse(f"{rival.kind.value} {rival.id} is working on {command.tag}", tag=command.tag, command=rival.id)
