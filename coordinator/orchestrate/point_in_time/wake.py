"""Nodes that are down before anything else: each is started once, so that its own commit log is replayed and its memory
of writes lies in SSTables and in the log as everybody else's. In: the ring. Out: addresses of those that were started.
"""

from urllib.parse import urlsplit

from agent.wire.archiving import RestartArguments
from agent.wire.commands import Kind
from agent.wire.node import RingMember
from coordinator.fleet.registry import Agent
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import Muster, missing_nodes, muster
from coordinator.orchestrate.outcome import nodes_failed
from coordinator.orchestrate.point_in_time.check import causes
from coordinator.orchestrate.point_in_time.errors import PointNeedsAll
from coordinator.orchestrate.point_in_time.in_turn import InTurn
from coordinator.orchestrate.run import Run


async def start_what_is_down(run: Run, fan_out: FanOut) -> list[str]:
    """Raises `PointNeedsAll` for nodes whose agent doesn't answer, `NobodyAnswers`, `NodesFailed`."""
    present = await muster(run.around, run.cluster)
    if not present.missing:
        return []
    agents = run.around.registry.agents(run.cluster)
    lost = [member for member in present.missing if not _agent_found(run, member, agents, present)]
    if lost:
        raise missing_nodes(lost, present.reasons, PointNeedsAll)
    started: list[str] = []

    async def done(answer: Answered) -> None:
        started.append(answer.address)

    told = {member.host_id: RestartArguments() for member in present.missing}
    failed = await InTurn(run, fan_out).ask("pit_wake", Kind.RESTART, told, done)
    if failed:
        raise nodes_failed("Starting what was down", causes(failed))
    return sorted(started)


def _agent_found(run: Run, member: RingMember, agents: list[Agent], present: Muster) -> bool:
    """Whether the member's agent answers. One that never saw its Cassandra doesn't know whose it is: it is the one that
    listens on the node's own address, or the only one left for the only member left."""
    registry, cluster = run.around.registry, run.cluster
    agent = registry.known(cluster, member.host_id)
    if agent is None:
        nameless = [each for each in agents if each.alive and each.host_id is None]
        near = [each for each in nameless if urlsplit(each.url).hostname == member.address]
        if len(near) != 1 and len(nameless) == len(present.missing) == 1:
            near = nameless
        if len(near) != 1:
            return False
        agent = near[0]
        registry.hint(cluster, member.host_id, agent.url, member.address)
    return agent.alive
