"""A restore that stopped past the point of no return, sent again to a cluster that is another one meanwhile: views have
come, nodes are gone."""

from agent.wire.commands import Kind
from coordinator.model.requests import Request, RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import ToyCoordinator
from tests.fast.coordinator.orchestrate.conftest import Scene
from tests.fast.coordinator.orchestrate.test_restore_flow import backed_up, restored


async def stopped_in_schema(scene: Scene, coordinator: ToyCoordinator, tag: str) -> Request:
    """A restore that emptied the tables and could not make the one that is gone."""
    del scene.world.tables["shop"]["users"]
    for node in scene.nodes:
        del node.rows["shop", "users"]
        node.failures[Kind.SCHEMA] = [ToyFailure("no_room", "stopped here") for _ in range(3)]
    request = await restored(coordinator, tag)
    assert (request.state, request.result["resumable_job"]) == (RequestState.ERROR, request.id)
    assert scene.world.count(Kind.TRUNCATE) == 1
    for node in scene.nodes:
        node.failures.clear()
    return request


async def test_whom_force_would_have_left_out_takes_part_when_that_was_never_carried_out(scene: Scene) -> None:
    """Promise: what a forced restore decided holds only once it was judged; one that was refused leaves no trace in the
    restore without force that follows."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped_in_schema(scene, coordinator, tag)
    await scene.agents[2].stop()
    scene.nodes[0].failures[Kind.PREFLIGHT] = [ToyFailure("staging_refused", "no rights") for _ in range(3)]
    assert (await restored(coordinator, tag, force=True)).state is RequestState.ERROR
    scene.nodes[0].failures.clear()
    await scene.agents[2].start()
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id), again
    assert scene.world.rows() == before


async def test_force_leaves_out_a_node_that_died_after_the_tables_were_emptied(scene: Scene) -> None:
    """Promise: what is emptied already needs no node; the others are restored, and what the lost one has lost is
    said."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped_in_schema(scene, coordinator, tag)
    await scene.agents[2].stop()
    scene.nodes[2].up = False
    forced = await restored(coordinator, tag, force=True)
    assert (forced.state, forced.partial, forced.result["job"]) == (RequestState.ERROR, True, former.id), forced
    assert forced.result["nodes_not_restored"] == [scene.nodes[2].address]
    assert any("truncated too" in told and scene.nodes[2].address in told for told in forced.result["warnings"])
    assert [scene.world.rows()[node.host_id] == before[node.host_id] for node in scene.nodes] == [True, True, False]
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_what_is_made_anew_needs_every_node_also_after_the_tables_were_emptied(scene: Scene) -> None:
    """Promise: a table that `force_schema` drops goes everywhere, so a node that is down refuses it."""
    coordinator, tag = await backed_up(scene)
    await stopped_in_schema(scene, coordinator, tag)
    scene.world.columns["shop", "orders"] = "a text"
    await scene.agents[2].stop()
    scene.nodes[2].up = False
    refused = await restored(coordinator, tag, force=True, force_schema=True)
    assert refused.error is not None
    assert [each["code"] for each in refused.error["fields"]["refusals"]] == ["nodes_down"]
    plain = await restored(coordinator, tag, force_schema=True)
    assert plain.error is not None
    assert plain.error["code"] == "missing_nodes"
    assert "force doesn't lift that" not in plain.error["todo"], "nothing has to be truncated any more"
