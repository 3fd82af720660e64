"""A request that waits says for what and for how long."""

import asyncio
import uuid

import msgspec

from agent.repository.errors import SweepWaits
from agent.wire.commands import CommandView, Kind, State
from coordinator.fleet.reports import Reports
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import DeleteOrder, SyncOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.opscenter.shapes import request_status
from coordinator.orchestrate.parts import parts_of
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.fast.coordinator.orchestrate.conftest import Scene

MARGIN = SweepWaits(30.0, 30.0).as_dict()


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
    assert details["message"].startswith(f"{node.address}: sweep waits 30 s between marking and deleting")
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
    assert told() == ""
    now += 20
    assert told() == "127.0.80.1: sync waits for what its agent does before it"
    for url, name in (("other", "elsewhere"), ("url", "sweep")):
        view = CommandView(name, Kind.SWEEP, State.WAITING, "waiting", None, "sweep", 0, 1.0, 1.0, None, {})
        reports.learn(url, msgspec.structs.replace(view, error=MARGIN))
    assert told() == f"127.0.80.1: sync waits for what its agent does before it, which {MARGIN['message']}"
