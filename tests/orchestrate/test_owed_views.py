"""A view that a restore took down and never made again is made by whichever restore of its table ends well first."""

from agent.wire.commands import Kind
from coordinator.model.requests import RequestState
from coordinator.orchestrate.restore.owed_views import OWED_VIEWS
from tests.cluster.toy_coordinator import ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import VIEW, backed_up, restored
from tests.orchestrate.test_restore_told import cancelled_in


async def owing(scene: Scene) -> tuple[ToyCoordinator, str]:
    """A coordinator whose restore was cancelled by force while it imported, and another backup, which never knew the
    view."""
    scene.world.views["shop", VIEW.name] = VIEW
    coordinator, tag = await backed_up(scene)
    other, _ = await coordinator.backup(keep=False, copies=copies("there"))
    request = await cancelled_in(scene, coordinator, tag, Kind.IMPORT, truncate=True)
    assert request.state is RequestState.CANCELLED
    assert request.result[OWED_VIEWS] == [VIEW.statement]
    assert scene.world.views == {}
    return coordinator, other


async def test_a_restore_of_another_backup_makes_what_an_earlier_one_owes(scene: Scene) -> None:
    """Promise: who cancels a restore in panic and takes another backup instead loses no view, though no backup has it;
    the answer names it."""
    coordinator, other = await owing(scene)
    request = await restored(coordinator, other)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.views == {("shop", VIEW.name): VIEW}
    assert OWED_VIEWS not in request.result
    assert any(f"shop.{VIEW.name}, " in text and "are made as they were" in text for text in request.result["warnings"])


async def test_what_was_paid_is_not_paid_again(scene: Scene) -> None:
    """Promise: a view that a person dropped after it was made again stays dropped."""
    coordinator, other = await owing(scene)
    await restored(coordinator, other)
    scene.world.views.clear()
    request = await restored(coordinator, other)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.views == {}


async def test_a_name_that_is_anothers_by_now_is_left_to_it(scene: Scene) -> None:
    """Promise: no restore fails for a view whose name a person has given to a table."""
    coordinator, other = await owing(scene)
    scene.world.tables["shop"][VIEW.name] = "a-table"
    request = await restored(coordinator, other)
    assert request.state is RequestState.SUCCESS, request
    assert scene.world.views == {}
