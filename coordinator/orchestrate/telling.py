"""Commands in words, for people. In: a command as it was posted, and its request. Out: what it is, what it waits for.
Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.wire.commands import Kind
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import Request
from coordinator.orchestrate.restore.phases import Trouble, trouble_of


def told_as(command: PostedCommand, request: Request) -> str:
    """Kind, tag and destinations: who waits for it finds the request by them."""
    arguments = command.arguments
    targets = [*(arguments.get("targets") or ()), arguments.get("target"), arguments.get("source")]
    targets = [target.get("target", target) for target in targets if isinstance(target, Mapping)]
    places = ", ".join(str(target["destination"]) for target in targets)
    tag = arguments.get("tag") or request.tag
    joined = {Kind.UPLOAD: " to ", Kind.SYNC: " to ", Kind.FETCH: " from "}.get(command.kind, " in ")
    what = f"the {request.kind} of {tag}" if command.kind is Kind.SWEEP else tag
    named = f" {'for' if command.kind is Kind.SWEEP else 'of'} {what}" if tag else ""
    return f"{command.kind}{named}{joined + places if places else ''}"


def waits_for_its_node(command: PostedCommand, until: float) -> str:
    """What a command that failed waits for before it is tried again, at the latest until then (unix seconds)."""
    error = command.error or {}
    down = trouble_of(str(error.get("code", ""))) is Trouble.CASSANDRA_DOWN
    what = f"Cassandra at {command.address}" if down else f"the agent of {command.address}"
    latest = datetime.fromtimestamp(until, UTC)
    return f"waits for {what}, tries again until {latest:%H:%M} UTC ({error.get('message', 'no reason given')})"


def interrupted(command: PostedCommand) -> dict[str, Any]:
    """The error of a command that its agent doesn't know any more."""
    return {
        "code": "interrupted",
        "message": f"the agent of {command.address} lost its state during {command.phase}",
        "todo": "Look at the node's state and decide.",
        "retry": "never",
        "fields": {"host_id": command.host_id},
    }
