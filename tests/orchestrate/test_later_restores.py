"""Restores of the same tables that come after one that stopped: what is gone on with, and what is done anew."""

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import Request, RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story


async def from_the_backup(story: Story) -> Request:
    """A plain restore of the same table, ended."""
    order = RestoreOrder(story.tag, "there", {"shop": RestoreTables(["orders"], truncate=True)})
    started = await story.coordinator.orchestrator.start_restore(CLUSTER, order)
    return await story.coordinator.ended(started)


def holds_more_than_the_backup(story: Story) -> list[bool]:
    """Of each node, whether it has its row that is as old as the point."""
    return [f"before {node.number}" in node.rows["shop", "orders"] for node in story.scene.nodes]


async def test_a_plain_restore_is_begun_anew_after_one_to_a_point(story: Story) -> None:
    """Promise: a restore that stopped half-way at its imports isn't gone on with once a restore to a point has changed
    the same tables: every node holds the backup's rows then, not the point's."""
    node = story.scene.nodes[2]
    node.failures[Kind.IMPORT] = [ToyFailure("disk_full", "no room")] * 12
    assert (await from_the_backup(story)).state is RequestState.ERROR
    node.failures.clear()
    point = await story.restored()
    assert point.state is RequestState.SUCCESS, point
    assert holds_more_than_the_backup(story) == [True] * 3
    again = await from_the_backup(story)
    assert again.state is RequestState.SUCCESS, again
    assert f"{point.id} changed the same tables since" in str(again.result["warnings"])
    assert holds_more_than_the_backup(story) == [False] * 3


async def test_a_point_that_goes_on_after_an_import_says_so(story: Story) -> None:
    """Promise: nodes that a restore to a point keeps are let go by the same order, whatever was imported since; it says
    that these rows stay, and the same order once more brings those of the point."""
    story.scene.nodes[2].point.shut = 2
    first = await story.restored()
    assert first.state is RequestState.ERROR
    story.scene.nodes[2].point.native = True  # by hand
    plain = await from_the_backup(story)
    assert plain.state is RequestState.SUCCESS, plain
    second = await story.restored()
    assert (second.state, second.result["job"]) == (RequestState.SUCCESS, first.id), second
    assert f"the restore {plain.id} changed the same tables since this one stopped" in str(second.result["warnings"])
    third = await story.restored()
    assert third.state is RequestState.SUCCESS, third
    assert story.is_restored()
