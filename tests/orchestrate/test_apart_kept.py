"""How long a process knows what it carried out apart from the state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agent.wire.commands import Kind
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.model.requests import Request
from coordinator.orchestrate.apart_jobs import HEARD_SECONDS, KEEP_SECONDS, ApartJobs, Site
from tests.cluster.loop_time import seconds, unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, DEADLINES, PATIENCE, TIMING
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story


class Alone:
    """What goes on apart in one process; the state is `gone`, and the clocks are `ahead` by seconds."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.gone = True
        self.ahead = 0.0
        self.looks = 0
        urls = [agent.url for agent in story.scene.agents]
        self.jobs = ApartJobs(
            story.scene.directory / "alone",
            lambda: Fleet({CLUSTER: ClusterAgents(urls, deadlines=DEADLINES)}, PATIENCE, unix_seconds, seconds),
            TIMING,
            lambda: unix_seconds() + self.ahead,
            lambda: seconds() + self.ahead,
            self._away,
        )

    def _away(self) -> bool:
        self.looks += 1
        return self.gone

    async def looked(self, times: int = 4) -> None:
        """Return once it was looked so many times whether the state is away."""
        until = self.looks + times
        await self.story.scene.until(lambda: self.looks >= until)

    async def again(self, **changes: Any) -> str:
        async def sent(site: Site) -> str:
            return await site.orchestrator.points.start(CLUSTER, self.story.order(**changes))

        return await self.jobs.in_a_site(CLUSTER, sent)

    async def ended(self, job: str) -> Request:
        """Its last request, once that has ended here."""
        async with asyncio.timeout(DEADLINE):
            while True:
                own = await self.jobs.own(job)
                if own is not None and not own.running:
                    return own.request
                await asyncio.sleep(0.05)


@pytest.fixture
async def alone(story: Story) -> AsyncIterator[Alone]:
    """A restore that stopped half-way went on, and ended, while the state was away. `story.coordinator` is gone."""
    story.scene.nodes[2].failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
    former = await story.restored()
    await story.scene.stack.aclose()
    async with AsyncExitStack() as stack:
        made = Alone(story)
        await stack.enter_async_context(made.jobs)
        looking = asyncio.create_task(made.jobs.keep_on())
        stack.callback(looking.cancel)
        await made.again()
        await made.ended(former.id)
        yield made


async def test_what_ended_long_before_the_state_is_back_is_kept(alone: Alone) -> None:
    """Promise: however long the state was away after the end, the next leader finds it here; later it goes."""
    alone.ahead += 3 * KEEP_SECONDS
    await alone.looked()
    alone.gone = False
    await alone.looked()
    assert len(alone.jobs.sites) == 1
    alone.ahead += KEEP_SECONDS
    await alone.story.scene.until(lambda: not alone.jobs.sites)


async def test_orders_in_line_let_others_before_them(alone: Alone) -> None:
    """Promise: where an order waits for an agent, and is sent again and again, what else is to be done apart from the
    state waits for that one alone, not for all that came after it."""
    [site] = alone.jobs.sites
    request = await site.request()
    assert request is not None
    begun: list[int] = []
    gates = [asyncio.Event() for _ in range(3)]

    async def order(number: int) -> None:
        async def waits(site: Site) -> None:
            begun.append(number)
            await gates[number].wait()

        await alone.jobs.in_a_site(CLUSTER, waits)

    orders = [asyncio.create_task(order(number)) for number in range(len(gates))]
    await alone.story.scene.until(lambda: begun == [0])
    asked = asyncio.create_task(alone.jobs.elsewhere(request.id))
    await asyncio.sleep(0)  # it has begun
    gates[0].set()
    try:
        assert await asyncio.wait_for(asked, DEADLINE) is not None
        assert 2 not in begun
    finally:
        for gate in gates:
            gate.set()
        await asyncio.gather(*orders)


async def test_who_waits_while_the_agents_are_asked_for_long_is_told_the_same(alone: Alone) -> None:
    """Promise: however long the agents take to answer, those who asked meanwhile let nobody be asked again."""
    [site] = alone.jobs.sites
    request = await site.request()
    assert request is not None
    asked = [asyncio.create_task(alone.jobs.elsewhere(request.id)) for _ in range(3)]
    await asyncio.sleep(0)  # the first one has begun
    alone.ahead += HEARD_SECONDS
    first, *others = await asyncio.gather(*asked)
    assert first is not None
    assert all(other is first for other in others)


async def test_the_agents_are_asked_for_all_jobs_every_few_seconds_at_most(alone: Alone) -> None:
    """Promise: who looks often at what another coordinator carries out is told what was heard a moment ago."""
    [site] = alone.jobs.sites
    request = await site.request()
    assert request is not None
    first = await alone.jobs.elsewhere(request.id)
    assert first is not None
    assert await alone.jobs.elsewhere(request.id) is first
    alone.ahead += HEARD_SECONDS
    later = await alone.jobs.elsewhere(request.id)
    assert later is not None
    assert later is not first
