"""What a large cluster tells is kept once, and few of its large bodies are in memory at a time."""

import asyncio
import gc
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from agent.wire.backups import BackupView
from agent.wire.node import NodeReport, RingMember
from coordinator.fleet import sharing
from coordinator.fleet.bulk import AT_ONCE
from coordinator.fleet.client import AgentClient
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.fleet.sharing import SharedReports
from tests.cluster.large_cluster import TAG, LargeCluster

NODES, TOKENS, KEYSPACES = 40, 64, 5


class Agents:
    """The agents of a described cluster behind one port: agent 7 is at /7. `putting`: who puts a plan just now."""

    def __init__(self, cluster: LargeCluster) -> None:
        self.cluster = cluster
        self.reports = [cluster.report(number) for number in range(NODES)]
        self.putting = 0
        self.most = 0
        self.full = asyncio.Event()

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/{number}/v1/node", self._node)
        app.router.add_get("/{number}/v1/backups/{tag}", self._backup)
        app.router.add_put("/{number}/v1/backups/{tag}/plan", self._put)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.77.3", 0).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    def urls(self) -> list[str]:
        port = self._runner.addresses[0][1]
        return [f"http://127.0.77.3:{port}/{number}" for number in range(NODES)]

    async def _node(self, request: web.Request) -> web.Response:
        return _json(self.reports[int(request.match_info["number"])])

    async def _backup(self, request: web.Request) -> web.Response:
        host_id = self.cluster.members[int(request.match_info["number"])].host_id
        return _json(BackupView(TAG, False, None, self.cluster.plan(), [host_id]))

    async def _put(self, request: web.Request) -> web.Response:
        self.putting += 1
        self.most = max(self.most, self.putting)
        if self.putting == AT_ONCE:
            self.full.set()
        await self.full.wait()
        await request.read()
        self.putting -= 1
        return web.Response(status=204)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    served = Agents(LargeCluster(NODES, TOKENS, KEYSPACES))
    await served.start()
    yield served
    await served.stop()


def alive(of: LargeCluster) -> int:
    """Descriptions of this cluster's nodes anywhere in memory, the cluster's own left out."""
    hosts, own = {member.host_id for member in of.members}, {id(member) for member in of.members}
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, RingMember) and id(each) not in own]
    return len([each for each in found if each.host_id in hosts])


async def test_a_ring_that_every_agent_describes_is_kept_once(agents: Agents) -> None:
    """N agents describe N nodes each: N descriptions and N token lists stay, not N², after every look at them."""
    async with Fleet({"large": ClusterAgents(agents.urls())}) as fleet:
        for _ in range(3):
            known = [agent.report for agent in await fleet.registry.refresh("large")]
            reports = [report for report in known if isinstance(report, NodeReport)]
            assert len(reports) == NODES
            assert alive(agents.cluster) == NODES
            assert len({id(report.ring) for report in reports}) == 1
            assert len({id(report.keyspaces) for report in reports}) == 1
            tokens = {id(member.tokens) for report in reports for member in report.ring}
            tokens |= {id(report.node.tokens) for report in reports if report.node is not None}
            assert len(tokens) == NODES
        told = {member.host_id: member for member in reports[0].ring}
        assert told == {member.host_id: member for member in agents.cluster.members}


async def test_what_agents_say_apart_stays_apart_and_what_nobody_says_any_more_goes(agents: Agents) -> None:
    """One agent sees a node down and another one moved: theirs alone; back again, nothing of it is left."""
    cluster = agents.cluster
    down = msgspec.structs.replace(cluster.members[5], up=False)
    moved = msgspec.structs.replace(cluster.members[6], tokens=["1", "2"])
    usual = agents.reports[3]
    agents.reports[3] = msgspec.structs.replace(
        usual, ring=[{5: down, 6: moved}.get(number, each) for number, each in enumerate(cluster.members)]
    )
    async with Fleet({"large": ClusterAgents(agents.urls())}) as fleet:
        reports = [agent.report for agent in await fleet.registry.refresh("large")]
        for number, report in enumerate(reports):
            assert report is not None
            seen = {member.host_id: member for member in report.ring}
            assert (seen[down.host_id] == down) == (seen[moved.host_id] == moved) == (number == 3)
        agents.reports[3] = usual
        agents.reports[4] = msgspec.structs.replace(agents.reports[4], node=None, ring=[], keyspaces={})
        del reports, report, seen, down, moved
        await fleet.registry.refresh("large")
        assert alive(cluster) == NODES


async def test_the_loop_has_its_turn_after_each_report(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many answers are there at the same moment: nothing else waits longer than one of them takes."""
    loop = asyncio.get_running_loop()
    turn, going = 0, True

    def tick() -> None:
        nonlocal turn
        turn += 1
        if going:
            loop.call_soon(tick)

    tick()
    turns: list[int] = []
    read = SharedReports.read

    def noted(shared: SharedReports, content: bytes) -> NodeReport:
        turns.append(turn)
        return read(shared, content)

    monkeypatch.setattr(SharedReports, "read", noted)
    async with Fleet({"large": ClusterAgents(agents.urls())}) as fleet:
        await fleet.registry.refresh("large")
    going = False
    assert len(turns) == len(set(turns)) >= NODES


def test_what_is_told_in_the_words_of_before_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """All members of a ring once, not for each agent; whatever the words, the report is what they say."""
    cluster = LargeCluster(NODES, TOKENS, KEYSPACES)
    decoded: list[bytes] = []

    def decode(text: bytes) -> RingMember:
        decoded.append(text)
        return msgspec.json.decode(text, type=RingMember)

    monkeypatch.setattr(sharing, "_decode_member", decode)
    shared = SharedReports()
    reports = [cluster.report(number) for number in range(3)]
    read = [shared.read(msgspec.json.encode(report)) for report in reports]
    assert len(decoded) == NODES
    spaced = shared.read(msgspec.json.format(msgspec.json.encode(reports[0])))
    assert len(decoded) == 2 * NODES
    for report, found in zip([*reports, reports[0]], [*read, spaced], strict=True):
        assert found == SharedReports().share(report)
        assert found.ring is read[0].ring
    shared.keep_only([])
    shared.read(msgspec.json.encode(reports[1]))
    assert len(decoded) == 3 * NODES


async def test_a_plan_that_every_agent_answers_is_kept_once(agents: Agents) -> None:
    """The part of each node is told by its own agent, the plan by all."""
    async with Fleet({"large": ClusterAgents(agents.urls())}) as fleet:
        clients = [agent.client for agent in fleet.registry.agents("large")]
        views = await asyncio.gather(*(client.backup(TAG, None) for client in clients))
    assert len({id(view.plan) for view in views}) == 1
    assert views[0].plan == agents.cluster.plan()
    assert len({tuple(view.manifests) for view in views}) == NODES


async def test_few_plans_are_sent_at_a_time(agents: Agents) -> None:
    """All agents get it, but the coordinator never holds as many encoded plans as there are agents."""
    plan = agents.cluster.plan()
    async with Fleet({"large": ClusterAgents(agents.urls())}) as fleet:

        async def put(client: AgentClient) -> None:
            await client.put_plan(TAG, None, plan)

        async with asyncio.timeout(20):
            await asyncio.gather(*(put(agent.client) for agent in fleet.registry.agents("large")))
    assert agents.most == AT_ONCE
