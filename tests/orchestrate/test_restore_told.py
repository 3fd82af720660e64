"""What the message of a restore says that ends after its point of no return without being done."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.restore.restore import RestoreFlow
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, backed_up, restored

GOES_ON = "what was fetched is kept, and the same restore posted again goes on where it stopped"


async def cancelled_in(scene: Scene, coordinator: ToyCoordinator, tag: str, kind: Kind, *, truncate: bool) -> Request:
    """A restore that was cancelled by force while the second node does that, the others having done it."""
    slow = scene.nodes[1]
    slow.gates[kind] = asyncio.Event()
    order = RestoreOrder(tag, destination="there", truncate=truncate)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await asyncio.wait_for(slow.begun[kind].wait(), 10)
    await scene.until(lambda: scene.world.count(kind) == 2)
    await coordinator.orchestrator.cancel(request_id, force=True)
    [command] = [view.id for view in await scene.agents[1].runner.views() if view.kind == kind]
    await scene.until(lambda: scene.agents[1].runner._live[command].stop_requested)
    slow.gates.pop(kind).set()
    return await coordinator.ended(request_id)


@pytest.mark.parametrize(("truncate", "emptied"), [(True, "3 tables were emptied"), (False, "no table was emptied")])
async def test_a_forced_cancel_of_an_import_says_what_is_emptied_and_what_is_in(
    scene: Scene, truncate: bool, emptied: str
) -> None:
    """Promise: the message itself says how many tables were emptied and on how many nodes they are restored, that
    nothing need be fetched again, and what to do. The restore posted again ends well, and says none of it."""
    coordinator, tag = await backed_up(scene)
    request = await cancelled_in(scene, coordinator, tag, Kind.IMPORT, truncate=truncate)
    assert request.state is RequestState.CANCELLED
    told = f"the request was cancelled; {emptied}; all that was ordered is imported on 2 of 3 nodes; {GOES_ON}"
    assert request.message == told
    order = RestoreOrder(tag, destination="there", truncate=truncate)
    again = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))
    assert (again.state, again.message) == (RequestState.SUCCESS, "restored")


async def test_a_restore_that_breaks_off_after_the_truncate_says_that_tables_are_empty(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: nothing was imported yet, and views that stood before come back: both are said."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)

    async def broken(*_: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(RestoreFlow, "_make_schema", broken)
    request = await restored(coordinator, tag)
    assert request.state is RequestState.ERROR
    assert request.message.endswith(
        f"a mistake; 3 tables were emptied; nothing is restored yet; {GOES_ON}; views that were dropped are made again"
    )


async def test_a_truncate_that_failed_may_have_emptied_tables(scene: Scene) -> None:
    """Promise: where it isn't known, the message says so, and names the views that could not be made again."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    for node in scene.nodes:
        node.failures[Kind.TRUNCATE] = [ToyFailure("cql_failed", "no such luck")] * 9
        node.failures[Kind.CREATE_VIEWS] = [ToyFailure("cql_failed", "not now")] * 9
    request = await restored(coordinator, tag)
    assert request.state is RequestState.ERROR
    assert request.message.endswith(
        f"no such luck; 3 tables may have been emptied; nothing is restored yet; {GOES_ON}; "
        f"1 view is owed: shop.{VIEW.name}"
    )
    assert request.result["owed_views"] == [VIEW.statement]


async def test_a_restore_before_its_first_change_says_that_no_table_was_changed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: past the point of no return, but with nothing sent yet, nothing is called changed."""
    coordinator, tag = await backed_up(scene)

    async def broken(*_: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(RestoreFlow, "_truncate", broken)
    request = await restored(coordinator, tag)
    assert request.message.endswith(f"a mistake; no table was changed; {GOES_ON}")


async def test_a_restore_that_some_nodes_could_not_do_says_what_is_restored(scene: Scene) -> None:
    """Promise: a partial end tells the same, with the views that can't be made before every node has imported."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    scene.nodes[1].failures[Kind.IMPORT] = [ToyFailure("sstable_corrupt", "a bad block")] * 9
    request = await restored(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.message.endswith(
        f"a bad block; 3 tables were emptied; all that was ordered is imported on 2 of 3 nodes; {GOES_ON}; "
        f"1 view is owed: shop.{VIEW.name}"
    )


async def test_tables_that_were_made_anew_are_told_of(scene: Scene) -> None:
    """Promise: so are those that `force_schema` dropped and made anew, whose rows are gone likewise."""
    coordinator, tag = await backed_up(scene)
    scene.world.columns["shop", "orders"] = "a text"
    for node in scene.nodes:
        node.failures[Kind.IMPORT] = [ToyFailure("sstable_corrupt", "a bad block")] * 9
    request = await restored(coordinator, tag, force_schema=True)
    assert request.message.endswith(
        "; 2 tables were emptied, 1 table was dropped and made anew; "
        f"all that was ordered is imported on 0 of 3 nodes; {GOES_ON}"
    )
