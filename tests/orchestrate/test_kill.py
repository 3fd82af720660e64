"""kill -9 of the coordinator at its durable writes: the same request ends the same, and nothing is done twice."""

import shutil
import uuid
from collections import Counter

import pytest

from agent.wire.commands import Kind
from agent.wire.destinations import LocalSettings
from coordinator.model.orders import DestinationOrder
from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal

BACKUP_DEATHS = [(1, True), (5, True), (10, True), (19, False)]
"""Write number, and whether it is durable: before the fan-out, after one of three agents accepted, between barriers,
before the end. tests/long/coordinator does every one."""
BACKUP_ENDS = [(18, True), (19, False), (19, True)]
CHANGE_DEATHS = [(1, True), (2, False), (2, True), (3, False), (3, True), (4, False)]
"""The note, the destination, the request that tells all agents, the note again."""
RESTORE_DEATHS = [(20, False), (24, True), (26, False), (36, True)]


def once_each(scene: Scene, kinds: dict[Kind, int]) -> None:
    """Each kind was done so often, and no command twice."""
    done = Counter(kind for node in scene.nodes for kind, _ in node.done)
    commands = Counter(command for node in scene.nodes for _, command in node.done)
    assert {kind: done[kind] for kind in kinds} == kinds
    assert set(commands.values()) == {1}


async def test_a_backup_whose_coordinator_is_killed_anywhere_ends_the_same(scene: Scene) -> None:
    """Killed before the fan-out, after one of three accepted, between the barriers, before the reply."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    async with Mortal() as mortal:
        for number, death in enumerate(BACKUP_DEATHS):
            for node in scene.nodes:
                node.done.clear()
            order = {"tag": f"tag{number}", "time": number, "keep": False, "copies": [{"destination": "there"}]}
            state = scene.directory / "coordinator"
            answer = await mortal.carry_out(state, urls, "backup", order, [death])
            assert (answer["state"], answer["events"]) == ("success", ["success"]), (death, answer)
            assert answer["lives"] == 2, (death, answer)
            once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3, Kind.DELETE: 0})
            assert not any(node.snapshots for node in scene.nodes)


async def test_a_one_shot_destination_is_there_until_the_end_is_durable(scene: Scene) -> None:
    """Killed around the end: the request goes on with its destination, which only then is forgotten everywhere."""
    coordinator = await scene.coordinator()
    order = DestinationOrder("add", "once", LocalSettings(path="once"), one_shot=True)
    change = await coordinator.orchestrator.start_destination_change(CLUSTER, order)
    await coordinator.ended(change.request_id)
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    async with Mortal() as mortal:
        for number, death in enumerate(BACKUP_ENDS):
            state = scene.directory / f"backup{number}"
            shutil.copytree(scene.directory / "coordinator", state)
            backup = {"tag": f"tag{number}", "time": number, "keep": False, "copies": [{"destination": "once"}]}
            answer = await mortal.carry_out(state, urls, "backup", backup, [death])
            assert (answer["state"], answer["events"]) == ("success", ["success"]), (death, answer)
            assert answer["lives"] == 2, (death, answer)
            assert not any(node.destinations for node in scene.nodes)
            left = await scene.coordinator(state.name)
            assert await left.store.destinations.all(CLUSTER) == []


@pytest.mark.parametrize("action", ["add", "update"])
async def test_a_change_of_a_destination_that_is_killed_is_finished_or_taken_back(scene: Scene, action: str) -> None:
    """At every write of it: the next life and all agents agree on the settings, and take what is sent after that."""
    coordinator = await scene.coordinator()
    if action == "update":
        await coordinator.destination("there")
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    before = [dict(node.destinations) for node in scene.nodes]
    order = {"action": action, "id": "there", "settings": {"provider": "local", "path": "elsewhere"}}
    ends = set()
    async with Mortal() as mortal:
        for number, death in enumerate(CHANGE_DEATHS):
            for node, destinations in zip(scene.nodes, before, strict=True):
                node.destinations = dict(destinations)
            state = scene.directory / f"change{number}"
            shutil.copytree(scene.directory / "coordinator", state)
            answer = await mortal.carry_out(state, urls, "destination", order, [death])
            assert (answer["lives"], set(answer["states"])) == (2, {"success"}), (death, answer)
            held = [node.destinations.get("there") for node in scene.nodes]
            ends.add(answer["kept"] and answer["kept"][1])
            assert [one and [one[0], one[1].path] for one in held] == [answer["kept"]] * 3, (death, answer)
            async with ToyCoordinator(state, urls) as again:
                settings = LocalSettings(path="elsewhere", throttle_bytes_per_second=number)
                change = DestinationOrder("update" if answer["kept"] else "add", "there", settings)
                told = await again.orchestrator.start_destination_change(CLUSTER, change)
                assert (await again.ended(told.request_id)).state is RequestState.SUCCESS
    assert ends == {"elsewhere", "there" if action == "update" else None}


async def test_a_restore_whose_coordinator_is_killed_anywhere_ends_the_same(scene: Scene) -> None:
    """The same for the phases of a restore: one truncate, every import once, every row back."""
    before = scene.world.rows()
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    async with Mortal() as mortal:
        for number, death in enumerate(RESTORE_DEATHS):
            for node in scene.nodes:
                node.done.clear()
                node.rows["shop", "orders"] = {"wrong"}
            order = {"tag": tag, "destination": "there", "truncate": True, "keyspaces": {"shop": {"truncate": True}}}
            state = scene.directory / f"restore{number}"
            shutil.copytree(scene.directory / "coordinator", state)
            answer = await mortal.carry_out(state, urls, "restore", order, [death])
            assert (answer["state"], answer["events"]) == ("success", ["success"]), (death, answer)
            assert answer["lives"] == 2, (death, answer)
            once_each(scene, dict.fromkeys([Kind.PREFLIGHT, Kind.FETCH, Kind.IMPORT, Kind.CHECK, Kind.CLEAN], 3))
            once_each(scene, {Kind.TRUNCATE: 1})
            assert scene.world.rows() == before


async def test_a_sync_whose_coordinator_is_killed_at_any_write_ends_the_same(scene: Scene) -> None:
    """At every write of a sync from a destination: each part comes over once, that of a node that left among them."""
    coordinator = await scene.coordinator()
    for name in ("there", "other"):
        await coordinator.destination(name, LocalSettings(path=name, shared=True))
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await scene.agents[2].stop()
    scene.nodes[2].host_id = str(uuid.uuid4())  # a new node in its place
    await scene.agents[2].start()
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    whole = {key for key in scene.world.places["there"].manifests if key[0] == tag}
    other = scene.world.places["other"]
    order = {"tag": tag, "source": "there", "copies": [{"destination": "other"}]}
    death, lives = 0, 2
    async with Mortal() as mortal:
        while lives == 2:
            death += 1
            for node in scene.nodes:
                node.done.clear()
            for kept in (other.plans, other.records, other.manifests):
                kept.clear()
            state = scene.directory / f"sync{death}"
            shutil.copytree(scene.directory / "coordinator", state)
            answer = await mortal.carry_out(state, urls, "sync", order, [(death, death % 2 == 0)])
            lives = answer["lives"]
            assert (answer["state"], answer["events"]) == ("success", ["success"]), (death, answer)
            once_each(scene, {Kind.SYNC: 3})
            assert other.manifests.keys() == whole
            assert {record.state for record in other.records[tag][-1:]} == {"success"}
    assert death > 10


async def test_a_coordinator_that_dies_again_and_again_still_ends(scene: Scene) -> None:
    """Ten deaths in a row, each life a little longer than the one before."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    order = {"tag": "tag", "time": 1, "keep": False, "copies": [{"destination": "there"}]}
    deaths = [(number, bool(number % 2)) for number in range(1, 11)]
    async with Mortal() as mortal:
        answer = await mortal.carry_out(scene.directory / "coordinator", urls, "backup", order, deaths)
    assert (answer["state"], answer["events"]) == ("success", ["success"])
    once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3})
