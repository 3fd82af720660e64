"""A request that the state has as running, and that nobody carries out."""

import msgspec

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from tests.cluster.toy_coordinator import CLUSTER, TIMING
from tests.orchestrate.conftest import Scene


async def test_a_request_whose_answer_was_lost_is_carried_out(scene: Scene) -> None:
    """Promise: an order that the state kept, though whoever gave it was told otherwise, doesn't stand in everybody's
    way until the next start: it is begun, once."""
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, take_up=0.05))
    order = BackupOrder(tag="kept", time=5)
    request = Request(
        "00000000-0000-0000-0000-000000000001",
        RequestKind.BACKUP,
        CLUSTER,
        RequestState.RUNNING,
        5.0,
        spec_of(order),
        "kept",
    )
    await coordinator.store.requests.create(request)
    assert (await coordinator.ended(request.id)).state is RequestState.SUCCESS
    assert [sum(kind is Kind.SNAPSHOT for kind, _ in node.done) for node in scene.nodes] == [1] * len(scene.nodes)
