"""kill -9 of the coordinator at its durable writes of a backup with scripts: each runs once on each node."""

import shutil
from collections import Counter

from agent.wire.commands import Kind
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal


async def test_a_backup_with_scripts_whose_coordinator_is_killed_at_any_write_runs_each_once(scene: Scene) -> None:
    """Promise: at every write, before it and after it in turn, the same backup comes out, with each script run once."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    scripts = {"pre_script": "freeze", "post_script": "notify"}
    death, lives = 0, 2
    async with Mortal() as mortal:
        while lives == 2:
            death += 1
            tag = f"tag{death}"
            order = {"tag": tag, "time": death, "keep": False, "copies": [{"destination": "there"}], **scripts}
            state = scene.directory / f"life{death}"
            shutil.copytree(scene.directory / "coordinator", state)
            for node in scene.nodes:
                node.done.clear()
            answer = await mortal.carry_out(state, urls, "backup", order, [(death, death % 2 == 0)])
            lives = answer["lives"]
            assert (answer["state"], answer["events"]) == ("success", ["success"]), (death, answer)
            for node in scene.nodes:
                assert [when for when, of in node.scripts if of == tag] == ["pre", "post"], death
                assert Counter(kind for kind, _ in node.done)[Kind.SNAPSHOT] == 1
                assert not node.snapshots
    assert death > 20
