"""Nodes that are down before anything else: each is started once, so that its own commit log is replayed and its memory
of writes lies in SSTables and in the log as everybody else's. In: the ring. Out: addresses of those that were started.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from agent.wire.archiving import RestartArguments
from agent.wire.commands import Kind
from agent.wire.node import RingMember
from coordinator.fleet.registry import Agent
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import Muster, missing_nodes, muster, nobody_answers
from coordinator.orchestrate.outcome import nodes_failed
from coordinator.orchestrate.point_in_time.check import causes
from coordinator.orchestrate.point_in_time.errors import PointNeedsAll
from coordinator.orchestrate.point_in_time.in_turn import InTurn
from coordinator.orchestrate.run import Run


async def start_what_is_down(run: Run, fan_out: FanOut) -> list[str]:
    """Raises `PointNeedsAll` for nodes whose agent doesn't answer, `NobodyAnswers` when no Cassandra runs and not every
    agent says whose it is, `NodesFailed`."""
    started: set[str] = set()

    async def start(host_ids: Iterable[str]) -> None:
        async def done(answer: Answered) -> None:
            started.add(answer.address)

        told = {host_id: RestartArguments() for host_id in host_ids}
        failed = await InTurn(run, fan_out).ask("pit_wake", Kind.RESTART, told, done)
        if failed:
            raise nodes_failed("Starting what was down", causes(failed))

    agents = await run.around.registry.refresh(run.cluster)
    if not any(agent.cassandra_up for agent in agents):
        await start(await _everybody(run, agents))
    present = await muster(run.around, run.cluster)
    lost = [member for member in present.missing if not _agent_found(run, member, agents, present)]
    if lost:
        raise missing_nodes(lost, present, PointNeedsAll)
    await start(member.host_id for member in present.missing)
    return sorted(started)


async def _everybody(run: Run, agents: list[Agent]) -> list[str]:
    """The host ids of a cluster in which no Cassandra runs, as the agents know them durably: nobody tells of the ring.
    Raises `NobodyAnswers` unless every agent answers and each is another node's."""
    found: dict[str, Agent] = {}
    for agent in agents:
        last = agent.report.last_known if agent.report is not None else None
        identity = last or agent.identity
        if not agent.alive or identity is None or identity.host_id in found:
            raise await nobody_answers(run.around, run.cluster, agents)
        found[identity.host_id] = agent
        run.around.registry.hint(run.cluster, identity.host_id, agent.url, identity.address)
    return sorted(found)


def _agent_found(run: Run, member: RingMember, agents: list[Agent], present: Muster) -> bool:
    """Whether the member's agent answers. One that never saw its Cassandra doesn't know whose it is: it is the one that
    listens on the node's own address, or the only one left for the only member left."""
    registry, cluster = run.around.registry, run.cluster
    agent = registry.known(cluster, member.host_id)
    if agent is None:
        ring = {each.host_id for each in present.ring}
        nameless = [each for each in agents if each.alive and each.identity is None and each.host_id not in ring]
        near = [each for each in nameless if urlsplit(each.url).hostname == member.address]
        if len(near) != 1 and len(nameless) == len(present.missing) == 1:
            near = nameless
        if len(near) != 1:
            return False
        agent = near[0]
        registry.hint(cluster, member.host_id, agent.url, member.address)
    return agent.alive
