"""What is done about trouble in a phase of any flow. In: the phase's kind, an error's code. Out: the reaction. Pure."""

from agent.wire.commands import Kind
from coordinator.fleet.errors import AgentUnreachable
from coordinator.orchestrate.point_in_time import phases as point_in_time
from coordinator.orchestrate.restore import phases as restore
from coordinator.orchestrate.restore.phases import OUTSIDE_RESTORE, Answer, Reaction, trouble_of

_REACTIONS = {**point_in_time.REACTIONS, **restore.REACTIONS}


def reaction_to(kind: Kind, code: str) -> Reaction:
    """What is done about an error of a phase's command."""
    return _REACTIONS.get((kind, trouble_of(code)), OUTSIDE_RESTORE)


def waited_for(kind: Kind) -> bool:
    """Whether nothing else may happen until the agent that was told has said how it ended."""
    return reaction_to(kind, AgentUnreachable.code).then is Answer.WAIT
