"""Each request says who asked for it, whichever flow made it, and whoever's request led to it."""

import structlog

from agent.wire.destinations import ON_SERVER
from coordinator.model.asking import asking
from coordinator.model.requests import RequestKind
from coordinator.model.retention import KeptRule, Rule
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_retention import run_ended


async def askers(coordinator: ToyCoordinator) -> list[tuple[RequestKind, str]]:
    """Every request's kind, and who asked for it, oldest first."""
    return [(request.kind, request.asked_by) for request in await coordinator.store.requests.find()]


async def test_a_request_says_who_asked_and_the_log_says_it_too(scene: Scene) -> None:
    """Promise: whoever orders stands in the request and in the lines of its begin and end; what comes after the order
    is the coordinator's own again, also what a request of somebody's made it do."""
    coordinator = await scene.coordinator()
    with structlog.testing.capture_logs() as lines:
        with asking("ada"):
            await coordinator.destination("there")
            for _ in range(2):
                await coordinator.backup(keep=True, copies=copies("there"))
            await coordinator.store.retention.put([KeptRule(CLUSTER, ON_SERVER, "", Rule(count=1))])
            await coordinator.retention.ask(CLUSTER, ON_SERVER)
        await run_ended(coordinator, ON_SERVER)
    expected = [
        (RequestKind.DESTINATION, "ada"),
        (RequestKind.BACKUP, "ada"),
        (RequestKind.BACKUP, "ada"),
        (RequestKind.DELETE, "coordinator"),
    ]
    assert await askers(coordinator) == expected
    for event in ("request begins", "request ended"):
        told = [(line["kind"], line["asked_by"]) for line in lines if line["event"] == event]
        assert sorted(told) == sorted(expected)
