"""Jobs that stop nodes, as the agents tell of them. In: the agents' documents. Out: each job's newest one, and who was
heard of it. A few agents tell whether there is any at all; only of such a one all its nodes are asked.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from agent.wire.point_in_time import JobDocument
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused
from coordinator.fleet.few import few
from coordinator.fleet.registry import Agent
from coordinator.model.requests import Request, order_of
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.documents import Carried
from coordinator.orchestrate.point_in_time.errors import JobUnreadable
from coordinator.orchestrate.point_in_time.scope import PitNode
from coordinator.orchestrate.restore.job_steps import TAKEN_BACK
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

Written = tuple[int, int]
"""(fence, revision): later writings have higher ones."""


class Found(msgspec.Struct, frozen=True):
    """A job as the agents tell of it. `told`: the agents that answered at all, `known`: all that the cluster has; each
    by its URL and by its node's host id, for two coordinators may call an agent by different names. `strange`: how many
    more it has of which this coordinator doesn't know yet whose they are."""

    document: JobDocument
    carried: Carried
    told: frozenset[str]
    known: frozenset[str]
    strange: int = 0

    @property
    def request(self) -> Request:
        """The request that carried it out last, as it stood."""
        return msgspec.convert(self.carried.request, Request)

    @property
    def noted(self) -> frozenset[str]:
        """The steps that were done, and not taken back."""
        return frozenset(name for name, data in self.carried.steps.items() if not data.get(TAKEN_BACK))

    @property
    def handed_over(self) -> bool:
        """Whether it is carried out apart from the state of whoever ordered it."""
        return S.HANDED_OVER in self.noted

    @property
    def certain(self) -> bool:
        """Whether more than half of the agents that keep it have answered: one of them has the newest."""
        return self._are_most(_there(self.carried.nodes, self.told))

    @property
    def left(self) -> bool:
        """Whether so many of its nodes' agents are the cluster's no more that it never gets certain."""
        return not self._are_most(_there(self.carried.nodes, self.known) + self.strange)

    def _are_most(self, nodes: int) -> bool:
        return 2 * nodes > len(self.carried.nodes)


class Seen(NamedTuple):
    """What was found, and why the documents that nobody can read can't be. `most`: more than half of the agents that
    were asked answered."""

    jobs: list[Found]
    unreadable: list[JobUnreadable]
    most: bool


def written(document: JobDocument) -> Written:
    """When it was written, as against others of the same job."""
    return document.fence, document.revision


async def every_job(around: Surroundings, cluster: str) -> Seen:
    """The newest document of each job that any agent has, of those that ended too. Asks every agent."""

    async def ask(agent: Agent) -> list[JobDocument]:
        return await agent.client.jobs()

    agents = around.registry.agents(cluster)
    return _seen(await on_each(agents, ask), agents)


async def a_few_tell(around: Surroundings, cluster: str, turn: int) -> Seen:
    """As `every_job`, by a few of the agents that answer, others at each `turn`: a job's document is on nearly all of
    its nodes, and each keeps those of many."""

    async def ask(agent: Agent) -> list[JobDocument]:
        return await agent.client.jobs()

    agents = around.registry.agents(cluster)
    return _seen(await on_each(few([agent for agent in agents if agent.alive], turn), ask), agents)


async def glance(around: Surroundings, cluster: str, turn: int) -> Seen:
    """The jobs that a few agents know and that have not ended; others are asked at each `turn`. A job's document is on
    more than half of its nodes, and on nearly all."""

    async def ask(agent: Agent) -> list[JobDocument]:
        return await agent.client.jobs(running=True)

    agents = around.registry.agents(cluster)
    return _seen(await on_each(few(agents, turn), ask), agents)


async def whole(around: Surroundings, cluster: str, found: Found) -> Seen:
    """The same job as all its nodes' agents tell of it."""
    agents = around.registry.agents(cluster)
    nodes = {name for node in found.carried.nodes for name in (node.agent, node.host_id)}
    asked = [agent for agent in agents if {agent.url, agent.host_id} & nodes]
    return _seen(await _told_by(asked, found.document.id), agents)


async def of_job(around: Surroundings, cluster: str, job: str) -> Found | None:
    """The newest document of one job that any agent has, None where none of those that answered has one."""
    agents = around.registry.agents(cluster)
    found = _seen(await _told_by(agents, job), agents)
    return found.jobs[0] if found.jobs else None


def are_left(around: Surroundings, cluster: str, nodes: Sequence[PitNode]) -> bool:
    """Whether so many of a job's nodes are the cluster's no more that nobody can tell how it stands, be there a
    document or none."""
    agents = around.registry.agents(cluster)
    return 2 * (_there(nodes, _names(agents)) + _strange(nodes, agents)) <= len(nodes)


async def _told_by(agents: Sequence[Agent], job: str) -> list[tuple[Agent, list[JobDocument] | HelenusError]]:
    async def ask(agent: Agent) -> list[JobDocument]:
        try:
            return [await agent.client.job(job)]
        except AgentRefused as refused:
            if refused.agent_status == 404:
                return []
            raise

    return await on_each(agents, ask)


def _seen(answers: Iterable[tuple[Agent, list[JobDocument] | HelenusError]], agents: Sequence[Agent]) -> Seen:
    asked = [*answers]
    told = {agent: documents for agent, documents in asked if not isinstance(documents, HelenusError)}
    newest: dict[str, JobDocument] = {}
    for documents in told.values():
        for each in documents:
            if each.id not in newest or written(each) > written(newest[each.id]):
                newest[each.id] = each
    heard, known = _names(told), _names(agents)
    seen = Seen([], [], 2 * len(told) > len(asked))
    for document in newest.values():
        try:
            carried = msgspec.convert(document.document, Carried)
            found = Found(document, carried, heard, known, _strange(carried.nodes, agents))
            order_of(found.request)
        except msgspec.ValidationError as error:
            # Somebody else put it there. It must not keep this coordinator from the jobs whose nodes are stopped.
            seen.unreadable.append(
                JobUnreadable(
                    f"the document of the job {document.id} can't be read: {error}",
                    job=document.id,
                    fence=document.fence,
                    revision=document.revision,
                )
            )
        else:
            seen.jobs.append(found)
    return seen


def _there(nodes: Iterable[PitNode], agents: frozenset[str]) -> int:
    return sum(node.agent in agents or node.host_id in agents for node in nodes)


def _strange(nodes: Iterable[PitNode], agents: Iterable[Agent]) -> int:
    return len({agent.url for agent in agents if agent.host_id is None} - {node.agent for node in nodes})


def _names(agents: Iterable[Agent]) -> frozenset[str]:
    return frozenset(name for agent in agents for name in (agent.url, agent.host_id) if name is not None)
