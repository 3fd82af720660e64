"""Who is there: the agents' reports in, the ring, the nodes that can take part and those that are missing out."""

from collections.abc import Mapping, Sequence

import msgspec

from agent.wire.backups import PlannedNode
from agent.wire.node import KeyspaceView, RingMember
from coordinator.fleet.registry import Agent
from coordinator.orchestrate.errors import MissingNodes, NobodyAnswers
from coordinator.orchestrate.point_in_time.errors import StoppedByRestore
from coordinator.orchestrate.point_in_time.stopped import Stopped, stopped_by
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scope import union_of_keyspaces

NORMAL = "NORMAL"


class Muster(msgspec.Struct, frozen=True):
    """`ring`: members by any node's view. `present`: host ids of ring members in state NORMAL whose agent answers and
    sees its Cassandra. `missing`: the NORMAL members that lack one."""

    ring: list[RingMember]
    present: list[str]
    missing: list[RingMember]
    keyspaces: dict[str, KeyspaceView]
    schema_version: str
    cluster_name: str
    down: list[RingMember]
    """members that some node's failure detector holds for down"""
    skews: dict[str, float]
    """address → seconds by which the node's clock is ahead of the coordinator's"""
    reasons: dict[str, str] = {}
    """host id of a missing member → why it can't take part, in words"""
    stopped: list[str] = []
    """host ids of the missing members whose Cassandra doesn't run, as its own agent or the ring says"""
    stopped_by: Stopped | None = None
    """where members are missing: the restore to a point that has stopped nodes"""

    def planned(self, host_ids: list[str]) -> list[PlannedNode]:
        """The named members as a plan describes them."""
        named = set(host_ids)
        return [
            PlannedNode(member.host_id, member.address, member.dc, member.rack, member.tokens)
            for member in self.ring
            if member.host_id in named
        ]

    def addresses(self, host_ids: list[str]) -> list[str]:
        """Addresses of the named members, for people."""
        named = set(host_ids)
        return [member.address for member in self.ring if member.host_id in named]


async def muster(around: Surroundings, cluster: str) -> Muster:
    """Ask all agents, now: what is decided here must not miss a keyspace that was made, dropped or altered a moment
    ago. Raises `NobodyAnswers` when none sees its Cassandra, `StoppedByRestore` when a restore to a point stopped them.
    """
    agents = await around.registry.refresh(cluster)
    up = [agent for agent in agents if agent.cassandra_up]
    if not up:
        raise await nobody_answers(around, cluster, agents)
    reports = [agent.report for agent in up if agent.report is not None]
    ring: dict[str, RingMember] = {}
    down: dict[str, RingMember] = {}
    # Agents that see the same share one object (`coordinator.fleet.sharing`): it is walked once.
    for members in {id(report.ring): report.ring for report in reports}.values():
        for member in members:
            known = ring.setdefault(member.host_id, member)
            if member.state != NORMAL and known.state == NORMAL:
                ring[member.host_id] = member
            if member.up is False:
                down[member.host_id] = member
    hosts = {agent.host_id for agent in up}
    present = sorted(member.host_id for member in ring.values() if member.state == NORMAL and member.host_id in hosts)
    missing = [member for member in ring.values() if member.state == NORMAL and member.host_id not in hosts]
    by_host = {agent.host_id: agent for agent in agents if agent.host_id is not None}
    first = up[0].identity
    return Muster(
        stopped_by=await stopped_by(around.store, cluster) if missing or down else None,
        ring=sorted(ring.values(), key=lambda member: (member.address, member.host_id)),
        present=present,
        missing=missing,
        keyspaces=union_of_keyspaces({id(report.keyspaces): report.keyspaces for report in reports}.values()),
        schema_version=first.schema_version if first is not None else "",
        cluster_name=first.cluster_name if first is not None else "",
        down=list(down.values()),
        skews={agent.address: agent.skew for agent in up if agent.report is not None},
        reasons={member.host_id: _reason(by_host.get(member.host_id)) for member in missing},
        stopped=[member.host_id for member in missing if member.host_id in down or _alive(by_host, member.host_id)],
    )


def _alive(agents: Mapping[str, Agent], host_id: str) -> bool:
    """Whether the agent of a missing member answers: then it is its Cassandra that doesn't."""
    agent = agents.get(host_id)
    return agent is not None and agent.alive


def missing_nodes(
    missing: list[RingMember],
    present: Muster,
    kind: type[MissingNodes] = MissingNodes,
    also: str = "",
    **fields: object,
) -> MissingNodes:
    """The error that names ring members without a usable agent, or says that a restore has stopped them. `also`: what
    else its message says; `fields`: its further ones."""
    why = {member.address: present.reasons.get(member.host_id, "it has no agent that answers") for member in missing}
    told = f"Missing nodes of the ring: {'; '.join(f'{address}: {reason}' for address, reason in why.items())}{also}"
    named = {"missing_nodes": list(why), "host_ids": [member.host_id for member in missing], "reasons": why}
    by = present.stopped_by
    if by is not None and any(by.has(member.host_id) for member in missing):
        return by.error(told, **fields, **named)
    return kind(told, **fields, **named)


async def nobody_answers(around: Surroundings, cluster: str, agents: Sequence[Agent]) -> MissingNodes:
    """The error that says of each agent whether it is the agent or its Cassandra: `NobodyAnswers`, or
    `StoppedByRestore`, with nobody's advice to start it."""
    by = await stopped_by(around.store, cluster)
    told = "; ".join(f"{agent.address}: {_reason(agent)}" for agent in agents)
    message = f"No agent of the cluster answers for a running Cassandra ({told})"
    missing = [agent.address for agent in agents]
    reasons = {agent.url: agent.error.as_dict() if agent.error else _trouble(agent) for agent in agents}
    if by is None or not any(by.has(agent.host_id or "") for agent in agents):
        return NobodyAnswers(message, missing_nodes=missing, reasons=reasons)
    for agent in agents:
        if by.has(agent.host_id or ""):
            reasons[agent.url] = {**reasons[agent.url], "todo": StoppedByRestore.todo}
    return by.error(message, missing_nodes=missing, reasons=reasons)


def _reason(agent: Agent | None) -> str:
    """Whether it is the agent that doesn't answer, or its Cassandra."""
    if agent is None:
        return "no configured agent answers for this node"
    if agent.error is not None:
        return f"its agent doesn't answer ({agent.error.message})"
    why = str(_trouble(agent).get("message") or _trouble(agent).get("code") or "no reason given")
    return f"its agent answers, but its Cassandra doesn't ({why})"


def _trouble(agent: Agent) -> dict[str, object]:
    return dict(agent.report.trouble or {}) if agent.report is not None else {}
