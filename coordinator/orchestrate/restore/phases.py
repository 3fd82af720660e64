"""The phases of a restore, and what is done about trouble in each, as data. Pure.

docs/restore.md prints `REACTIONS`; a test keeps the two equal.
"""

from enum import StrEnum

import msgspec

from agent.wire.commands import Kind


class Where(StrEnum):
    """Who does a phase: every node that is restored, or exactly one agent for the whole cluster."""

    EVERY = "every node"
    ONE = "one agent"


class Phase(msgspec.Struct, frozen=True):
    """A step of a restore. All nodes finish it before any begins the next. `irrevocable`: once it was sent, what was
    in the tables can't be given back."""

    kind: Kind
    where: Where
    irrevocable: bool = False


RESTORE = (
    Phase(Kind.PREFLIGHT, Where.EVERY),
    Phase(Kind.FETCH, Where.EVERY),
    Phase(Kind.DROP_VIEWS, Where.ONE),
    Phase(Kind.TRUNCATE, Where.ONE, irrevocable=True),
    Phase(Kind.SCHEMA, Where.ONE, irrevocable=True),
    Phase(Kind.IMPORT, Where.EVERY, irrevocable=True),
    Phase(Kind.CHECK, Where.EVERY),
    Phase(Kind.CREATE_VIEWS, Where.ONE),
    Phase(Kind.CLEAN, Where.EVERY),
)


class Trouble(StrEnum):
    """What can happen to a phase's command."""

    AGENT_LOST = "agent lost"
    CASSANDRA_DOWN = "Cassandra down"
    DISK_FULL = "disk full"
    DIGEST_WRONG = "digest wrong"
    TIME_PASSED = "time passed"
    OTHER = "anything else"


class Answer(StrEnum):
    """What the coordinator does about it, once waiting and retries are used up.

    `wait`: nothing else happens until that agent answers (fenced work of unknown outcome). `abort`: the request ends in
    error, before the point of no return with everything undone. `stop`: the request ends in error with everything
    fetched kept; the same restore posted again goes on from there. `continue`: the others go on, and the report names
    the node and what is owed.
    """

    WAIT = "wait"
    ABORT = "abort"
    STOP = "stop"
    CONTINUE = "continue"


class Reaction(msgspec.Struct, frozen=True):
    """`retries`: new attempts on the same agent before `then`. `patient`: attempts wait for the node to come back, up
    to the configured time, instead of following each other at once."""

    then: Answer
    retries: int = 0
    patient: bool = False


_ABORT = Reaction(Answer.ABORT)
_STOP = Reaction(Answer.STOP)
_CONTINUE = Reaction(Answer.CONTINUE)
_WAIT = Reaction(Answer.WAIT, retries=3)

_PASSED = 9
"""Further commands when the time of one has passed: each goes on behind what the one before has done, so that this is
how many times the fence's seconds a phase of very many tables may take."""

_TABLE: dict[Kind, tuple[Reaction, Reaction, Reaction, Reaction, Reaction, Reaction]] = {
    # phase: (agent lost, Cassandra down, disk full, digest wrong, time passed, anything else)
    Kind.PREFLIGHT: (
        Reaction(Answer.ABORT, patient=True),
        Reaction(Answer.ABORT, retries=2, patient=True),
        _ABORT,
        _ABORT,
        _ABORT,
        _ABORT,
    ),
    Kind.FETCH: (
        Reaction(Answer.ABORT, patient=True),
        Reaction(Answer.ABORT, retries=2, patient=True),
        _ABORT,
        Reaction(Answer.ABORT, retries=1),
        _ABORT,
        Reaction(Answer.ABORT, retries=1),
    ),
    Kind.DROP_VIEWS: (
        _WAIT,
        Reaction(Answer.ABORT, retries=3, patient=True),
        _ABORT,
        _ABORT,
        Reaction(Answer.ABORT, retries=_PASSED),
        _ABORT,
    ),
    Kind.TRUNCATE: (
        _WAIT,
        Reaction(Answer.STOP, retries=3, patient=True),
        _STOP,
        _STOP,
        Reaction(Answer.STOP, retries=_PASSED),
        Reaction(Answer.STOP, retries=2),
    ),
    Kind.SCHEMA: (
        _WAIT,
        Reaction(Answer.STOP, retries=3, patient=True),
        _STOP,
        _STOP,
        Reaction(Answer.STOP, retries=_PASSED),
        Reaction(Answer.STOP, retries=2),
    ),
    Kind.IMPORT: (
        Reaction(Answer.CONTINUE, retries=3, patient=True),
        Reaction(Answer.CONTINUE, retries=3, patient=True),
        _CONTINUE,
        _CONTINUE,
        Reaction(Answer.CONTINUE, retries=_PASSED),
        Reaction(Answer.CONTINUE, retries=1),
    ),
    Kind.CREATE_VIEWS: (
        _WAIT,
        Reaction(Answer.CONTINUE, retries=3, patient=True),
        _CONTINUE,
        _CONTINUE,
        Reaction(Answer.CONTINUE, retries=_PASSED),
        Reaction(Answer.CONTINUE, retries=1),
    ),
    Kind.CHECK: (
        Reaction(Answer.CONTINUE, patient=True),
        Reaction(Answer.CONTINUE, retries=2, patient=True),
        _CONTINUE,
        _CONTINUE,
        _CONTINUE,
        _CONTINUE,
    ),
    Kind.CLEAN: (_CONTINUE, _CONTINUE, _CONTINUE, _CONTINUE, _CONTINUE, Reaction(Answer.CONTINUE, retries=1)),
}

REACTIONS: dict[tuple[Kind, Trouble], Reaction] = {
    (kind, trouble): reaction
    for kind, reactions in _TABLE.items()
    for trouble, reaction in zip(Trouble, reactions, strict=True)
}

OUTSIDE_RESTORE = Reaction(Answer.CONTINUE, patient=True)
"""Backup, sync, delete: a node that fails is named, the others go on."""

_CODES: dict[str, Trouble] = {
    "agent_unreachable": Trouble.AGENT_LOST,
    "agent_misbehaved": Trouble.AGENT_LOST,
    "interrupted": Trouble.AGENT_LOST,
    "cassandra_unavailable": Trouble.CASSANDRA_DOWN,
    "nodetool_timeout": Trouble.CASSANDRA_DOWN,
    "nodetool_killed": Trouble.CASSANDRA_DOWN,
    "not_enough_space": Trouble.DISK_FULL,
    "disk_full": Trouble.DISK_FULL,
    "destination_full": Trouble.DISK_FULL,
    "counts_differ": Trouble.DIGEST_WRONG,
    "object_damaged": Trouble.DIGEST_WRONG,
    "sstable_damaged": Trouble.DIGEST_WRONG,
    "snapshot_damaged": Trouble.DIGEST_WRONG,
    "sstable_corrupt": Trouble.DIGEST_WRONG,
    "file_differs": Trouble.DIGEST_WRONG,
    "manifest_invalid": Trouble.DIGEST_WRONG,
    "too_late": Trouble.TIME_PASSED,
}


def trouble_of(code: str) -> Trouble:
    """What kind of trouble an error code stands for."""
    return _CODES.get(code, Trouble.OTHER)


def reaction_to(kind: Kind, code: str) -> Reaction:
    """What is done about an error of a phase's command."""
    return REACTIONS.get((kind, trouble_of(code)), OUTSIDE_RESTORE)
