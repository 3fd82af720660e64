"""A restore that stopped past the point of no return, sent again to a cluster that is another one meanwhile: views have
come, nodes are gone."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import Request, RequestKind, RequestState
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


async def stopped_in_import(scene: Scene, coordinator: ToyCoordinator, tag: str, *numbers: int) -> Request:
    """A restore in which these nodes could not import."""
    for number in numbers:
        scene.nodes[number].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    request = await restored(coordinator, tag)
    assert (request.state, request.result["resumable_job"]) == (RequestState.ERROR, request.id)
    for number in numbers:
        scene.nodes[number].failures.clear()
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


@pytest.mark.parametrize("force", [False, True])
async def test_a_node_that_died_keeps_no_other_from_its_outstanding_import(scene: Scene, force: bool) -> None:
    """Promise: once an import has begun a node that can't fetch counts for itself: the others are finished, it is
    named, nobody stops what its agent may be fetching, and once it is back the same restore finishes it."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped_in_import(scene, coordinator, tag, 1, 2)
    dead = scene.nodes[2]
    await scene.agents[2].stop()
    dead.up = False
    again = await restored(coordinator, tag, force=force)
    assert (again.state, again.partial, again.result["job"]) == (RequestState.ERROR, True, former.id)
    assert again.error is not None
    assert list(again.error["fields"]["nodes"]) == [dead.address]
    assert sorted(again.result["imported"]) == [node.address for node in scene.nodes[:2]]
    assert not scene.nodes[1].held
    fetches = [each for each in await coordinator.store.commands.of(again.id) if each.kind is Kind.FETCH]
    assert [(each.host_id, each.cancel_owed) for each in fetches if not each.accepted] == [(dead.host_id, False)]
    dead.up = True
    await scene.agents[2].start()
    last = await restored(coordinator, tag)
    assert (last.state, last.result["job"]) == (RequestState.SUCCESS, former.id), last
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_a_cancel_still_ends_a_fetch_after_an_import_has_begun(scene: Scene) -> None:
    """Promise: that no node's failure ends the phase for the others doesn't mean that a person can't."""
    coordinator, tag = await backed_up(scene)
    former = await stopped_in_import(scene, coordinator, tag, 1, 2)
    slow = scene.nodes[1]
    slow.begun[Kind.FETCH].clear()
    gate = slow.gates[Kind.FETCH] = asyncio.Event()
    again = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(slow.begun[Kind.FETCH].wait(), 10)
    [running] = await coordinator.store.requests.find(kind=RequestKind.RESTORE, state=RequestState.RUNNING)
    await coordinator.orchestrator.cancel(running.id, force=True)
    ended = await again
    gate.set()
    assert (ended.state, ended.result["resumable_job"]) == (RequestState.CANCELLED, former.id)
    assert scene.world.count(Kind.IMPORT) == 1


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
