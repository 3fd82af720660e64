"""kill -9 of the coordinator at its durable writes while archiving is switched on: every node is restarted once."""

import shutil

from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal

DEATHS = 36
"""More writes than it takes: the last ones are survived."""
STEP = 2


async def test_archiving_whose_coordinator_is_killed_anywhere_ends_the_same(scene: Scene) -> None:
    """Promise: killed before or after any of its writes, the next life restarts the nodes that are left, none twice,
    and the order is in force."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    order = {"enabled": True, "copies": [{"destination": "there"}], "directory": "/log", "drain": True}
    lives = set()
    async with Mortal() as mortal:
        for death in range(1, DEATHS, STEP):
            for agent in scene.agents:
                agent.log.order, agent.log.file, agent.log.runs = None, "", ""
                agent.log.restarts.clear()
            state = scene.directory / f"archiving{death}"
            shutil.copytree(scene.directory / "coordinator", state)
            answer = await mortal.carry_out(state, urls, "archiving", order, [(death, death % 4 == 1)])
            assert (answer["state"], answer["in_force"]) == ("success", True), (death, answer)
            assert [agent.log.restarts for agent in scene.agents] == [[True]] * 3, (death, answer)
            lives.add(answer["lives"])
    assert lives == {1, 2}
