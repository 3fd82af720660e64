"""Tokens that are changed while a request is under way: agents that let the coordinator in no more are waited for as
lost ones are."""

import asyncio

import msgspec

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder, RestoreOrder
from coordinator.model.requests import Request, RequestState
from kit.secret import Secret
from tests.cluster.toy_agent import ToyAgent
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_cancels import let_go
from tests.orchestrate.test_waiting import until_told

PATIENT = msgspec.structs.replace(TIMING, agent_return=60.0)
REFUSES = "doesn't let the coordinator in any more: compare [http] token_file of its agent.toml with [clusters.<id>]"
NEW = Secret("the new token")


async def given(agent: ToyAgent, token: Secret | None) -> None:
    """Start it again with another token. The coordinator shows none: with None it has the agent's own."""
    await agent.stop()
    agent.token = token
    await agent.start()


async def uploading(scene: Scene, coordinator: ToyCoordinator) -> str:
    """A backup all of whose nodes have begun to upload, and don't end."""
    await coordinator.destination("there")
    for node in scene.nodes:
        node.gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("t", 5, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    for node in scene.nodes:
        await asyncio.wait_for(node.begun[Kind.UPLOAD].wait(), 10)
    return request_id


def errors_of(request: Request) -> str:
    """All that an ended request says of its nodes' errors."""
    return msgspec.json.encode(request.error).decode()


async def test_a_backup_goes_on_while_the_agents_get_another_token(scene: Scene) -> None:
    """Promise: agents that are started with another token in the middle of a backup, one after the other, end nothing
    of it: its message says whose token is refused and which settings to compare, and it is a success once the
    coordinator has theirs."""
    coordinator = await scene.coordinator(timing=PATIENT)
    request_id = await uploading(scene, coordinator)
    for agent in scene.agents:
        await given(agent, NEW)
        part = await until_told(coordinator, request_id, REFUSES)
        assert part["state"] == "running"
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    for agent in scene.agents:
        agent.token = None
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_the_next_phase_of_an_agent_that_took_the_one_before_waits_too(scene: Scene) -> None:
    """Promise: a request whose agent gets another token between two phases waits as in the middle of one, also the
    coordinator's next life."""
    coordinator = await scene.coordinator(timing=PATIENT)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    node, agent = scene.nodes[1], scene.agents[1]
    node.gates[Kind.FETCH] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    await asyncio.wait_for(node.begun[Kind.FETCH].wait(), 10)
    agent.token, agent.token_for = NEW, lambda request: request.method == "POST"
    node.gates[Kind.FETCH].set()
    await until_told(coordinator, request_id, REFUSES)
    await scene.stack.aclose()
    again = await scene.coordinator(timing=PATIENT)
    await until_told(again, request_id, REFUSES)
    agent.token = None
    assert (await again.ended(request_id)).state is RequestState.SUCCESS


async def test_a_first_command_with_a_wrong_token_is_an_error_at_once(scene: Scene) -> None:
    """Promise: nobody waits ten minutes to hear that a token was wrong from the start."""
    coordinator = await scene.coordinator(timing=PATIENT)
    await coordinator.destination("there")
    for agent in scene.agents:
        agent.token, agent.token_for = NEW, lambda request: request.path == "/v1/commands"
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.ERROR
    assert "no valid bearer token" in errors_of(request)


async def test_a_token_that_stays_wrong_ends_its_node_as_a_lost_agent(scene: Scene) -> None:
    """Promise: after the patience for lost agents the node has failed, and its error says why."""
    coordinator = await scene.coordinator()
    request_id = await uploading(scene, coordinator)
    scene.agents[1].token = NEW
    for node in scene.nodes:
        node.gates[Kind.UPLOAD].set()
    request = await coordinator.ended(request_id)
    told = errors_of(request)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert "agent_unreachable" in told
    assert REFUSES in told


async def test_a_cancel_that_the_token_kept_out_is_told_later(scene: Scene) -> None:
    """Promise: an agent that refused the coordinator's token when its work was cancelled is told once it lets it in."""
    coordinator = await scene.coordinator(timing=PATIENT)
    request_id = await uploading(scene, coordinator)
    agent = scene.agents[1]
    agent.token = NEW
    await until_told(coordinator, request_id, REFUSES)
    await coordinator.orchestrator.cancel(request_id, force=False)
    ended = await coordinator.ended(request_id)
    assert ended.state is RequestState.CANCELLED
    assert any("it is told as soon as it answers" in warning for warning in ended.result["warnings"])
    agent.token = None
    await let_go(scene, coordinator, 1, "upload")
