"""kill -9 of the coordinator at its durable writes while retention deletes."""

import shutil

from coordinator.model.orders import BackupOrder
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal

DEATHS = [(1, False), (1, True), (2, True), (3, True), (6, False), (12, True), (17, False), (24, True), (30, False)]
"""Write number, and whether it is durable: the order, the run's note, the requests, their commands, and their ends."""


async def test_a_run_of_retention_that_is_killed_anywhere_ends_the_same(scene: Scene) -> None:
    """Promise: whatever write the coordinator dies at, the next life deletes what the rules let go, each backup by one
    request, frees its space, and touches none of those that stay."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    for day in range(5):
        order = BackupOrder(f"day-{day}", day * 86_400, keep=False, copies=copies("there"))
        await coordinator.ended(await coordinator.orchestrator.start_backup(CLUSTER, order))
    await scene.stack.aclose()
    kept = {
        key: (dict(place.records), dict(place.manifests), set(place.marks)) for key, place in scene.world.places.items()
    }
    urls = [agent.url for agent in scene.agents]
    async with Mortal() as mortal:
        for number, death in enumerate(DEATHS):
            for key, (records, manifests, marks) in kept.items():
                place = scene.world.places[key]
                place.records, place.manifests, place.marks = dict(records), dict(manifests), set(marks)
            state = scene.directory / f"retention{number}"
            shutil.copytree(scene.directory / "coordinator", state)
            answer = await mortal.carry_out(state, urls, "retention", {"place": "there", "count": 2}, [death])
            assert (answer["lives"], answer["tags"]) == (2, ["day-0", "day-1", "day-2"]), (death, answer)
            assert set(answer["states"]) == {"success"}, (death, answer)
            left = {tag for place in scene.world.places.values() for tag, _ in place.manifests}
            assert left == {"day-3", "day-4"}, (death, answer)
