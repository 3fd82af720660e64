"""kill -9 of the coordinator before and after every durable write of a backup and of a restore."""

import shutil
from collections.abc import Iterator

import pytest

from agent.wire.commands import Kind
from tests.cluster.toy_coordinator import copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal
from tests.orchestrate.test_kill import once_each
from tests.orchestrate.test_kill_point_in_time import Lives, die_at
from tests.orchestrate.test_kill_point_in_time import lives as lives
from tests.orchestrate.test_kill_undo import FAILING, failing


def deaths() -> Iterator[tuple[int, bool]]:
    """Every write, before and after; the caller stops when a life got by without dying."""
    number = 0
    while True:
        number += 1
        yield number, False
        yield number, True


@pytest.mark.parametrize("kind", ["backup", "restore"])
async def test_killed_at_every_write_it_ends_the_same(scene: Scene, kind: str) -> None:
    """Same request, same result, nothing done twice, wherever the coordinator died."""
    before = scene.world.rows()
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    survived = 0
    async with Mortal() as mortal:
        for number, death in enumerate(deaths()):
            for node in scene.nodes:
                node.done.clear()
            state = scene.directory / f"life{number}"
            shutil.copytree(scene.directory / "coordinator", state)
            if kind == "backup":
                order = {"tag": f"tag{number}", "time": number, "keep": False, "copies": [{"destination": "there"}]}
            else:
                order = {"tag": tag, "destination": "there", "truncate": True}
                for node in scene.nodes:
                    node.rows["shop", "orders"] = {"wrong"}
            answer = await mortal.carry_out(state, urls, kind, order, [death])
            assert (answer["state"], answer["events"]) == ("success", ["success"]), (death, answer)
            if kind == "backup":
                once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3, Kind.DELETE: 0})
            else:
                once_each(scene, {Kind.FETCH: 3, Kind.TRUNCATE: 1, Kind.IMPORT: 3, Kind.CLEAN: 3})
                assert scene.world.rows() == before
            shutil.rmtree(state)
            if answer["lives"] == 1:
                survived += 1
                if survived == 2:
                    break
    assert number > 30


@pytest.mark.parametrize("kind", FAILING)
async def test_killed_at_every_write_a_restore_that_fails_is_undone(scene: Scene, kind: Kind) -> None:
    """Promise: no table is changed and nothing stays, wherever the coordinator died, though the node that failed is
    back as soon as the undoing has begun."""
    undone = await failing(scene, kind)
    async with Mortal() as mortal:
        whole = (await undone.killed(mortal, []))["writes"]
        assert isinstance(whole, int)
        for number in range(1, whole + 1):
            for after in (False, True):
                assert (await undone.killed(mortal, [(number, after)]))["lives"] == 2, (number, after)


@pytest.mark.parametrize("forget", [False, True], ids=["state kept", "state lost"])
async def test_a_restore_to_a_point_killed_at_every_write_ends_the_same(lives: Lives, forget: bool) -> None:
    """Promise: as tests/orchestrate has it for some of the writes, at every one."""
    ends = await die_at(lives, 1, forget=forget)
    assert ends["success"] > 50
