"""A restore that stopped past the point of no return, sent again to a cluster that is another one meanwhile: views have
come, nodes are gone."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import Request, RequestKind, RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, backed_up, restored

NAME = f"{VIEW.keyspace}.{VIEW.name}"


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


def refused_for_the_view(request: Request) -> None:
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert (request.error["code"], request.error["fields"]["views"]) == ("views_changed", [NAME])
    assert NAME in request.message


async def test_nothing_is_imported_under_a_view_that_was_owed_and_made_by_hand(scene: Scene) -> None:
    """Promise: an import fills no view, so the restore that goes on names the view instead of leaving rows out of it;
    dropped again, it is made at the end."""
    scene.world.views["shop", VIEW.name] = VIEW
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped_in_import(scene, coordinator, tag, 1)
    assert former.result["owed_views"] == [VIEW.statement]
    scene.world.views["shop", VIEW.name] = VIEW
    again = await restored(coordinator, tag)
    refused_for_the_view(again)
    assert again.result["owed_views"] == [VIEW.statement]
    assert scene.world.count(Kind.IMPORT) == 2
    scene.world.views.clear()
    last = await restored(coordinator, tag)
    assert (last.state, last.result["job"]) == (RequestState.SUCCESS, former.id)
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert scene.world.rows() == before
    assert scene.world.count(Kind.TRUNCATE) == 1


async def test_nothing_is_imported_under_a_view_that_came_after_the_verdict(scene: Scene) -> None:
    """Promise: also when no import had begun, and what the first preflight saw still holds."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped_in_schema(scene, coordinator, tag)
    scene.world.views["shop", VIEW.name] = VIEW
    again = await restored(coordinator, tag)
    refused_for_the_view(again)
    assert scene.world.count(Kind.IMPORT) == 0
    assert scene.world.views, "nobody drops a view whose statement nobody has kept"
    scene.world.views.clear()
    last = await restored(coordinator, tag)
    assert (last.state, last.result["job"]) == (RequestState.SUCCESS, former.id)
    assert scene.world.rows() == before


async def test_a_node_that_comes_back_and_tells_of_dropped_views_stops_nothing(scene: Scene) -> None:
    """Promise: one that was away while the views were dropped learns of it a moment after it answers: nobody is told to
    drop what is gone, and no restore stops for it with its tables emptied."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator = await scene.coordinator(timing=msgspec.structs.replace(TIMING, brief=10.0))
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    gate = scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
    restore = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
    scene.nodes[2].stale = [VIEW] * 9
    gate.set()
    request = await restore
    assert request.state is RequestState.SUCCESS, request
    assert scene.nodes[2].stale == []


async def test_views_are_made_once_more_when_a_node_has_to_import_again_after_them(scene: Scene) -> None:
    """Promise: a check that comes late, and finds too little, takes back what the views were made of."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    scene.nodes[1].failures[Kind.CHECK] = [ToyFailure("no_room", "not now")]
    assert (await restored(coordinator, tag)).state is RequestState.ERROR
    assert scene.world.views
    scene.nodes[1].failures[Kind.CHECK] = [ToyFailure("counts_differ", "not what the backup has")]
    found = await restored(coordinator, tag)
    assert any(f"drop {NAME} before" in warning for warning in found.result["warnings"])
    refused_for_the_view(await restored(coordinator, tag))
    assert scene.world.count(Kind.IMPORT) == 3
    scene.world.views.clear()
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
    assert scene.world.count(Kind.IMPORT) == 4
    assert scene.world.views == {("shop", VIEW.name): VIEW}


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
