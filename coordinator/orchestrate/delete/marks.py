"""How far a delete has come. In: its request, and its commands as they were posted. Out: the nodes that have put the
mark of a backup in a destination, or cleared what they kept of it, and those that may have. From the first one on a
cancel comes too late.
"""

from agent.wire.commands import Kind, State
from agent.wire.destinations import ON_SERVER
from coordinator.fleet.reports import Reports
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import Request
from coordinator.orchestrate.errors import DeletedAlready, RequestCancelled
from coordinator.orchestrate.outcome import NOT_THERE
from coordinator.store.protocol import Store


async def refuse_too_late(store: Store, reports: Reports, request: Request) -> None:
    """Raise `DeletedAlready` when a node has deleted its part, or has begun to."""
    commands = await store.commands.of(request.id)
    if marked_by(commands) or any(_begun(command, reports) for command in commands):
        raise too_late(request, "the cancel was not taken")


def marked_by(commands: list[PostedCommand]) -> list[str]:
    """Addresses of the nodes that have deleted their part."""
    done = {each.address for each in commands if each.kind is Kind.DELETE and each.state is State.SUCCESS}
    return sorted(done)


def told(command: PostedCommand) -> bool:
    """Whether it was the agent that told how the command ended: one that the coordinator counts as cancelled may not
    have heard of that, or may be slow to end."""
    by_us = command.state is State.CANCELLED and (command.error or {}).get("code") == RequestCancelled.code
    return command.state.terminal and not by_us


def called_back(command: PostedCommand) -> bool:
    """Whether its agent was asked to stop the command, and answered."""
    return command.state is State.CANCELLED and not command.cancel_owed


def may_have_deleted(command: PostedCommand) -> bool:
    """Whether a command that did not end well may have deleted its part: what it does after it has entered a stage
    can't be undone (docs/stages.md)."""
    found = (command.error or {}).get("code") not in NOT_THERE
    return command.kind is Kind.DELETE and command.state is not State.SUCCESS and command.stage != "" and found


def too_late(request: Request, why: str) -> DeletedAlready:
    """The error of a cancel that can't give the backup back."""
    on_nodes = request.destinations == [ON_SERVER]
    what = "deleted" if on_nodes else "deleted; its space goes with the next sweep"
    return DeletedAlready(f"{request.tag} is {what}: {why}", request=request.id, tag=request.tag)


def _begun(command: PostedCommand, reports: Reports) -> bool:
    """Whether the agent is said to be at it; what it only keeps queued can still be called back."""
    live = None if command.state.terminal or command.kind is not Kind.DELETE else reports.live(command.id)
    return live is not None and live.state is State.RUNNING
