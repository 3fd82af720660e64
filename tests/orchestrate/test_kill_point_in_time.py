"""kill -9 of the coordinator of a restore to a point at its durable writes, some of them while every node is stopped:
the next life ends it the same, also one that has lost all its state."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.wire.commands import Kind
from tests.cluster.toy_cluster import ToyFailure
from tests.orchestrate.conftest import Scene
from tests.orchestrate.mortal import Mortal
from tests.orchestrate.point_story import story_so_far
from tests.orchestrate.test_point_in_time import Story

EVERY = 9
"""Of how many writes one is died at; tests/long/coordinator dies at each."""


class Lives:
    """A story whose coordinators die, and what is put back between two runs of it."""

    def __init__(self, scene: Scene, story: Story) -> None:
        self.scene = scene
        self.story = story
        self.urls = [agent.url for agent in scene.agents]
        self.order: dict[str, Any] = msgspec.to_builtins(story.order())

    def fresh(self, name: str) -> Path:
        """The cluster as before, and a copy of the state."""
        self.story.begin_anew()
        state = self.scene.directory / name
        shutil.copytree(self.scene.directory / "coordinator", state)
        return state


@pytest.fixture
async def lives(scene: Scene) -> Lives:
    return Lives(scene, await story_so_far(scene))


async def die_at(lives: Lives, every: int, *, forget: bool) -> Counter[str]:
    """Kill the coordinator at each `every`th write of a restore; how often each end was seen."""
    ends, lived = Counter[str](), Counter[int]()
    async with Mortal() as mortal:
        whole = await mortal.carry_out(lives.fresh("whole"), lives.urls, "pit", lives.order, [])
        assert whole["state"] == "success", whole
        for number, death in enumerate(range(1, whole["writes"], every)):
            state = lives.fresh(f"death{death}")
            when = [(death, number % 2 == 0)]
            answer = await mortal.carry_out(state, lives.urls, "pit", lives.order, when, forget=forget)
            lived[answer["lives"]] += 1
            ends[answer["state"]] += 1
            if answer["state"] == "forgotten":
                assert forget
                assert lives.story.is_as_before(), (death, answer)
            else:
                assert answer["state"] == "success", (death, answer)
                assert lives.story.is_restored(), (death, answer)
                assert lives.story.done_once(), (death, [node.done for node in lives.scene.nodes])
                assert await lives.story.documents_ended()
            shutil.rmtree(state)
    assert_died(lived, at_least=sum(lived.values()) // 2)
    return ends


def assert_died(lived: Counter[int], at_least: int) -> None:
    """`lived`: how many runs took so many lives. A run may be at its end before the write that another one had, for how
    often nodes are asked again hangs on time."""
    assert {*lived} <= {1, 2}, lived
    assert lived[2] >= at_least, lived


@pytest.mark.parametrize("forget", [False, True], ids=["state kept", "state lost"])
async def test_a_coordinator_killed_anywhere_is_followed_by_one_that_ends_it(lives: Lives, forget: bool) -> None:
    """Promise: killed at any write, between any two phases, with all nodes stopped: the next life brings every node to
    the point, and nothing is done twice. With its state lost the agents' documents tell it; before the first of them
    nothing has happened to any node."""
    ends = await die_at(lives, EVERY, forget=forget)
    assert ends["success"] > 5
    assert (ends["forgotten"] > 0) is forget


@pytest.mark.parametrize("forget", [False, True], ids=["state kept", "state lost"])
async def test_an_undo_whose_coordinator_is_killed_is_finished(lives: Lives, forget: bool) -> None:
    """Promise: that the job goes back is known to every later life: whichever dies, all nodes run with their old data,
    though the one that had refused would not refuse again."""
    short = lives.scene.nodes[1]
    async with Mortal() as mortal:
        short.failures[Kind.PIT_COVER] = [ToyFailure("staging_refused", "no") for _ in range(2)]
        whole = await mortal.carry_out(lives.fresh("whole"), lives.urls, "pit", lives.order, [])
        assert (whole["state"], short.failures[Kind.PIT_COVER]) == ("error", []), whole
        writes, lived = whole["writes"], Counter[int]()
        for death in range(writes - 24, writes, 4):
            short.failures[Kind.PIT_COVER] = [ToyFailure("staging_refused", "no") for _ in range(2)]
            state = lives.fresh(f"death{death}")
            answer = await mortal.carry_out(state, lives.urls, "pit", lives.order, [(death, True)], forget=forget)
            lived[answer["lives"]] += 1
            if answer["state"] != "forgotten":  # the end was told to the agents, and died with the coordinator
                assert answer["state"] == "error", (death, answer)
                assert "every node runs with its old data" in answer["message"]
            assert lives.story.is_as_before(), (death, answer)
            assert lives.story.nothing_left(), (death, answer)
    assert_died(lived, at_least=2)  # the last writes of a run that had more of them may all be missed


async def test_coordinators_that_die_one_after_the_other_and_forget_all_still_end_it(lives: Lives) -> None:
    """Promise: five deaths in a row, each without the state of the one before."""
    async with Mortal() as mortal:
        deaths = [(60, True), (25, False), (20, True), (25, False), (20, True)]
        answer = await mortal.carry_out(lives.fresh("state"), lives.urls, "pit", lives.order, deaths, forget=True)
    assert answer["state"] == "success", answer
    assert answer["lives"] > 3
    assert lives.story.is_restored()
    assert lives.story.done_once()
