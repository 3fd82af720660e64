"""How one command ended, and a node's part of a phase with it. In: commands, and what an agent said. Out: their ends.
Pure."""

from typing import Any

import msgspec

from agent.wire.commands import CommandView, State
from coordinator.fleet.errors import AgentRefused, TokenRefused
from coordinator.model.commands import PostedCommand
from kit.errors import HelenusError


class Answered(msgspec.Struct, frozen=True):
    """How one node's part of a phase ended. `error` is set unless the state is success."""

    host_id: str
    address: str
    state: State
    result: dict[str, Any]
    error: dict[str, Any] | None

    @property
    def ok(self) -> bool:
        """Whether all was done."""
        return self.state is State.SUCCESS


def answered(command: PostedCommand) -> Answered:
    """The node's part that ended with this command."""
    error = command.error
    if error is None and command.state is not State.SUCCESS:
        error = {"code": str(command.state), "message": f"{command.phase} ended {command.state}", "retry": "later"}
    return Answered(command.host_id, command.address, command.state, command.result or {}, error)


def target_errors(command: PostedCommand) -> list[dict[str, Any]]:
    """What single destinations of an upload or sync failed with."""
    targets = (command.result or {}).get("targets")
    if not isinstance(targets, dict):
        return []
    return [target["error"] for target in targets.values() if isinstance(target, dict) and target.get("error")]


def ended(command: PostedCommand, view: CommandView) -> PostedCommand:
    """The command as its agent says that it ended."""
    return msgspec.structs.replace(
        command,
        accepted=True,
        state=view.state,
        stage=view.stage,
        started=view.started,
        finished=view.finished,
        result=view.result,
        error=view.error,
        instance=view.instance,
    )


def failed(command: PostedCommand, error: dict[str, Any], at: float, state: State = State.FAILED) -> PostedCommand:
    """The command ended by the coordinator\'s own judgement, at a time in unix seconds."""
    return msgspec.structs.replace(command, state=state, finished=at, error=error)


def unheard(answer: object) -> bool:
    """Whether an answer to a cancel, or the lack of one, means that the agent may go on: all but a time-out (it was
    told, and is slow) and a refusal of its own (nothing is left to be cancelled). Who isn't let in told it nothing."""
    if isinstance(answer, AgentRefused):
        return answer.agent_status >= 500 or answer.at_the_door
    return isinstance(answer, HelenusError)


def passing(refused: AgentRefused | TokenRefused) -> bool:
    """Whether a refusal is one of a moment: the same command may be taken later."""
    if isinstance(refused, TokenRefused):
        return True
    return refused.agent_status >= 500 and refused.error.get("retry") in ("now", "later")
