"""The coordinator that restores the nodes which hold its own state dies at its writes, of the state and of its own."""

import pytest

from coordinator.model.requests import RequestState
from tests.cluster.sharing_machine import Mortality
from tests.orchestrate.apart_stage import Stage
from tests.orchestrate.apart_stage import stage as stage

EVERY = 13
"""Of how many writes one is died at."""


@pytest.mark.parametrize("machines", [1, 2], ids=["itself again", "the other one"])
async def test_killed_at_any_write_it_is_followed_and_nothing_is_done_twice(stage: Stage, machines: int) -> None:
    """Promise: dead before the hand-over, at it, with all nodes stopped, or when the state is back: its next life, or
    the other coordinator, brings every node to the point, and the state has the end."""
    whole = Mortality()
    await stage.begin(whole, machines)
    await stage.order()
    assert (await stage.ended()).state is RequestState.SUCCESS  # type: ignore[union-attr]
    writes, tried, died, stopped = whole.writes, 0, 0, 0
    for number, death in enumerate(range(1 + machines, writes, EVERY)):
        mortality = Mortality(death, after=number % 2 == 0)
        await stage.begin(mortality, machines)
        await stage.order()
        tried += 1
        if await stage.dies():
            died += 1
            stopped += stage.away()
            first, *others = stage.machines
            await first.end()
            if not others:
                first.start()
        request = await stage.ended()
        if request is None:
            assert stage.story.is_as_before(), death
            continue
        assert request.state is RequestState.SUCCESS, (death, request)
        assert stage.story.is_restored(), death
        assert stage.story.nothing_left(), death
        assert stage.story.done_once(), (death, [node.done for node in stage.scene.nodes])
        assert await stage.story.documents_ended(), death
    # When the state is back the other one may be the first to lead, and then the last writes aren't this one's.
    assert 2 * died > tried, (writes, tried, died)
    assert stopped > 1, (writes, stopped)
