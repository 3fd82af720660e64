"""Which agents a cluster has: configured URLs in, each agent's last report, health and host id out."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from agent.wire.node import NODE_KNOWN, PROTOCOL, NodeIdentity, NodeReport
from coordinator.fleet.asking import Asking
from coordinator.fleet.client import AgentClient
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import (
    AgentMisbehaved,
    AgentRefused,
    AgentUnreachable,
    DuplicateHostId,
    MixedClusters,
)
from coordinator.fleet.pace import age_of
from coordinator.fleet.sharing import SharedReports
from coordinator.model.errors import NoSuchCluster
from kit.errors import HelenusError
from kit.groups import TaskGroup

MOST_ASKED = 5
"""Agents that are asked whom their node holds for up."""
OLDEST = 300.0
"""Seconds after which what an agent said then is told to nobody: who looks first waits until it was asked again."""
FEW = 64
"""Agents whose reports are waited for when people look."""


class Agent:
    """An agent as the coordinator knows it. `report` is the newest one, taken at `seen` (unix seconds), its ring and
    keyspaces shared with the other agents' (`coordinator.fleet.sharing`); `error` is why
    the newest call failed, None when it didn't; `identity` stays known while the node or the agent is down;
    `remembered`: while there is none, who the node was by its agent's own memory."""

    def __init__(self, client: AgentClient) -> None:
        self.client = client
        self.report: NodeReport | None = None
        self.seen = 0.0
        self.error: HelenusError | None = None
        self.identity: NodeIdentity | None = None
        self.remembered: NodeIdentity | None = None
        self._held: dict[str, tuple[str, int]] = {}

    def holds(self, destination: str, revision: int) -> bool:
        """Whether this life of the agent is known to hold that revision of a destination's settings, or a newer one."""
        instance, known = self._held.get(destination, ("", 0))
        return self.report is not None and instance == self.report.instance and known >= revision

    def learn_held(self, destination: str, revision: int | None) -> None:
        """Remember the revision that the agent holds; None: nothing is known (any more)."""
        self._held.pop(destination, None)
        if revision is not None and self.report is not None:
            self._held[destination] = (self.report.instance, revision)

    @property
    def host_id(self) -> str | None:
        """The node's Cassandra host id, as soon as it was seen once, be it by the agent alone."""
        known = self.identity or self.remembered
        return known.host_id if known is not None else None

    @property
    def url(self) -> str:
        """Where the agent listens."""
        return self.client.url

    @property
    def alive(self) -> bool:
        """Whether the newest call was answered."""
        return self.error is None and self.report is not None

    @property
    def cassandra_up(self) -> bool:
        """Whether the agent answers and sees its Cassandra."""
        return self.error is None and self.report is not None and self.report.node is not None

    @property
    def skew(self) -> float:
        """Seconds by which the node's clock was ahead of this one when it was last heard; 0 while it never was."""
        return self.report.now - self.seen if self.report is not None else 0.0

    @property
    def address(self) -> str:
        """What people call the node: its Cassandra address, else the agent's URL."""
        known = self.identity or self.remembered
        return known.address if known is not None else self.url


class Registry:
    """The agents of every configured cluster."""

    def __init__(
        self,
        clusters: Mapping[str, Sequence[AgentClient]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._agents = {cluster: [Agent(client) for client in clients] for cluster, clients in clusters.items()}
        self._hints: dict[str, dict[str, tuple[str, str]]] = {cluster: {} for cluster in clusters}
        self._shared = {cluster: SharedReports() for cluster in clusters}
        self._read: Counter[str] = Counter()
        """reports that were read since `SharedReports.keep_only`, by cluster"""
        self._by_host: dict[str, dict[str, Agent]] = {cluster: {} for cluster in clusters}
        """where `known` found an agent last"""
        self._refreshed: dict[str, float] = {}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._asking = {
            agent: Asking(partial(self._ask, agent, cluster)) for cluster in clusters for agent in self._agents[cluster]
        }

    def clusters(self) -> list[str]:
        """The configured clusters' ids."""
        return list(self._agents)

    def agents(self, cluster: str) -> list[Agent]:
        """All agents of a cluster, as last seen. Raises `NoSuchCluster`."""
        if cluster not in self._agents:
            raise NoSuchCluster(cluster)
        return self._agents[cluster]

    async def refresh(self, cluster: str, max_age: float = 0.0) -> list[Agent]:
        """Ask every agent whose report is older than `max_age` seconds, side by side; never raises for one that is
        down. Each is asked by one task at a time: who takes an older report takes the answer that another one waits
        for. Raises `DuplicateHostId`, `MixedClusters`."""
        agents = self.agents(cluster)
        async with TaskGroup() as group:
            for agent in agents:
                if not agent.alive or self._clock() - agent.seen > max_age:
                    group.create_task(self._asking[agent].done(fresh=max_age <= 0.0))
        self._keep_shared(cluster)
        self._refuse_contradictions(cluster)
        return agents

    async def recent(self, cluster: str, max_age: float) -> list[Agent]:
        """As `refresh`, for what people look at. Of more than `FEW` agents nobody waits for new reports once all were
        heard: what is known is given, up to `age_of` their number old, and those that are older, or didn't answer, are
        asked meanwhile. A thousand reports of a thousand members are seconds of work. Only who looks first after so
        long that some are older than `OLDEST` waits."""
        agents = self.agents(cluster)
        if len(agents) <= FEW or not all(agent.report is not None or agent.error is not None for agent in agents):
            return await self.refresh(cluster, max_age)
        age = max(max_age, age_of(len(agents)))
        asking = self._refreshing.get(cluster)
        if (asking is None or asking.done()) and self._clock() - self._refreshed.get(cluster, 0.0) > age:
            self._refreshed[cluster] = self._clock()
            asking = asyncio.create_task(self._refresh(cluster, age), name=f"reports of {cluster}")
            self._refreshing[cluster] = asking
        if asking is not None and any(agent.alive and self._clock() - agent.seen > OLDEST for agent in agents):
            await asyncio.wait({asking})
        self._refuse_contradictions(cluster)
        return agents

    async def _refresh(self, cluster: str, max_age: float) -> None:
        # What contradicts is said to who looks.
        with suppress(HelenusError):
            await self.refresh(cluster, max_age)

    async def ask(self, cluster: str, agent: Agent) -> None:
        """Ask one agent, now; never raises for one that is down. Raises `DuplicateHostId`, `MixedClusters`."""
        await self._asking[agent].done(fresh=True)
        if self._read[cluster] >= len(self._agents[cluster]):
            self._keep_shared(cluster)
        self._refuse_contradictions(cluster)

    async def hear(self, cluster: str, agent: Agent) -> None:
        """Have the agent's report: of one that was never heard that which others may be waiting for, else a new one.
        Never raises: the agent's `error` tells."""
        await self._asking[agent].done(fresh=agent.report is not None)

    async def close(self) -> None:
        """Break off what agents are being asked."""
        for task in self._refreshing.values():
            task.cancel()
        await asyncio.gather(*self._refreshing.values(), return_exceptions=True)
        await asyncio.gather(*(asking.close() for asking in self._asking.values()))

    async def by_host(self, cluster: str, max_age: float = 5.0) -> dict[str, Agent]:
        """Host id → agent, of every agent whose host id is known (alive or not)."""
        return {agent.host_id: agent for agent in await self.refresh(cluster, max_age) if agent.host_id is not None}

    async def seen_up(self, cluster: str) -> dict[str, dict[str, bool]]:
        """Agent's URL → host id → whether its node holds that member for up, of a few agents that see their Cassandra.
        With nodetool each one starts a JVM for it."""
        asked = [agent for agent in self.agents(cluster) if agent.cassandra_up][:MOST_ASKED]
        return {
            agent.url: {member.host_id: member.up for member in answer.ring if member.up is not None}
            for agent, answer in await on_each(asked, lambda agent: agent.client.node(members=True))
            if isinstance(answer, NodeReport)
        }

    async def agent_of(self, cluster: str, host_id: str) -> Agent:
        """The agent of a node. Raises `AgentUnreachable` when none has answered for it."""
        for attempt in range(2):
            agent = self.known(cluster, host_id)
            if agent is not None:
                return agent
            if not attempt:
                await self.refresh(cluster, 5.0)
        raise AgentUnreachable(f"No configured agent answers for host id {host_id}", host_id=host_id)

    def known(self, cluster: str, host_id: str) -> Agent | None:
        """The agent that has answered for a node, or was where a hint says; None if there is none."""
        found = self._by_host.get(cluster, {}).get(host_id)
        if found is not None and found.host_id == host_id:
            return found
        url, _ = self._hints[cluster].get(host_id, ("", ""))
        for agent in self.agents(cluster):
            if agent.host_id == host_id or (agent.identity is None and agent.url == url):
                self._by_host[cluster][host_id] = agent
                return agent
        return None

    def hint(self, cluster: str, host_id: str, url: str, address: str = "") -> None:
        """Tell where the agent of a node was, for after a restart of the coordinator while that node is down, and the
        node's address where that is known."""
        hints = self._hints.setdefault(cluster, {})
        hints[host_id] = (url, address or hints.get(host_id, ("", ""))[1])

    def address_of(self, cluster: str, host_id: str) -> str:
        """A node's address, for people: from any agent's report, else as a hint had it, else the host id."""
        agent = self.known(cluster, host_id)
        if agent is not None and agent.host_id is not None:
            return agent.address
        for agent in self.agents(cluster):
            if agent.report is not None:
                for member in agent.report.ring:
                    if member.host_id == host_id:
                        return member.address
        return self._hints[cluster].get(host_id, ("", ""))[1] or host_id

    def cluster_name(self, cluster: str) -> str | None:
        """The name that Cassandra gives the cluster, as a node tells it, or an agent that heard its node once; None
        while there is neither."""
        agents = self.agents(cluster)
        seen = [agent.identity or agent.remembered for agent in sorted(agents, key=lambda one: one.identity is None)]
        return next((identity.cluster_name for identity in seen if identity is not None), None)

    async def _ask(self, agent: Agent, cluster: str) -> None:
        try:
            report = await self._report_of(agent, cluster)
            self._read[cluster] += 1
            if not report.protocol_min <= PROTOCOL <= report.protocol_max:
                raise AgentMisbehaved(
                    f"The agent at {agent.url} speaks protocol {report.protocol_min} to {report.protocol_max}, "
                    f"this coordinator {PROTOCOL}",
                    agent=agent.url,
                )
        except HelenusError as error:
            agent.error = error
            return
        agent.error = None
        agent.seen = self._clock()
        agent.report = report
        if report.node is not None:
            agent.identity = report.node

    async def _report_of(self, agent: Agent, cluster: str) -> NodeReport:
        """The agent's report. Of one that can leave out what it told before it is taken from there: with a thousand
        nodes each report describes a thousand members."""
        former, read = agent.report, self._shared[cluster].read
        if former is None or not former.shape or NODE_KNOWN not in former.features:
            return await agent.client.node(read=read)
        try:
            report = await agent.client.node(known=former.shape, read=read)
        except AgentRefused as refused:
            if refused.agent_status != 400:
                raise
            return await agent.client.node(read=read)  # an earlier release than before
        if not report.as_known:
            return report
        return msgspec.structs.replace(report, ring=former.ring, keyspaces=former.keyspaces)

    def _remember(self, cluster: str) -> None:
        """Take an agent's memory of its node for true where no other agent's node is that one: an agent may have been
        moved, or its state copied, and its memory with it."""
        agents = self.agents(cluster)
        taken = {agent.identity.host_id for agent in agents if agent.identity is not None}
        for agent in agents:
            last = agent.report.last_known if agent.report is not None else None
            agent.remembered = last if last is not None and last.host_id not in taken else None
            if agent.remembered is not None:
                taken.add(agent.remembered.host_id)

    def _keep_shared(self, cluster: str) -> None:
        """Walks every ring: once for as many reports as there are agents is often enough."""
        self._read[cluster] = 0
        self._shared[cluster].keep_only(agent.report for agent in self._agents[cluster] if agent.report is not None)

    def _refuse_contradictions(self, cluster: str) -> None:
        self._remember(cluster)
        seen: dict[str, Agent] = {}
        names: dict[str, str] = {}
        for agent in self.agents(cluster):
            if agent.host_id is None or agent.identity is None:
                continue
            if (other := seen.setdefault(agent.host_id, agent)) is not agent:
                raise DuplicateHostId(
                    f"The agents at {other.url} and {agent.url} both answer for host id {agent.host_id}",
                    host_id=agent.host_id,
                    agents=[other.url, agent.url],
                )
            names.setdefault(agent.identity.cluster_name, agent.url)
        if len(names) > 1:
            told = ", ".join(f"{name} (as {url} says)" for name, url in sorted(names.items()))
            raise MixedClusters(f"The agents of {cluster} belong to different clusters: {told}", clusters=names)
