"""A request that waits says for what and for how long."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from agent.repository.errors import SweepWaits
from agent.wire.commands import CommandView, Kind, State
from agent.wire.node import NodeReport
from coordinator.fleet.reports import Reports
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import BackupOrder, DeleteOrder, RestoreOrder, SyncOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.opscenter.shapes import request_status
from coordinator.orchestrate.parts import parts_of
from tests.cluster.toy_agent import ToyAgent
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

Report = Callable[..., Coroutine[Any, Any, NodeReport]]
MARGIN = SweepWaits(30.0, 30.0).as_dict()


async def until_told(coordinator: ToyCoordinator, request_id: str, text: str) -> dict[str, Any]:
    """The entry of the node of which the request's message says this; fails when it doesn't soon."""
    async with asyncio.timeout(20):
        while True:
            request = await coordinator.store.requests.get(request_id)
            assert request is not None
            parts = await coordinator.orchestrator.progress(request_id)
            details = request_status(request, parts)["details"]
            for line in details["message"].split("; 127."):
                if text in line:
                    address = line.removeprefix("127.").partition(":")[0]
                    found: dict[str, Any] = details["subrequests"][f"127.{address}"]
                    return found
            await asyncio.sleep(0.02)


async def test_a_delete_says_that_its_sweep_waits_and_how_long(scene: Scene) -> None:
    """In the request's message and at the node; while it waits it isn't said to stand still."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    node = scene.nodes[0]
    node.gates[Kind.SWEEP], node.waits[Kind.SWEEP] = asyncio.Event(), MARGIN
    request_id = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    async with asyncio.timeout(10):
        while True:
            parts = await coordinator.orchestrator.progress(request_id)
            if any(part.waiting for part in parts):
                break
            await asyncio.sleep(0.005)
    request = await coordinator.store.requests.get(request_id)
    assert request is not None
    details = request_status(request, parts)["details"]
    assert details["message"].startswith(f"{node.address}: freeing space waits 30 s between marking and deleting")
    assert details["subrequests"][node.address]["details"]["phase"] == "sweep"
    assert details["subrequests"][node.address]["details"]["waiting"].startswith("waits 30 s")
    node.gates[Kind.SWEEP].set()
    await coordinator.ended(request_id)
    assert not any(part.waiting for part in await coordinator.orchestrator.progress(request_id))


def test_a_copy_that_is_queued_behind_a_sweep_says_so() -> None:
    """An agent does one upload, sync, delete or sweep at a time; only that agent's own work is named."""
    now = 100.0
    reports = Reports(clock=lambda: now)
    request = Request(
        str(uuid.UUID(int=1)), RequestKind.SYNC, "c", RequestState.RUNNING, 1.0, spec_of(SyncOrder("t", []))
    )
    posted = PostedCommand("copy", request.id, "url", "host", "127.0.80.1", "sync", Kind.SYNC, {}, 0, 1.0)

    def told() -> str:
        return str(request_status(request, parts_of(request, [posted], reports))["details"]["message"])

    reports.learn("url", CommandView("copy", Kind.SYNC, State.QUEUED, "", None, "sync", 0, 1.0, None, None, {}))
    assert told() == "copying"
    now += 20
    assert told() == (
        "127.0.80.1: copying waits for its turn; what its agent does before it, GET /v1/commands of that agent tells"
    )
    for url, name, kind in (("other", "elsewhere", Kind.SWEEP), ("url", "mark", Kind.DELETE), ("url", "s", Kind.SWEEP)):
        view = CommandView(name, kind, State.WAITING, "waiting", None, "sweep", 0, 1.0, 1.0, None, {})
        reports.learn(url, msgspec.structs.replace(view, error=MARGIN))
    assert told() == f"127.0.80.1: copying waits for what its agent does before it: sweep, which {MARGIN['message']}"


async def test_a_queued_copy_names_the_command_that_it_waits_for(scene: Scene) -> None:
    """With its tag and destination: one queue of an agent serves all destinations, so it may be quite another one."""
    coordinator = await scene.coordinator()
    for name in ("here", "there"):
        await coordinator.destination(name)
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    node = scene.nodes[0]
    node.gates[Kind.SWEEP], node.waits[Kind.SWEEP] = asyncio.Event(), MARGIN
    deleting = await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there"))
    await asyncio.wait_for(node.begun[Kind.SWEEP].wait(), 10)
    other = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("t", 5, keep=False, copies=copies("here")))
    expected = f"uploading waits for what its agent does before it: sweep for the delete of {tag} in there, which waits"
    await until_told(coordinator, other, expected)
    node.gates[Kind.SWEEP].set()
    assert (await coordinator.ended(other)).state is (await coordinator.ended(deleting)).state is RequestState.SUCCESS


async def test_a_request_whose_agent_is_frozen_says_that_it_waits_for_it(scene: Scene) -> None:
    """In its message, not only in the node's errors."""
    patient = msgspec.structs.replace(TIMING, agent_return=60.0)
    coordinator = await scene.coordinator(timing=patient)
    await coordinator.destination("there")
    node = scene.nodes[0]
    node.gates[Kind.UPLOAD] = asyncio.Event()
    order = BackupOrder("t", 5, keep=False, copies=copies("there"))
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, order)
    await asyncio.wait_for(node.begun[Kind.UPLOAD].wait(), 10)
    scene.agents[0].freeze()
    part = await until_told(coordinator, request_id, "uploading waits for its agent, silent for")
    assert part["state"] == "running"
    scene.agents[0].thaw()
    node.gates[Kind.UPLOAD].set()
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_restore_says_that_it_waits_for_cassandra_and_until_when(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phase that failed because its Cassandra is down is tried again: until then its node has not failed, and only
    its own agent is asked whether it is back."""
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, agent_return=60.0, take_over=60.0))
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    node = scene.nodes[0]
    node.failures[Kind.FETCH] = [ToyFailure("cassandra_unavailable", "it is down")]
    node.gates[Kind.FETCH] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    await asyncio.wait_for(node.begun[Kind.FETCH].wait(), 10)
    node.up = False
    node.gates[Kind.FETCH].set()
    part = await until_told(
        coordinator, request_id, f"fetching waits for Cassandra at {node.address}, tries again until"
    )
    assert (part["state"], part["finished"]) == ("running", None)
    asked = Counter[str]()
    for agent in scene.agents:

        async def report(agent: ToyAgent = agent, own: Report = agent.report, **of: bool) -> NodeReport:
            asked[agent.node.address] += 1
            return await own(**of)

        monkeypatch.setattr(agent, "report", report)
    await scene.until(lambda: asked[node.address] >= 4)
    assert set(asked) == {node.address}
    node.up = True
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert not any(part.waiting for part in await coordinator.orchestrator.progress(request_id))
