"""kill -9 of the coordinator at its durable writes while a schedule's run, or its next attempt, begins."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from agent.wire.commands import Kind
from coordinator.model.schedules import ONCE
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal
from tests.orchestrate.scheduled import due_now

BEGINS = [(number, durable) for number in range(1, 8) for durable in (False, True)]
"""The schedule, the tag, the decision, the request, its scope, that it runs, its plan: each before and after."""
LATER = [(12, True), (18, False), (21, True)]
"""In the backup itself, and around its end."""


async def lived(
    scene: Scene, mortal: Mortal, state: Path, death: tuple[int, bool] | None, keep: bool
) -> dict[str, Any]:
    """What a schedule that is due came to, over the lives of its coordinator."""
    shutil.copytree(scene.directory / "coordinator", state)
    for node in scene.nodes:
        node.done.clear()
        node.snapshots.clear()
    schedule = due_now(unix_seconds(), "there", interval=ONCE, keep=keep)
    urls = [agent.url for agent in scene.agents]
    order: dict[str, Any] = msgspec.to_builtins(schedule)
    return await mortal.carry_out(state, urls, "schedule", order, [] if death is None else [death])


def once_each(scene: Scene, kinds: dict[Kind, int]) -> None:
    """Each kind was done so often, and no command twice."""
    done = Counter(kind for node in scene.nodes for kind, _ in node.done)
    commands = Counter(command for node in scene.nodes for _, command in node.done)
    assert {kind: done[kind] for kind in kinds} == kinds
    assert set(commands.values()) == {1}


async def test_a_schedule_whose_coordinator_is_killed_anywhere_runs_once(scene: Scene) -> None:
    """Promise: whatever write it dies at, the occurrence becomes one backup, taken once by each node and under the tag
    that was decided; none is lost and none comes twice."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await scene.stack.aclose()
    async with Mortal() as mortal:
        for number, death in enumerate([*BEGINS, *LATER]):
            answer = await lived(scene, mortal, scene.directory / f"schedule{number}", death, keep=False)
            assert (answer["lives"], answer["state"]) == (2, "success"), (death, answer)
            backups = [request for request in answer["requests"] if request[0] == "backup"]
            assert backups == [["backup", "success", answer["tag"]]], (death, answer)
            assert answer["events"] == ["success"], (death, answer)
            once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3, Kind.DELETE: 0})


async def test_a_copy_that_is_tried_again_is_tried_once_over_deaths(scene: Scene) -> None:
    """Promise: killed between the end of the backup, the decision to try again, its request and its end, one sync
    brings the backup to the destination that had failed."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await scene.stack.aclose()

    async def once(number: int, death: tuple[int, bool] | None) -> dict[str, Any]:
        scene.nodes[1].failures[Kind.UPLOAD] = [ToyFailure("storage_failed", "no room")]
        answer = await lived(scene, mortal, scene.directory / f"again{number}", death, keep=True)
        assert [request[:2] for request in answer["requests"] if request[0] != "destination"] == [
            ["backup", "error"],
            ["sync", "success"],
        ], (death, answer)
        assert answer["events"] == ["success", "error", "success"], (death, answer)
        once_each(scene, {Kind.SNAPSHOT: 3, Kind.SYNC: 3})
        return answer

    async with Mortal() as mortal:
        writes = (await once(0, None))["writes"]
        for number, before_the_end in enumerate(range(0, 22, 2), 1):
            await once(number, (writes - before_the_end, bool(number % 2)))
