"""A restore that stopped, sent again when what it had done no longer stands: a new one begins, and says why."""

import uuid

import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import Request, RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import ToyCoordinator
from tests.fast.coordinator.orchestrate.conftest import Scene
from tests.fast.coordinator.orchestrate.test_restore_flow import backed_up, restored


async def stopped(scene: Scene, coordinator: ToyCoordinator, tag: str) -> Request:
    """A restore in which the last node could not import."""
    scene.nodes[2].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    request = await restored(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.result["resumable_job"] == request.id
    scene.nodes[2].failures.clear()
    return request


def begun_anew(former: Request, again: Request, why: str) -> None:
    assert again.state is RequestState.SUCCESS, again
    assert "job" not in again.result
    [told] = [warning for warning in again.result["warnings"] if former.id in warning]
    assert why in told


@pytest.mark.parametrize("lost", ["truncated", "made anew", "dropped"])
async def test_a_second_disaster_makes_it_a_new_restore(scene: Scene, lost: str) -> None:
    """An application empties, drops or makes anew a table of which nodes have imported: never success with rows
    missing."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    if lost == "truncated":
        scene.world.empty("shop", "orders")
    else:
        for node in scene.nodes:
            node.rows["shop", "orders"].clear()
        del scene.world.tables["shop"]["orders"]
    if lost == "made anew":
        scene.world.tables["shop"]["orders"] = str(uuid.uuid4())
    again = await restored(coordinator, tag)
    begun_anew(former, again, "shop.orders is there no more" if lost == "dropped" else f"shop.orders was {lost}")
    assert scene.world.rows() == before


@pytest.mark.parametrize("force", [False, True])
async def test_a_node_that_was_rebuilt_meanwhile_makes_it_a_new_restore(scene: Scene, force: bool) -> None:
    """The same tokens, another host id: nobody will ever answer for the old one."""
    before = {node.number: dict(node.rows) for node in scene.nodes}
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    rebuilt = scene.nodes[2]
    gone, rebuilt.host_id = rebuilt.host_id, "99999999-9999-9999-9999-999999999999"
    again = await restored(coordinator, tag, force=force)
    begun_anew(former, again, f"the ring has the nodes {gone} no more")
    assert {node.number: node.rows for node in scene.nodes} == before


async def test_what_applications_write_meanwhile_is_no_disaster(scene: Scene) -> None:
    """Nor is that other tables are truncated: the job goes on, and nothing is emptied twice."""
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    scene.nodes[0].rows["shop", "orders"].add("written since")
    scene.world.empty("system_traces", "events")
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)
    assert "written since" in scene.nodes[0].rows["shop", "orders"]
    assert scene.world.count(Kind.TRUNCATE) == 1
