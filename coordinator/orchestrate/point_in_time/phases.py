"""The phases of a restore to a point in time, and what is done about trouble in each, as data. Pure.

docs/restore.md prints `REACTIONS`; a test keeps the two equal. Restores' own table is in restore/phases.py.
"""

from agent.wire.commands import Kind
from coordinator.orchestrate.restore.phases import Answer, Phase, Reaction, Trouble, Where

POINT_IN_TIME = (
    Phase(Kind.PIT_CHECK, Where.EVERY),
    Phase(Kind.PIT_FETCH, Where.EVERY),
    Phase(Kind.PIT_TABLES, Where.ONE),
    Phase(Kind.PIT_QUIESCE, Where.EVERY),
    Phase(Kind.PIT_STOP, Where.EVERY),
    Phase(Kind.PIT_COVER, Where.EVERY),
    Phase(Kind.PIT_PLACE, Where.EVERY, irrevocable=True),
    Phase(Kind.PIT_START, Where.EVERY, irrevocable=True),
    Phase(Kind.PIT_VERIFY, Where.EVERY, irrevocable=True),
    Phase(Kind.PIT_OPEN, Where.EVERY, irrevocable=True),
    Phase(Kind.CREATE_VIEWS, Where.ONE),
    Phase(Kind.PIT_CLEAN, Where.EVERY),
)

WITHOUT_CASSANDRA = frozenset(
    {Kind.RESTART, Kind.PIT_STOP, Kind.PIT_COVER, Kind.PIT_PLACE, Kind.PIT_START, Kind.PIT_UNDO}
)
"""What an agent does while its Cassandra is down, as it is then in the whole cluster."""
STARTS_CASSANDRA = frozenset({Kind.PIT_QUIESCE, Kind.PIT_VERIFY, Kind.PIT_OPEN})
"""Whose agents start a Cassandra that ended meanwhile: until another one did the whole cluster would be shut."""

_PASSED = 9
"""As restore/phases.py has it: starts wait for one another in an agent's lane."""

_ABORT = Reaction(Answer.ABORT)
_STOP = Reaction(Answer.STOP)
_CONTINUE = Reaction(Answer.CONTINUE)
_BEFORE = Reaction(Answer.ABORT, retries=3, patient=True)
_AFTER = Reaction(Answer.STOP, retries=3, patient=True)
_LATE_BEFORE = Reaction(Answer.ABORT, retries=_PASSED)
_LATE_AFTER = Reaction(Answer.STOP, retries=_PASSED)
_PATIENT_ABORT = Reaction(Answer.ABORT, patient=True)
_TWICE_ABORT = Reaction(Answer.ABORT, retries=2, patient=True)
_ONCE_ABORT = Reaction(Answer.ABORT, retries=1)

_TABLE: dict[Kind, tuple[Reaction, Reaction, Reaction, Reaction, Reaction, Reaction]] = {
    # phase: (agent lost, Cassandra down, disk full, digest wrong, time passed, anything else)
    Kind.RESTART: (_BEFORE, _ABORT, _ABORT, _ABORT, _LATE_BEFORE, _ONCE_ABORT),
    Kind.PIT_CHECK: (_PATIENT_ABORT, _TWICE_ABORT, _ABORT, _ABORT, _ABORT, _ABORT),
    Kind.PIT_FETCH: (_PATIENT_ABORT, _TWICE_ABORT, _ABORT, _ONCE_ABORT, _ABORT, _ONCE_ABORT),
    Kind.PIT_TABLES: (Reaction(Answer.WAIT, retries=3), _BEFORE, _ABORT, _ABORT, _LATE_BEFORE, _ABORT),
    Kind.PIT_QUIESCE: (_BEFORE, _BEFORE, _ABORT, _ABORT, _LATE_BEFORE, _ONCE_ABORT),
    Kind.PIT_STOP: (_BEFORE, _ABORT, _ABORT, _ABORT, _LATE_BEFORE, _ONCE_ABORT),
    Kind.PIT_COVER: (_BEFORE, _ABORT, _ABORT, _ABORT, _ABORT, _ONCE_ABORT),
    Kind.PIT_PLACE: (_AFTER, _STOP, _STOP, _STOP, _LATE_AFTER, Reaction(Answer.STOP, retries=1)),
    Kind.PIT_START: (_AFTER, _STOP, _STOP, _STOP, _LATE_AFTER, _STOP),
    Kind.PIT_VERIFY: (_AFTER, Reaction(Answer.STOP, retries=2, patient=True), _STOP, _STOP, _STOP, _STOP),
    Kind.PIT_OPEN: (_AFTER, _AFTER, _STOP, _STOP, _LATE_AFTER, Reaction(Answer.STOP, retries=1)),
    Kind.PIT_UNDO: (_AFTER, _STOP, _STOP, _STOP, _LATE_AFTER, Reaction(Answer.STOP, retries=1)),
    Kind.PIT_CLEAN: (_CONTINUE, _CONTINUE, _CONTINUE, _CONTINUE, _CONTINUE, Reaction(Answer.CONTINUE, retries=1)),
}

REACTIONS: dict[tuple[Kind, Trouble], Reaction] = {
    (kind, trouble): reaction
    for kind, reactions in _TABLE.items()
    for trouble, reaction in zip(Trouble, reactions, strict=True)
}
