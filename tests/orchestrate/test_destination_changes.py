"""Changes of destinations over three toy nodes: one at a time each, under nobody's feet, never two at one place."""

import asyncio

import msgspec
import pytest

from agent.repository.destinations import DestinationInUse as AgentsDestinationInUse
from agent.wire.backups import BackupView
from agent.wire.commands import Kind
from agent.wire.destinations import CheckDestination, CheckReport, DestinationView, LocalSettings, PutDestination
from coordinator.model.errors import DestinationInUse
from coordinator.model.orders import BackupOrder, DeleteOrder, DestinationOrder, RestoreOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import DestinationExists, DestinationRefused
from coordinator.orchestrate.protocol import DestinationChange
from tests.cluster.toy_agent import ToyAgent, ToyBackups
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator, copies
from tests.cluster.toy_repository import Held
from tests.orchestrate.conftest import Scene


def update(path: str, throttle: int = 0, *, shared: bool = False) -> DestinationOrder:
    return DestinationOrder("update", "there", LocalSettings(path, shared, throttle))


async def changed(coordinator: ToyCoordinator, order: DestinationOrder) -> DestinationChange:
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert (await coordinator.ended(change.request_id)).state is RequestState.SUCCESS
    return change


class SlowCheck:
    """Holds back the check of one path on an agent until `go` is set."""

    def __init__(self, agent: ToyAgent, path: str, patch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        own = agent.check

        async def check(destination_id: str, request: CheckDestination) -> CheckReport:
            if agent.node.destinations[destination_id][1].path == path:
                self.begun.set()
                await self.go.wait()
            return await own(destination_id, request)

        patch.setattr(agent, "check", check)


async def test_what_a_running_request_uses_keeps_its_place(scene: Scene) -> None:
    """Another path is refused while a restore reads there; limits (and keys) may change at any time."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[1].gates[Kind.FETCH] = asyncio.Event()
    restore = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there"))
    await asyncio.wait_for(scene.nodes[1].begun[Kind.FETCH].wait(), 10)
    for order in (update("elsewhere"), update("there", shared=True)):
        with pytest.raises(DestinationInUse) as caught:
            await coordinator.orchestrator.start_destination_change(CLUSTER, order)
        assert caught.value.fields["requests"] == [restore]
    await changed(coordinator, update("there", throttle=7))
    assert {node.destinations["there"][1] for node in scene.nodes} == {LocalSettings("there", False, 7)}
    scene.nodes[1].gates[Kind.FETCH].set()
    assert (await coordinator.ended(restore)).state is RequestState.SUCCESS
    await changed(coordinator, update("elsewhere"))


async def test_a_command_that_only_an_agent_knows_of_keeps_the_place_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another coordinator may have sent it: a conflict that passes, no fault of the caller; nothing is changed."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    agent = scene.agents[1]
    own = agent.put

    async def put(destination_id: str, request: PutDestination) -> DestinationView:
        if request.settings.path == "elsewhere":
            raise AgentsDestinationInUse("a command works with it", destination=destination_id)
        return await own(destination_id, request)

    monkeypatch.setattr(agent, "put", put)
    with pytest.raises(DestinationInUse, match=agent.node.address) as caught:
        await coordinator.orchestrator.start_destination_change(CLUSTER, update("elsewhere"))
    assert caught.value.status == 409
    assert {node.destinations["there"][1] for node in scene.nodes} == {LocalSettings("there")}


async def test_a_store_that_is_slow_to_prove_holds_up_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backups, and changes of other destinations, go on; only to the place that is being moved nothing is begun."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    slow = SlowCheck(scene.agents[2], "slow", monkeypatch)
    moving = asyncio.create_task(changed(coordinator, update("slow")))
    await asyncio.wait_for(slow.begun.wait(), 10)
    await coordinator.destination("other")
    _, request = await coordinator.backup(keep=False, copies=copies("other"))
    assert request.state is RequestState.SUCCESS, request
    with pytest.raises(DestinationInUse, match="another place"):
        await coordinator.orchestrator.start_backup(
            CLUSTER, BackupOrder(tag="tag", time=1, keep=False, copies=copies("there"))
        )
    again = asyncio.create_task(changed(coordinator, update("slow", throttle=9)))
    slow.go.set()
    await moving
    assert (await again).destination is not None
    assert {node.destinations["there"][1] for node in scene.nodes} == {LocalSettings("slow", False, 9)}
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request


async def test_to_a_destination_that_is_about_to_be_forgotten_nothing_is_begun(scene: Scene) -> None:
    """A backup would lose its settings half-way."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[1].gates[Kind.SWEEP] = asyncio.Event()
    order = DeleteOrder(tag, "there", remove_destination=True)
    delete = await coordinator.orchestrator.start_delete(CLUSTER, order)
    with pytest.raises(DestinationInUse) as caught:
        await coordinator.orchestrator.start_backup(
            CLUSTER, BackupOrder(tag="tag", time=1, keep=False, copies=copies("there"))
        )
    assert caught.value.fields["request"] == delete
    with pytest.raises(DestinationInUse):
        await coordinator.orchestrator.start_destination_change(CLUSTER, update("there", throttle=7))
    scene.nodes[1].gates[Kind.SWEEP].set()
    assert (await coordinator.ended(delete)).state is RequestState.SUCCESS


@pytest.mark.parametrize("kept", [False, True])
async def test_one_place_is_one_destination(scene: Scene, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Two would delete and sweep under each other's feet: the other one is named, also while it is being proven."""
    coordinator = await scene.coordinator()
    slow = SlowCheck(scene.agents[2], "there", monkeypatch)
    first = asyncio.create_task(coordinator.destination("there"))
    await asyncio.wait_for(slow.begun.wait(), 10)
    if kept:
        slow.go.set()
        await first
    await coordinator.destination("other")
    for order in (
        DestinationOrder("add", "twin", LocalSettings("./there/", shared=True)),
        DestinationOrder("update", "other", LocalSettings("there")),
    ):
        with pytest.raises(DestinationExists, match="there") as caught:
            await coordinator.orchestrator.start_destination_change(CLUSTER, order)
        assert (caught.value.status, caught.value.fields["destination"]) == (409, "there")
    slow.go.set()
    await first
    assert {one.id for one in await coordinator.store.destinations.all(CLUSTER)} == {"there", "other"}


async def test_no_destination_lies_in_another(scene: Scene) -> None:
    """Whoever empties or removes the outer one takes the inner one's backups with it, and with the inner one in it the
    outer one can't be made anew: refused either way round, named, and nothing is given to the agents."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("a/nightly"))
    await coordinator.destination("other")
    for path, said in (("a/nightly/sub", "inside the destination there"), ("a", "there lies inside")):
        for order in (
            DestinationOrder("add", "nested", LocalSettings(path)),
            DestinationOrder("update", "other", LocalSettings(path)),
        ):
            with pytest.raises(DestinationExists, match=said) as caught:
                await coordinator.orchestrator.start_destination_change(CLUSTER, order)
            assert (caught.value.fields["field"], caught.value.fields["destination"]) == ("path", "there")
    assert {name for node in scene.nodes for name in node.destinations} == {"there", "other"}


async def test_destinations_that_lay_in_one_another_before_can_be_changed(scene: Scene) -> None:
    """Their keys and limits: only a new place is refused."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    known = await coordinator.store.destinations.get(CLUSTER, "there")
    assert known is not None
    nested = msgspec.structs.replace(known, id="nested", settings=LocalSettings("there/sub"))
    await coordinator.store.destinations.put(nested)
    assert (await changed(coordinator, update("there", throttle=7))).destination is not None


@pytest.mark.parametrize("action", ["add", "update"])
async def test_one_place_by_two_names_is_one_destination_and_a_copy_is_another(scene: Scene, action: str) -> None:
    """A link, or a path relative to the agent's root; but who copies a repository to a second place may use both."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await coordinator.backup(keep=False, copies=copies("there"))
    if action == "update":
        await coordinator.destination("other")
    before = [dict(node.destinations) for node in scene.nodes]
    for node in scene.nodes:
        held = scene.world.places[f"{node.number}:there"]
        scene.world.places[f"{node.number}:link"] = held
        scene.world.places[f"{node.number}:copy"] = Held(held.repository_id, held.clusters, held.plans, held.records)
    order = DestinationOrder("add" if action == "add" else "update", "other", LocalSettings("link"))
    with pytest.raises(DestinationExists, match="there") as caught:
        await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    assert caught.value.fields["destination"] == "there"
    held_now = [{name: one[1:] for name, one in node.destinations.items()} for node in scene.nodes]
    assert held_now == [{name: one[1:] for name, one in destinations.items()} for destinations in before]
    await changed(coordinator, DestinationOrder(order.action, "other", LocalSettings("copy")))
    assert len(await coordinator.orchestrator.list_backups(CLUSTER, "other")) == 1


async def test_a_place_that_was_refused_or_forgotten_can_be_used_again(scene: Scene) -> None:
    """Only what is kept or being proven holds a place."""
    coordinator = await scene.coordinator()
    for _ in range(2):
        with pytest.raises(DestinationRefused):
            await coordinator.destination("there", LocalSettings("broken"))
    await coordinator.destination("there")
    await changed(coordinator, DestinationOrder("delete", "there"))
    await coordinator.destination("there")


async def test_whoever_moves_a_destination_is_told_of_the_backups_that_stay(scene: Scene) -> None:
    """They are listed no more: the answer and the request say how many, and where."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    assert (await changed(coordinator, update("empty"))).warnings == []
    await changed(coordinator, update("there"))
    for _ in range(2):
        tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, "there")))
    assert (await changed(coordinator, update("there", throttle=3))).warnings == []
    change = await changed(coordinator, update("elsewhere"))
    [warning] = change.warnings
    assert "1 backup " in warning
    assert "local there" in warning
    request = await coordinator.store.requests.get(change.request_id)
    assert request is not None
    assert request.result["warnings"] == [warning]
    assert await coordinator.orchestrator.list_backups(CLUSTER, "there") == []
    assert (await changed(coordinator, update("there"))).warnings == []
    assert len(await coordinator.orchestrator.list_backups(CLUSTER, "there")) == 1


async def test_backups_that_can_not_be_counted_are_spoken_of_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is often moved because the old one is gone."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("there", shared=True))
    scene.world.places["elsewhere"] = scene.world.places.pop("there")
    scene.world.places["elsewhere"].repository_id = "another"
    change = await changed(coordinator, update("elsewhere", shared=True))
    [warning] = change.warnings
    assert "could not be seen" in warning


async def test_a_former_place_that_hangs_holds_the_move_up_only_for_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead store answers nobody: the agents aren't all asked one after the other for one sentence of warning."""
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, former_place=0.2))
    await coordinator.destination("there", LocalSettings("there", shared=True))
    asked = 0
    own = ToyBackups.list

    async def hangs(backups: ToyBackups, destination: str | None) -> list[BackupView]:
        nonlocal asked
        if backups._node.destinations["there"][1].path != "there":
            return await own(backups, destination)
        asked += 1
        await asyncio.sleep(3600)
        return []

    monkeypatch.setattr(ToyBackups, "list", hangs)
    change = await changed(coordinator, update("elsewhere", shared=True))
    [warning] = change.warnings
    assert "could not be seen (no answer in time)" in warning
    assert asked == 1


async def test_an_agent_that_missed_an_update_is_told_when_its_command_fails_for_it(scene: Scene) -> None:
    """It was down then; it comes back with keys that were revoked meanwhile, and another agent put the plan."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there", LocalSettings("there", shared=True))
    held = scene.nodes[1].destinations["there"]
    await changed(coordinator, update("there", throttle=5, shared=True))
    scene.nodes[1].destinations["there"] = held
    scene.nodes[1].failures[Kind.UPLOAD] = [ToyFailure("storage_denied", "revoked keys")]
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS, request
    assert scene.nodes[1].destinations["there"][:2] == scene.nodes[0].destinations["there"][:2]
    scene.nodes[1].failures[Kind.UPLOAD] = [ToyFailure("storage_denied", "keys that are simply wrong")]
    _, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert (request.state, request.partial) == (RequestState.ERROR, True)
