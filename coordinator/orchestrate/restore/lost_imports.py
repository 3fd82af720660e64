"""IMPORTs that nobody heard the end of: their agents were lost, or went on after a cancel, and may still be bringing
rows in. In: a request that ended. Out: those commands."""

from agent.wire.commands import Kind
from coordinator.fleet.errors import AgentMisbehaved, AgentUnreachable, DuplicateHostId, MixedClusters
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import RequestCancelled
from coordinator.store.protocol import Store

UNHEARD = frozenset(
    kind.code for kind in (AgentUnreachable, AgentMisbehaved, DuplicateHostId, MixedClusters, RequestCancelled)
)
"""Codes that the coordinator itself ends a command with, when its agent has not told of an end."""


async def lost_imports(store: Store, request: Request) -> list[PostedCommand]:
    """Those of the request. One that ended well heard of every end."""
    if request.state is RequestState.SUCCESS:
        return []
    return [each for each in await store.commands.of(request.id) if each.kind is Kind.IMPORT and _unheard(each)]


def _unheard(command: PostedCommand) -> bool:
    return not command.state.terminal or (command.error or {}).get("code") in UNHEARD
