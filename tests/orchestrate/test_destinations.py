"""Destinations over three toy nodes: proven against the store by every agent, or kept nowhere."""

import pytest

from agent.wire.destinations import CheckDestination, CheckReport, CheckResult, LocalSettings
from coordinator.model.orders import DestinationOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import (
    ClusterAmbiguous,
    DestinationNotShared,
    DestinationRefused,
    RepositoryMismatch,
)
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.run import Surroundings
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.cluster.toy_repository import Held
from tests.orchestrate.conftest import Scene


async def test_a_destination_that_fails_its_checks_is_kept_nowhere(scene: Scene) -> None:
    """Validated by the agents against the real store first."""
    coordinator = await scene.coordinator()
    order = DestinationOrder("add", "there", LocalSettings(path="broken"))
    with pytest.raises(DestinationRefused, match="wrong keys"):
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert not any(node.destinations for node in scene.nodes)
    assert await coordinator.store.destinations.all(CLUSTER) == []


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (CheckReport(False, [], False, error={"code": "storage_denied", "message": "wrong keys"}), "wrong keys"),
        (CheckReport(False, [CheckResult("ranges", "failed", "cut")], False), "ranges: cut"),
        (
            CheckReport(False, [CheckResult("ranges", "failed", "cut")], False, error={"message": "the store failed"}),
            "the store failed (ranges: cut)",
        ),
        (CheckReport(False, [], False), "it gave no reason"),
    ],
)
async def test_a_refusal_says_its_cause_in_its_message(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, report: CheckReport, told: str
) -> None:
    """Nobody is sent to a list of failed checks that is empty, neither when it is added nor when an agent is told."""
    coordinator = await scene.coordinator()
    agent = scene.agents[1]

    async def check(destination_id: str, request: CheckDestination) -> CheckReport:
        return report

    with monkeypatch.context() as refusing:
        refusing.setattr(agent, "check", check)
        with pytest.raises(DestinationRefused) as caught:
            await coordinator.destination("there")
    assert caught.value.message == f"{agent.node.address}: {told}"
    assert "See the failed checks" not in caught.value.todo
    await coordinator.destination("there")
    del agent.node.destinations["there"]
    monkeypatch.setattr(agent, "check", check)
    around = Surroundings(coordinator.store, coordinator.fleet.registry, coordinator.fleet.reports)
    reached = next(one for one in coordinator.fleet.registry.agents(CLUSTER) if one.address == agent.node.address)
    [kept] = await coordinator.store.destinations.all(CLUSTER)
    with pytest.raises(DestinationRefused) as caught:
        await Places(around, CLUSTER).teach(reached, kept)
    assert str((report.error or {}).get("message", "failed")) in caught.value.message


async def test_settings_that_an_agent_refuses_are_the_callers_fault_and_show_its_error(scene: Scene) -> None:
    """400 with the agent's own error as it came, the field named, and nothing kept."""
    coordinator = await scene.coordinator()
    order = DestinationOrder("add", "there", LocalSettings(path="/etc"))
    with pytest.raises(DestinationRefused, match="allowed root") as caught:
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    refused = caught.value
    assert (refused.status, refused.type, refused.fields["field"]) == (400, "InvalidArguments", "path")
    told = refused.fields["error"]
    assert isinstance(told, dict)
    assert (told["code"], told["fields"]["roots"]) == ("destination_settings", ["/backup"])
    assert await coordinator.store.destinations.all(CLUSTER) == []


async def test_an_update_that_fails_its_checks_leaves_the_former_settings_at_work(scene: Scene) -> None:
    """A bad update changes nothing: the next backup goes where it went before."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    order = DestinationOrder("update", "there", LocalSettings(path="broken"))
    with pytest.raises(DestinationRefused):
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    kept = await coordinator.store.destinations.get(CLUSTER, "there")
    assert kept is not None
    assert kept.settings == LocalSettings(path="there")
    assert {node.destinations["there"][1] for node in scene.nodes} == {LocalSettings(path="there")}
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request


async def test_directories_of_their_own_get_the_same_ids_on_every_node(scene: Scene) -> None:
    """Per-node local: the coordinator hands out repository and cluster id."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    assert len(scene.world.places) == 3
    assert len({place.repository_id for place in scene.world.places.values()}) == 1
    assert len({tuple(place.clusters) for place in scene.world.places.values()}) == 1


async def test_a_directory_that_isnt_shared_although_it_is_said_to_be_is_refused(scene: Scene) -> None:
    """Shared is proven by a nonce that one agent puts and the others find."""
    coordinator = await scene.coordinator()
    blind = scene.nodes[2]
    own = scene.world.place_key
    scene.world.place_key = lambda node, settings: (  # type: ignore[method-assign]
        own(node, settings) + ("elsewhere" if node is blind else "")
    )
    scene.world.places["thereelsewhere"] = Held("other", {})
    order = DestinationOrder("add", "there", LocalSettings(path="there", shared=True))
    with pytest.raises((DestinationNotShared, DestinationRefused)) as refused:
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert blind.address in str(refused.value)


async def test_clusters_of_the_same_name_in_one_repository_are_ambiguous(scene: Scene) -> None:
    """cluster_ambiguous: a person must say which."""
    coordinator = await scene.coordinator()
    scene.world.places["there"] = Held("repo", {"c1": "Toy Cluster", "c2": "Toy Cluster"})
    order = DestinationOrder("add", "there", LocalSettings(path="there", shared=True))
    with pytest.raises(ClusterAmbiguous):
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)


async def test_directories_of_different_repositories_are_refused(scene: Scene) -> None:
    """One node's directory belongs to another repository: named, not mixed."""
    coordinator = await scene.coordinator()
    scene.world.places["1:there"] = Held("one", {})
    scene.world.places["2:there"] = Held("two", {})
    order = DestinationOrder("add", "there", LocalSettings(path="there"))
    with pytest.raises(RepositoryMismatch):
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)
