"""Who archives. In: the agents' views and the ring. Out: each node as people see it, and why it doesn't archive as it
should.

What an agent said last is remembered while it doesn't answer: that what was safe then is safe still holds.
"""

import msgspec

from agent.wire.archiving import ArchivingView
from agent.wire.destinations import ON_SERVER
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused
from coordinator.fleet.registry import Agent
from coordinator.model.archiving import NodeArchiving, NodeLook
from coordinator.model.orders import ArchivingOrder, places_of
from coordinator.orchestrate.muster import NORMAL
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

UNSEEN = "unseen"
NEVER_TOLD = "its agent was not told to archive"
NOT_DONE = {
    "off": "its Cassandra doesn't archive",
    "lost": "its archiving properties or its archive command were replaced",
    "restart_needed": "its Cassandra was not restarted since it was told to archive",
}
"""States of an agent that was told to archive: why its node doesn't."""


async def look(around: Surroundings, cluster: str) -> list[NodeLook]:
    """Ask all agents, and find the ring's members that have none. By address."""
    agents = await around.registry.refresh(cluster, around.timing.report_age)
    asked = dict(await on_each([agent for agent in agents if agent.alive], lambda agent: agent.client.archiving()))
    found = [_look(agent, asked.get(agent)) for agent in agents]
    known = {one.host_id for one in found}
    reports = [agent.report for agent in agents if agent.cassandra_up]
    rings = {id(report.ring): report.ring for report in reports if report is not None}
    members = {member.host_id: member for ring in rings.values() for member in ring}
    unseen = "no configured agent answers for this node"
    found += [
        NodeLook(member.address, host_id, unseen=unseen) for host_id, member in members.items() if host_id not in known
    ]
    normal = {host_id for host_id, member in members.items() if member.state == NORMAL}
    found = [msgspec.structs.replace(one, normal=one.host_id in normal) for one in found]
    return sorted(found, key=lambda one: (one.address, one.host_id))


def _look(agent: Agent, said: ArchivingView | HelenusError | None) -> NodeLook:
    host_id = agent.host_id or ""
    if isinstance(said, ArchivingView):
        return NodeLook(agent.address, host_id, said)
    if isinstance(said, AgentRefused) and said.agent_status == 404:
        return NodeLook(agent.address, host_id, unseen="its agent is of a release that can't archive")
    error = said or agent.error
    why = error.message if error is not None else "it was never heard"
    return NodeLook(agent.address, host_id, unseen=f"its agent doesn't answer ({why})")


def judged(seen: NodeLook, order: ArchivingOrder | None, remembered: ArchivingView | None = None) -> NodeArchiving:
    """A node for people, measured by what was ordered (None: nobody archives, and nobody should)."""
    view = seen.view or remembered
    if view is None:
        return NodeArchiving(seen.address, seen.host_id, UNSEEN, without=_without(seen, order))
    errors = [place.error for place in view.places.values() if place.error]
    return NodeArchiving(
        address=seen.address,
        host_id=seen.host_id,
        state=view.state if seen.view is not None else UNSEEN,
        without=_without(seen, order),
        safe={place: log.safe_until for place, log in view.places.items()},
        since={place: log.safe_since for place, log in view.places.items()},
        waiting_bytes=max((place.waiting_bytes for place in view.places.values()), default=0),
        unarchived_bytes=view.unarchived_bytes,
        gaps=view.gaps,
        errors=[*errors, *([view.trouble] if view.trouble else [])],
        tail_refused=view.tail_refused,
        tellable=seen.normal and seen.view is not None,
    )


def _without(seen: NodeLook, order: ArchivingOrder | None) -> str:
    view = seen.view
    if order is None:
        return ""
    if view is None:
        return seen.unseen if order.enabled else ""
    if not order.enabled:
        if view.enabled:
            return "its agent was not told that archiving is off"
        return "its Cassandra archives until it is restarted" if view.state in ("on", "restart_needed") else ""
    if not view.enabled:
        return NEVER_TOLD
    if view.state in NOT_DONE:
        return NOT_DONE[view.state]
    places = {*(target.target.destination for target in view.targets), *([ON_SERVER] if view.keep else [])}
    missing = sorted({*places_of(order)} - places)
    return f"it doesn't archive to {', '.join(missing)}" if missing else ""


def safe_in(node: NodeArchiving, destination: str | None) -> float | None:
    """The time up to which all that the node received is safe in the destination (None: in every place that it archives
    to), unix seconds; None: nothing is."""
    if destination is not None:
        return node.safe.get(destination)
    times = [*node.safe.values()]
    return min((time for time in times if time is not None), default=None) if None not in times else None
