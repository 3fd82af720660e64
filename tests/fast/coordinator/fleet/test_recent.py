"""What is known of many agents, for people who look; and how often agents are asked to report."""

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec
import pytest

from agent.wire.node import NODE_KNOWN, NodeReport
from coordinator.fleet.client import AgentClient, open_session
from coordinator.fleet.errors import AgentUnreachable
from coordinator.fleet.pace import EVENTS_A_SECOND, LONGEST, age_of, interval_of, poll_of
from coordinator.fleet.registry import FEW, OLDEST, Registry
from tests.cluster.large_cluster import LargeCluster
from tests.cluster.ports import free_port
from tests.fleet.frozen import Frozen
from tests.fleet.server import Fleet

HANGS = 20.0
AGENTS, NETWORK = 5, 79


class Client:
    """An agent that answers once it may."""

    def __init__(self, report: NodeReport, number: int) -> None:
        self.url = f"http://agent{number}"
        self.report = report
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()
        self.down = False

    async def node(self, *, read: Callable[[bytes], NodeReport]) -> NodeReport:
        self.asked += 1
        await self.may.wait()
        if self.down:
            raise AgentUnreachable("it is gone", agent=self.url)
        return self.report


class Many:
    """A registry over so many of them, with a clock."""

    def __init__(self, agents: int) -> None:
        described = LargeCluster(agents, 1, 1)
        self.now = 1_000.0
        self.clients = [Client(described.report(number), number) for number in range(agents)]
        self.registry = Registry({"many": cast(list[AgentClient], self.clients)}, lambda: self.now)

    async def asked_again(self, times: int) -> None:
        async with asyncio.timeout(HANGS):
            while not all(client.asked == times for client in self.clients):  # noqa: ASYNC110 - plain counts
                await asyncio.sleep(0.01)


async def test_who_looks_at_many_agents_waits_for_none_of_them() -> None:
    """Promise: once all were heard what they said is given at once; they are asked again when it has grown old, and
    one that fails then is told of at the next look."""
    many = Many(FEW + 1)
    agents = await many.registry.recent("many", 5.0)
    assert all(agent.alive for agent in agents)
    many.now += age_of(len(agents)) + 5.0 + 1.0
    for client in many.clients:
        client.may.clear()
    async with asyncio.timeout(HANGS):
        assert all(agent.alive for agent in await many.registry.recent("many", 5.0))
    await many.asked_again(2)
    many.clients[3].down = True
    for client in many.clients:
        client.may.set()
    async with asyncio.timeout(HANGS):
        while agents[3].alive:  # noqa: ASYNC110 - a plain fact
            await asyncio.sleep(0.01)
    await many.registry.recent("many", 5.0)
    assert [client.asked for client in many.clients] == [2] * len(agents)
    await many.registry.close()


async def test_who_looks_first_after_long_is_told_nothing_of_then() -> None:
    """Promise: what agents said longer ago than people take for now is not told: they are asked again first; one that
    doesn't answer any more is said to be lost, and is waited for once."""
    many = Many(FEW + 1)
    agents = await many.registry.recent("many", 5.0)
    many.now += OLDEST + 1.0
    many.clients[3].down = True
    async with asyncio.timeout(HANGS):
        await many.registry.recent("many", 5.0)
    assert [client.asked for client in many.clients] == [2] * len(agents)
    assert [agent.alive for agent in agents] == [number != 3 for number in range(len(agents))]
    assert {agent.seen for agent in agents if agent.alive} == {many.now}
    many.now += OLDEST / 2
    for client in many.clients:
        client.may.clear()
    async with asyncio.timeout(HANGS):
        await many.registry.recent("many", 5.0)
    for client in many.clients:
        client.may.set()
    await many.asked_again(3)
    await many.registry.close()


async def test_few_agents_are_asked_while_one_looks() -> None:
    """Promise: of no more agents than that the answer is as new as it ever was."""
    many = Many(FEW)
    await many.registry.recent("many", 5.0)
    many.clients[3].report = msgspec.structs.replace(many.clients[3].report, load_bytes=42)
    many.now += 6.0
    agents = await many.registry.recent("many", 5.0)
    report = agents[3].report
    assert report is not None
    assert report.load_bytes == 42
    await many.registry.close()


@pytest.mark.parametrize(
    ("agents", "interval"), [(1, 0), (100, 0), (101, 1), (1_000, 5), (10_000, 50), (10**6, LONGEST)]
)
def test_reports_of_all_agents_together_are_bounded(agents: int, interval: int) -> None:
    """Promise: few agents report as they like, more of them so seldom that a coordinator reads no more of them; a
    command is looked at no more often either."""
    assert interval_of(agents) == interval
    if 0 < interval < LONGEST:
        assert agents / interval <= EVENTS_A_SECOND
    assert poll_of(agents, 10.0) == max(10.0, agents / 20)


async def test_agents_tell_the_ring_once_and_then_only_that_it_is_the_same() -> None:
    """Promise: what an agent left out of its report, because it was told before, is in it all the same; agents of an
    earlier release, also those that were taken back to one, are asked without."""
    port = free_port()
    frozen = Frozen(AGENTS, 20, NETWORK, port, (NODE_KNOWN,))
    async with Fleet(frozen, port) as simulated, open_session() as session:
        registry = Registry({"many": [AgentClient(session, url) for url in frozen.urls]})
        for whole, features in ((AGENTS, [NODE_KNOWN]), (0, [NODE_KNOWN]), (AGENTS, []), (AGENTS, [NODE_KNOWN])):
            # First nothing is known of the agent, then all; then it is of an earlier release, and then of this one.
            frozen.features[:] = features
            before = simulated.whole_reports
            agents = await registry.refresh("many")
            assert simulated.whole_reports - before == whole
            for agent in agents:
                assert agent.alive
                assert agent.report is not None
                assert agent.report.ring == sorted(frozen.members, key=lambda member: member.host_id)
                assert {name: [*view.tables] for name, view in agent.report.keyspaces.items()} == frozen.by_keyspace
        await registry.close()
