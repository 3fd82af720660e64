"""A restore to a point that lets clients in: what a cancel says then."""

import asyncio

import pytest

from agent.wire.commands import Kind
from coordinator.model.errors import RequestFinished
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import PastThePointOfReturn
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story


async def test_no_cancel_goes_back_over_what_clients_write(story: Story) -> None:
    """Promise: once a node lets clients in, no cancel, forced or not, is taken, and none is advised."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_OPEN] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_OPEN].wait(), 20)
    for force in (False, True):
        with pytest.raises(PastThePointOfReturn, match="clients") as refused:
            await story.coordinator.orchestrator.cancel(request_id, force=force)
        assert "cancel" not in refused.value.todo
    node.gates.pop(Kind.PIT_OPEN).set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS
    with pytest.raises(RequestFinished):
        await story.coordinator.orchestrator.cancel(request_id, force=True)
