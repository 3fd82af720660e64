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
