"""Who is there: the agents' reports in, the ring, the nodes that can take part and those that are missing out."""

import msgspec

from agent.wire.backups import PlannedNode
from agent.wire.node import KeyspaceView, RingMember
from coordinator.fleet.registry import Agent
from coordinator.orchestrate.errors import MissingNodes
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scope import union_of_keyspaces

NORMAL = "NORMAL"


class Muster(msgspec.Struct, frozen=True):
    """`ring`: members by any node's view. `present`: host ids of ring members in state NORMAL whose agent answers and
    sees its Cassandra. `missing`: the NORMAL members that lack one. `unreachable`: of those, the host ids whose agent
    itself doesn't answer."""

    ring: list[RingMember]
    present: list[str]
    missing: list[RingMember]
    unreachable: list[str]
    keyspaces: dict[str, KeyspaceView]
    schema_version: str
    cluster_name: str
    down: list[RingMember]
    """members that some node's failure detector holds for down"""
    skews: dict[str, float]
    """address → seconds by which the node's clock is ahead of the coordinator's"""

    def planned(self, host_ids: list[str]) -> list[PlannedNode]:
        """The named members as a plan describes them."""
        return [
            PlannedNode(member.host_id, member.address, member.dc, member.rack, member.tokens)
            for member in self.ring
            if member.host_id in host_ids
        ]

    def addresses(self, host_ids: list[str]) -> list[str]:
        """Addresses of the named members, for people."""
        return [member.address for member in self.ring if member.host_id in host_ids]


async def muster(around: Surroundings, cluster: str) -> Muster:
    """Ask all agents, now: what is decided here must not miss a keyspace that was made, dropped or altered a moment
    ago. Raises `MissingNodes` when none sees its Cassandra."""
    agents = await around.registry.refresh(cluster)
    up = [agent for agent in agents if agent.cassandra_up]
    if not up:
        reasons = {agent.url: agent.error.as_dict() if agent.error else _trouble(agent) for agent in agents}
        raise MissingNodes(
            "No agent of the cluster answers for a running Cassandra",
            missing_nodes=[agent.address for agent in agents],
            reasons=reasons,
        )
    ring: dict[str, RingMember] = {}
    down: dict[str, RingMember] = {}
    for agent in up:
        for member in agent.report.ring if agent.report is not None else []:
            known = ring.setdefault(member.host_id, member)
            if member.state != NORMAL and known.state == NORMAL:
                ring[member.host_id] = member
            if member.up is False:
                down[member.host_id] = member
    hosts = {agent.host_id for agent in up}
    present = sorted(member.host_id for member in ring.values() if member.state == NORMAL and member.host_id in hosts)
    missing = [member for member in ring.values() if member.state == NORMAL and member.host_id not in hosts]
    answering = {agent.host_id for agent in agents if agent.alive}
    first = up[0].identity
    return Muster(
        ring=sorted(ring.values(), key=lambda member: (member.address, member.host_id)),
        present=present,
        missing=missing,
        unreachable=[member.host_id for member in missing if member.host_id not in answering],
        keyspaces=union_of_keyspaces(agent.report.keyspaces for agent in up if agent.report is not None),
        schema_version=first.schema_version if first is not None else "",
        cluster_name=first.cluster_name if first is not None else "",
        down=list(down.values()),
        skews={agent.address: agent.report.now - agent.seen for agent in up if agent.report is not None},
    )


def missing_nodes(missing: list[RingMember]) -> MissingNodes:
    """The error that names ring members without a usable agent."""
    names = [member.address for member in missing]
    return MissingNodes(
        f"{', '.join(names)}: in the ring, but without an agent that answers and sees its Cassandra",
        missing_nodes=names,
        host_ids=[member.host_id for member in missing],
    )


def _trouble(agent: Agent) -> dict[str, object]:
    return dict(agent.report.trouble or {}) if agent.report is not None else {}
