"""A restore to a point that stopped half-way, and what is ordered after it: who is refused, and until when."""

import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import RequestState
from coordinator.orchestrate.point_in_time.errors import JobUnfinished
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.test_point_followed import another
from tests.orchestrate.test_point_in_time import SHOP, Story
from tests.orchestrate.test_point_in_time import story as story


async def test_what_a_later_restore_went_over_is_in_nobodys_way(story: Story) -> None:
    """Promise: another point that was forced past a job that stopped, and succeeded, is the end of it: the next point
    needs no force, here and at a coordinator that only hears of both from the agents; a later one that stops is
    refused by as ever."""
    story.scene.nodes[2].failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    assert (await story.restored()).state is RequestState.ERROR
    assert (await story.restored(keyspaces={"many": []}, force=True)).state is RequestState.SUCCESS
    assert (await story.restored(keyspaces={"many": ["t1"]})).state is RequestState.SUCCESS
    async with another(story.scene) as other:
        await other.destination("there")
        order = story.order(keyspaces={"many": ["t1"]})
        request = await other.ended(await other.orchestrator.points.start(CLUSTER, order))
        assert request.state is RequestState.SUCCESS, request
    story.scene.nodes[2].failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    later = await story.restored(keyspaces={**SHOP, "many": ["t1"]})
    assert later.state is RequestState.ERROR
    with pytest.raises(JobUnfinished) as refused:
        await story.start(keyspaces={"many": ["t1"]})
    assert refused.value.fields["request"] == later.id


async def test_an_undo_says_of_no_node_that_it_runs_which_another_restore_keeps_down(story: Story) -> None:
    """Promise: a node that has its old data and was not started is named, also where the undo went on in a second
    request because of another node."""
    kept, away = story.scene.nodes[1], story.scene.nodes[2]
    kept.point.kept_down_by = "the other"
    away.failures[Kind.PIT_COVER] = [ToyFailure("staging_refused", "no") for _ in range(5)]
    away.failures[Kind.PIT_UNDO] = [ToyFailure("cassandra_not_started", "no")] * 4
    first = await story.restored()
    assert f"{away.address} could not be given the old data back yet" in first.message
    second = await story.restored()
    assert f"every node has its old data; {kept.address} was not started, and a warning says why" in second.message
    assert "runs" not in second.message
