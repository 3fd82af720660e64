"""Agents over HTTP: errors told apart, host ids that contradict each other, events that wake who waits."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from agent.wire.commands import Event, Kind, PostCommand, SnapshotArguments, State
from coordinator.fleet.client import AgentClient, Deadlines, open_session
from coordinator.fleet.errors import (
    AgentMisbehaved,
    AgentRefused,
    AgentUnreachable,
    DuplicateHostId,
    MixedClusters,
)
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.fleet.reports import Reports, ReportTiming
from kit.secret import Secret
from tests.cluster.toy_agent import ToyAgent
from tests.cluster.toy_cluster import ToyCluster

DEADLINES = Deadlines(connect=1.0, call=0.5, listing=1.0, check=1.0, silence=2.0)
PATIENCE = ReportTiming(poll=60.0, backoff_first=0.01, backoff_last=0.05)
"""A poll so rare that only events can wake in time."""


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[list[ToyAgent]]:
    world = ToyCluster(2, {"shop": ["orders"]})
    agents = [ToyAgent(node, tmp_path / str(node.number)) for node in world.nodes]
    for agent in agents:
        await agent.start()
    yield agents
    for agent in agents:
        agent.thaw()
        if agent.running:
            await agent.stop()


def snapshot(tag: str) -> PostCommand:
    arguments = SnapshotArguments(tag, {"shop": []})
    return PostCommand(f"command-{tag}", Kind.SNAPSHOT, msgspec.Raw(msgspec.json.encode(arguments)))


async def test_a_refusal_keeps_the_agents_own_error(agents: list[ToyAgent]) -> None:
    """Agent refused: its code, its sentence, its fields, and which agent."""
    async with open_session() as session:
        with pytest.raises(AgentRefused) as refused:
            await AgentClient(session, agents[0].url, DEADLINES).command("nope")
    told = refused.value.as_dict()
    assert (told["code"], refused.value.agent_status) == ("unknown_command", 404)
    assert told["fields"] == {"command": "nope", "agent": agents[0].url}


async def test_an_agent_that_is_down_or_silent_is_unreachable(agents: list[ToyAgent]) -> None:
    """Unreachable: connection refused, and no answer within the deadline."""
    async with open_session() as session:
        client = AgentClient(session, agents[0].url, DEADLINES)
        agents[0].freeze()
        with pytest.raises(AgentUnreachable, match="no answer in time"):
            await client.node()
        agents[0].thaw()
        await agents[0].stop()
        with pytest.raises(AgentUnreachable) as lost:
            await client.node()
        assert lost.value.message == f"The agent at {agents[0].url} can't be reached: Connection refused"


async def test_a_frozen_agent_is_given_up_long_before_a_calls_deadline(agents: list[ToyAgent]) -> None:
    """A process that was stopped accepts connections: how it stands, and how its commands do, is asked in seconds, of
    all agents side by side. One that lives may take its time: its report waits for Cassandra."""
    patient = Deadlines(connect=1.0, call=600.0, probe=0.4)
    async with (
        asyncio.timeout(30),
        Fleet({"toy": ClusterAgents([a.url for a in agents], deadlines=patient)}, PATIENCE) as fleet,
    ):
        agents[0].freeze()
        [first, second] = await fleet.registry.refresh("toy")
        assert first.error is not None
        assert first.error.message == f"The agent at {agents[0].url} accepts connections but doesn't answer"
        assert (first.error.code, second.alive) == ("agent_unreachable", True)
        for asked in (
            first.client.command("any"),
            first.client.post_command(snapshot("frozen")),
            first.client.destination("any"),
            first.client.delete_destination("any"),
        ):
            with pytest.raises(AgentUnreachable, match="accepts connections"):
                await asked
        agents[0].thaw()
        agents[0].slow_seconds = 2 * patient.probe
        [first, _] = await fleet.registry.refresh("toy")
        assert first.alive


async def test_another_program_on_the_port_is_not_taken_for_an_agent() -> None:
    """An answer that isn't of the protocol is an error of its own."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="hello", status=200 if request.path == "/v1/node" else 500)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.80.9", 0).start()
    async with open_session(Secret("secret-token")) as session:
        client = AgentClient(session, f"http://127.0.80.9:{runner.addresses[0][1]}", DEADLINES)
        with pytest.raises(AgentMisbehaved, match="can't be read"):
            await client.node()
        with pytest.raises(AgentMisbehaved, match="without an error object"):
            await client.command("x")
    await runner.cleanup()


async def test_two_agents_of_one_host_id_are_both_named(agents: list[ToyAgent]) -> None:
    """Identity is the host id: two agents may not answer for one."""
    agents[1].node.host_id = agents[0].node.host_id
    urls = [agent.url for agent in agents]
    async with Fleet({"toy": ClusterAgents(urls, deadlines=DEADLINES)}, PATIENCE) as fleet:
        with pytest.raises(DuplicateHostId) as refused:
            await fleet.registry.refresh("toy")
    assert refused.value.fields["agents"] == urls


async def test_agents_of_different_clusters_are_not_mixed(
    agents: list[ToyAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agents of one configured cluster speak for one Cassandra cluster."""
    other = msgspec.structs.replace(agents[1].node.identity(), cluster_name="Other")
    monkeypatch.setattr(agents[1].node, "identity", lambda: other)
    async with Fleet({"toy": ClusterAgents([a.url for a in agents], deadlines=DEADLINES)}, PATIENCE) as fleet:
        told = rf": Other \(as {agents[1].url} says\), Toy Cluster \(as {agents[0].url} says\)$"
        with pytest.raises(MixedClusters, match=told):
            await fleet.registry.refresh("toy")


async def test_who_a_node_is_stays_known_while_it_is_down(agents: list[ToyAgent]) -> None:
    """Cassandra down, then the agent down: the host id still leads to the agent."""
    async with Fleet({"toy": ClusterAgents([a.url for a in agents], deadlines=DEADLINES)}, PATIENCE) as fleet:
        await fleet.registry.refresh("toy")
        agents[1].node.up = False
        [_, second] = await fleet.registry.refresh("toy")
        assert (second.alive, second.cassandra_up, second.address) == (True, False, agents[1].node.address)
        await agents[1].stop()
        await fleet.registry.refresh("toy")
        assert not second.alive
        assert await fleet.registry.agent_of("toy", agents[1].node.host_id) is second


async def test_a_waiter_is_woken_by_the_event_stream_also_after_the_agent_was_restarted(agents: list[ToyAgent]) -> None:
    """SSE with Last-Event-ID, reconnect, and a look at the command after a new instance: long before any poll."""
    agent = agents[0]
    gate = agent.node.gates[Kind.SNAPSHOT] = asyncio.Event()
    async with Fleet({"toy": ClusterAgents([agent.url], deadlines=DEADLINES)}, PATIENCE) as fleet:
        [known] = await fleet.registry.refresh("toy")
        await known.client.post_command(snapshot("one"))
        waiter = asyncio.create_task(fleet.reports.wait(known.client, "command-one", lambda lost: False))
        await asyncio.wait_for(agent.node.begun[Kind.SNAPSHOT].wait(), 10)
        agent.node.begun[Kind.SNAPSHOT].clear()
        await agent.stop()
        await agent.start()
        await asyncio.wait_for(agent.node.begun[Kind.SNAPSHOT].wait(), 10)
        gate.set()
        view = await asyncio.wait_for(waiter, 15)
        assert view.state is State.SUCCESS
        live = fleet.reports.live("command-one")
        assert live is not None
        assert live.state is State.SUCCESS
        fleet.reports.forget(["command-one"])
        assert fleet.reports.live("command-one") is None


async def test_an_unforeseen_error_at_one_event_does_not_end_the_following(
    agents: list[ToyAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is opened again, and who waits is woken by what comes then."""
    agent, take = agents[0], Reports._take
    errors = [RuntimeError("nobody foresaw it")]

    def taken(reports: Reports, url: str, event: Event) -> None:
        if errors:
            raise errors.pop()
        take(reports, url, event)

    monkeypatch.setattr(Reports, "_take", taken)
    gate = agent.node.gates[Kind.SNAPSHOT] = asyncio.Event()
    async with Fleet({"toy": ClusterAgents([agent.url], deadlines=DEADLINES)}, PATIENCE) as fleet:
        [known] = await fleet.registry.refresh("toy")
        await known.client.post_command(snapshot("one"))
        waiter = asyncio.create_task(fleet.reports.wait(known.client, "command-one", lambda lost: False))
        async with asyncio.timeout(15):
            while errors:  # noqa: ASYNC110 - what is looked at is a plain fact of the test
                await asyncio.sleep(0.005)
            gate.set()
            assert (await waiter).state is State.SUCCESS
