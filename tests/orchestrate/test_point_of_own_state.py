"""A restore to a point that would stop the Cassandra which holds the coordinator's own state."""

import pytest

from coordinator.model.requests import RequestState
from coordinator.orchestrate.point_in_time.errors import StateOnThisCluster
from tests.cluster.toy_coordinator import ToyCoordinator
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story


async def test_a_restore_that_would_stop_the_own_state_is_refused(story: Story) -> None:
    """Promise: no node is stopped that the coordinator needs to go on. The state on another cluster's nodes is
    in nobody's way."""
    scene = story.scene
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    here = frozenset({scene.nodes[1].address, "192.0.2.1"})
    async with ToyCoordinator(scene.directory / "coordinator", urls, state_on=here) as story.coordinator:
        with pytest.raises(StateOnThisCluster) as refused:
            await story.start()
        assert refused.value.fields["nodes"] == [scene.nodes[1].address]
        assert story.is_as_before()
    async with ToyCoordinator(
        scene.directory / "coordinator", urls, state_on=frozenset({"192.0.2.1"})
    ) as story.coordinator:
        assert (await story.restored()).state is RequestState.SUCCESS
