"""The nodes of a cluster for people: agents and the rings they see in, one line per node out. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from agent.wire.node import MOST_BYTES, RingMember
from coordinator.fleet.registry import Agent
from coordinator.model.cluster import ClusterNode
from coordinator.orchestrate.point_in_time.stopped import Stopped


def cluster_nodes(
    agents: Iterable[Agent], seen_up: Mapping[str, Mapping[str, bool]] | None = None, by: Stopped | None = None
) -> list[ClusterNode]:
    """Ring members joined with agents by host id, or else by address; other agents stand by themselves. `seen_up`:
    agent's URL → host id → whether that agent's node holds the member for up, beside what the reports say. `by`: the
    restore that has stopped nodes."""
    agents = list(agents)
    ring: dict[str, RingMember] = {}
    votes = _Votes()
    witnesses: dict[int, tuple[list[RingMember], list[Agent]]] = {}
    for agent in agents:
        if agent.cassandra_up and agent.report is not None:
            # Agents that see the same share one object (`coordinator.fleet.sharing`): it is walked once.
            witnesses.setdefault(id(agent.report.ring), (agent.report.ring, []))[1].append(agent)
    for members, seers in witnesses.values():
        own = {agent.host_id for agent in seers}
        told = {member.host_id: member.up for member in members if member.up is not None}
        for member in members:
            ring.setdefault(member.host_id, member)
        for host_id, up in told.items():
            # What a node holds of itself is no witness: it would outvote the one other node of a pair.
            votes.add(host_id, up, len(seers) - (host_id in own))
        for agent in seers:
            for host_id, up in (seen_up or {}).get(agent.url, {}).items():
                if host_id != agent.host_id:
                    if host_id in told:
                        votes.add(host_id, told[host_id], -1)
                    votes.add(host_id, up, 1)
    by_host = _joined(agents, ring)
    nodes = [_node(member, by_host.get(member.host_id), votes.of(member.host_id), by) for member in ring.values()]
    ours = set(by_host.values())
    nodes += [_alone(agent, by) for agent in agents if agent not in ours]
    return sorted(nodes, key=lambda node: (node.address, node.host_id))


def _joined(agents: Iterable[Agent], ring: Mapping[str, RingMember]) -> dict[str, Agent]:
    """Host id → agent of the ring's members. One that nobody heard since this coordinator began can't say whose it is:
    it is that of the member on whose own address it listens, when that has no other and no other agent listens
    there."""
    by_host = {agent.host_id: agent for agent in agents if agent.host_id in ring and agent.host_id is not None}
    at: dict[str | None, list[Agent]] = {}
    for agent in agents:
        if agent.host_id is None:
            at.setdefault(urlsplit(agent.url).hostname, []).append(agent)
    for host_id, member in ring.items():
        near = at.get(member.address, [])
        if host_id not in by_host and len(near) == 1:
            by_host[host_id] = near.pop()
    return by_host


class _Votes:
    """How many nodes hold each member for up, and for down."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, bool]] = Counter()

    def add(self, host_id: str, up: bool, count: int) -> None:
        self._counts[host_id, up] += count

    def of(self, host_id: str) -> bool | None:
        """What more of them say; half of them are enough to hold it for down. None: nobody says anything."""
        up, down = self._counts[host_id, True], self._counts[host_id, False]
        return up > down if up or down else None


def _node(member: RingMember, agent: Agent | None, voted: bool | None, by: Stopped | None) -> ClusterNode:
    """`voted`: whether the other nodes hold it for up."""
    up = True if voted is None and agent is not None and agent.cassandra_up else voted
    return ClusterNode(
        address=member.address,
        host_id=member.host_id,
        agent=agent.url if agent is not None else "",
        agent_up=agent is not None and agent.alive,
        dc=member.dc,
        rack=member.rack,
        version=member.version,
        agent_version=agent.report.agent_version if agent is not None and agent.report is not None else "",
        state=member.state,
        up=up,
        tokens=member.tokens,
        free_bytes=_free(agent),
        trouble=_trouble(agent, member.host_id, by),
        up_unknown="" if up is not None else _unknown(agent),
        held_bytes=_held(agent),
        strays=list(agent.report.stray_snapshots) if agent is not None and agent.report is not None else [],
    )


def _alone(agent: Agent, by: Stopped | None) -> ClusterNode:
    return ClusterNode(
        address=agent.address,
        host_id=agent.host_id or "",
        agent=agent.url,
        agent_up=agent.alive,
        agent_version=agent.report.agent_version if agent.report is not None else "",
        free_bytes=_free(agent),
        trouble=_trouble(agent, agent.host_id or "", by),
        up_unknown=_unknown(agent),
        held_bytes=_held(agent),
        strays=list(agent.report.stray_snapshots) if agent.report is not None else [],
    )


def _unknown(agent: Agent | None) -> str:
    """Why nobody can say whether the node is up: rings are read without the failure detector's view."""
    if agent is None:
        return "no configured agent is of this node"
    return "its agent sees no Cassandra" if agent.alive else "its agent doesn't answer"


def _trouble(agent: Agent | None, host_id: str, by: Stopped | None) -> dict[str, object] | None:
    """What is wrong with the node; of one that a restore has stopped nobody is told to start it."""
    told = _told(agent)
    if by is None or told is None or not by.has(host_id) or (agent is not None and agent.cassandra_up):
        return told
    return by.error(str(told.get("message") or told.get("code") or ""), trouble=told.get("code")).as_dict()


def _told(agent: Agent | None) -> dict[str, object] | None:
    if agent is None:
        return {"code": "no_agent", "message": "no configured agent answers for this node"}
    if agent.error is not None:
        return agent.error.as_dict()
    return agent.report.trouble if agent.report is not None else None


def _free(agent: Agent | None) -> int | None:
    """Bytes free over the node's data volumes, each counted once."""
    if agent is None or agent.report is None or not agent.report.data_directories:
        return None
    volumes = {directory.volume: directory.free_bytes for directory in agent.report.data_directories}
    return min(sum(volumes.values()), MOST_BYTES)


def _held(agent: Agent | None) -> int | None:
    """What the agent told last of its node's SSTables."""
    return agent.report.load_bytes if agent is not None and agent.report is not None else None
