"""A restore to a point that would take back the coordinator's own state."""

import pytest

from coordinator.model.requests import RequestState
from coordinator.orchestrate.point_in_time.errors import StateOnThisCluster
from tests.cluster.toy_coordinator import ToyCoordinator
from tests.orchestrate.test_point_in_time import SHOP, Story
from tests.orchestrate.test_point_in_time import story as story


async def test_a_restore_of_the_own_state_is_refused(story: Story) -> None:
    """Promise: who leads and which fences were given never goes back to a point, named or among all; other keyspaces
    of those nodes do, and one of that name on another cluster's nodes."""
    scene = story.scene
    await scene.stack.aclose()
    urls, directory = [agent.url for agent in scene.agents], scene.directory / "coordinator"
    here = frozenset({scene.nodes[1].host_id, "another"})
    async with ToyCoordinator(directory, urls, state_on=here, state_keyspace="shop") as story.coordinator:
        for keyspaces in (SHOP, None):
            with pytest.raises(StateOnThisCluster) as refused:
                await story.start(keyspaces=keyspaces)
            assert refused.value.fields["nodes"] == [scene.nodes[1].address]
        assert story.is_as_before()
        assert (await story.restored(keyspaces={"many": []})).state is RequestState.SUCCESS
    there = frozenset({"another"})
    async with ToyCoordinator(directory, urls, state_on=there, state_keyspace="shop") as story.coordinator:
        assert (await story.restored()).state is RequestState.SUCCESS
