"""What the agents have to say to a person stands in the request's warnings, with the node."""

import pytest

from coordinator.model.orders import RestoreOrder, SyncOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.run import WARNINGS
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.fast.coordinator.orchestrate.conftest import Scene

SENTENCE = "something to look at"


@pytest.mark.parametrize("flow", ["backup", "sync", "restore"])
async def test_what_a_node_warns_of_is_told_by_the_request(scene: Scene, flow: str) -> None:
    """Of uploads and syncs (a table that is in, but odd) and of the cleaning after a restore."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(copies=copies("there") if flow == "restore" else [])
    scene.nodes[1].warnings = [SENTENCE]
    if flow == "backup":
        _, request = await coordinator.backup(copies=copies("there"))
    elif flow == "sync":
        request_id = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
        request = await coordinator.ended(request_id)
    else:
        order = RestoreOrder(tag, "there", truncate=True)
        request = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))
    assert request.state is RequestState.SUCCESS
    assert f"{scene.nodes[1].address}: {SENTENCE}" in request.result[WARNINGS]
