"""Which nodes don't archive their commit log, or not to where a point's log is looked for. In: what their agents say of
it. Out: why, as a clause, and what to do."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agent.wire.archiving import ArchivingView
from agent.wire.destinations import ON_SERVER
from coordinator.orchestrate.archiving.nodes import NOT_DONE, look
from coordinator.orchestrate.run import Surroundings
from kit.some_of import some_of

OFF = "archiving of its commit log is off (POST /{cluster}/backups/pit turns it on)"
TURN_ON = (
    "Turn archiving on with POST /{cluster}/backups/pit (nodes are restarted one after the other), then take a backup: "
    "points after it can be reached. What was written while it was off has no log but what Cassandra still keeps."
)
SEND_AGAIN = (
    "Send POST /{cluster}/backups/pit again with the destinations that are in force: it restarts the nodes that need "
    "it. Then take a backup: points after it can be reached."
)
NAME_IT = "Name one of these places as `pit_destination`: that is where the log is."


class Unarchived(msgspec.Struct, frozen=True):
    """`off`: the log goes nowhere now; else only not to the place that was asked for."""

    why: str
    todo: str
    off: bool


def unarchived(view: ArchivingView, place: str) -> Unarchived | None:
    """None: the node archives to the place (a destination's id, or OPSC_ON_SERVER)."""
    if not view.enabled:
        return Unarchived(OFF, TURN_ON, off=True)
    if view.state in NOT_DONE:
        return Unarchived(NOT_DONE[view.state], SEND_AGAIN, off=True)
    places = [*(target.target.destination for target in view.targets), *([ON_SERVER] if view.keep else [])]
    if place in places:
        return None
    return Unarchived(f"it archives to {', '.join(sorted(places))}, not to {place}", NAME_IT, off=False)


async def unarchived_nodes(around: Surroundings, cluster: str, destination: str | None) -> dict[str, Unarchived]:
    """Address → why, of the nodes whose agent says so. `destination`: where the log is looked for, None = on the nodes.
    Asks all agents."""
    found = {}
    for one in await look(around, cluster):
        why = None if one.view is None else unarchived(one.view, destination or ON_SERVER)
        if why is not None:
            found[one.address] = why
    return found


def shown(nodes: Mapping[str, Unarchived]) -> list[dict[str, str]]:
    """As the answer has them."""
    return [{"address": address, "why": each.why, "todo": each.todo} for address, each in sorted(nodes.items())]


def because(refusal: Mapping[str, Any], cause: Unarchived | None) -> dict[str, Any]:
    """A refusal for a log that lacks something, with why that is and what to do about it first."""
    if cause is None:
        return {**refusal}
    return {**refusal, "message": f"{refusal['message']}; now {cause.why}", "todo": f"{cause.todo} {refusal['todo']}"}


def told_off(nodes: Mapping[str, Unarchived]) -> list[str]:
    """Sentences for whoever has a point that can be had all the same."""
    by_why: dict[tuple[str, str], list[str]] = {}
    for address, each in sorted(nodes.items()):
        if each.off:
            by_why.setdefault((each.why, each.todo), []).append(address)
    return [
        f"{some_of(addresses)}: {why}; a point can be had only as long as the log that there still is leads to it. "
        f"{todo}"
        for (why, todo), addresses in by_why.items()
    ]
