"""Restores that would take back the coordinator's own state, or empty it."""

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import StateOnThisCluster
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_point_in_time import SHOP, Story
from tests.orchestrate.test_point_in_time import story as story
from tests.orchestrate.test_restore_flow import add_rows, backed_up, restored


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


async def test_a_restore_of_a_backup_never_empties_the_own_state(scene: Scene) -> None:
    """Promise: by name or among all it is refused before anything happens; other keyspaces come back, and all of them
    where the state is elsewhere."""
    _, tag = await backed_up(scene)
    add_rows(scene)
    await scene.stack.aclose()
    urls, directory, before = [agent.url for agent in scene.agents], scene.directory / "coordinator", scene.world.rows()
    here = frozenset({scene.nodes[1].host_id})
    async with ToyCoordinator(directory, urls, state_on=here, state_keyspace="shop") as coordinator:
        for keyspaces in (None, {"shop": RestoreTables()}):
            order = RestoreOrder(tag, destination="there", truncate=True, keyspaces=keyspaces)
            with pytest.raises(StateOnThisCluster) as refused:
                await coordinator.orchestrator.start_restore(CLUSTER, order)
            assert refused.value.fields["nodes"] == [scene.nodes[1].address]
        assert scene.world.rows() == before
        assert scene.world.count(Kind.TRUNCATE) == 0
        request = await restored(coordinator, tag, keyspaces={"many": RestoreTables()})
        assert request.state is RequestState.SUCCESS, request
    async with ToyCoordinator(directory, urls, state_on=frozenset({"another"}), state_keyspace="shop") as coordinator:
        assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
