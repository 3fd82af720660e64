"""A cancel of a restore that goes on apart from the state, asked for before the state has all that was done by then."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import RESUMABLE, Request, RequestState
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.restore.job_steps import IRREVOCABLE
from tests.cluster.sharing_machine import TIMING
from tests.orchestrate.apart_stage import DEADLINE, Elsewhere
from tests.orchestrate.apart_stage import elsewhere as elsewhere
from tests.orchestrate.apart_stage import stage as stage

FOLLOWS_SLOWLY = msgspec.structs.replace(TIMING, take_over=80.0)
"""Between two looks of such a leader, 20 s, the job gets far."""


class Split:
    """A restore that one carries out who is cut off from the state, while another one leads, and follows it."""

    def __init__(self, stage: Elsewhere) -> None:
        self.stage = stage

    async def begin(self) -> None:
        """The leader has looked, with all nodes stopped."""
        await self.stage.begin()
        self.leader, self.other = self.stage.machines
        self.other.cut_off = True
        self.request, self._covering = await self.stage.stopped()
        await self.leader.end()
        await self.stage.asked(self.is_carried_out)
        self.leader.timing = FOLLOWS_SLOWLY
        await self.leads_again()
        await self.stage.asked(self._has_looked)

    async def leads_again(self) -> None:
        self.leader.start()
        self.orchestrator: FleetOrchestrator = await self.stage.leads(self.leader)

    async def is_carried_out(self) -> bool:
        """By the other one."""
        own = await self.other.apart.own(self.request)
        return own is not None and own.running

    async def is_done(self) -> bool:
        """What the other one carried out."""
        own = await self.other.apart.own(self.request)
        return own is not None and not own.running

    async def _has_looked(self) -> bool:
        return await self.stage.state.store.requests.step(self.request, S.STOPPED) is not None

    async def goes_on_to(self, kind: Kind) -> asyncio.Event:
        """It has come to that kind; what lets it go on. The state doesn't know."""
        node = self.stage.scene.nodes[0]
        gate = node.gates.setdefault(kind, asyncio.Event())
        self._covering.set()
        await asyncio.wait_for(node.begun[kind].wait(), DEADLINE)
        await self.is_not_known()
        return gate

    async def goes_on(self) -> None:
        """It has ended. The state doesn't know."""
        self._covering.set()
        await self.stage.asked(self.is_done)
        await self.is_not_known()

    async def is_not_known(self) -> None:
        assert await self.stage.state.store.requests.step(self.request, IRREVOCABLE) is None

    async def kept(self) -> Request:
        """The request as the state has it."""
        found = await self.stage.state.store.requests.get(self.request)
        assert found is not None
        return found

    async def is_told(self) -> bool:
        """Whether the warning is there, and the cancel isn't any more."""
        kept = await self.kept()
        return told(kept) and not kept.cancel


def told(request: Request) -> bool:
    """Whether people are told that the cancel came too late."""
    return any("a cancel came too late" in warning for warning in request.result.get("warnings", []))


@pytest.fixture
async def split(elsewhere: Elsewhere) -> Split:
    made = Split(elsewhere)
    await made.begin()
    return made


async def test_past_the_point_of_no_return_nothing_is_undone_without_force(split: Split) -> None:
    """Promise: files are moved already when the cancel comes, though the state doesn't say so yet: the restore goes on
    to its end, also when the leader dies since; its warnings tell why."""
    placing = await split.goes_on_to(Kind.PIT_PLACE)
    await split.orchestrator.cancel(split.request, force=False)
    await split.stage.asked(split.is_told)
    assert await split.is_carried_out()
    await split.leader.end()
    split.leader.timing = TIMING
    await split.leads_again()
    placing.set()
    request = await split.stage.ended(split.request)
    assert request is not None
    assert request.state is RequestState.SUCCESS, request
    assert told(request)
    assert split.stage.scene.world.count(Kind.PIT_UNDO) == 0
    assert split.stage.story.is_restored()
    assert split.stage.story.nothing_left()


async def test_with_force_it_is_undone_after_one_that_came_too_late(split: Split) -> None:
    """Promise: a person who hears that the cancel came too late can force it."""
    placing = await split.goes_on_to(Kind.PIT_PLACE)
    await split.orchestrator.cancel(split.request, force=False)
    await split.stage.asked(split.is_told)
    await split.orchestrator.cancel(split.request, force=True)
    placing.set()
    request = await split.stage.ended(split.request)
    assert request is not None
    assert request.state is RequestState.CANCELLED, request
    assert split.stage.story.is_as_before()


async def test_while_clients_are_let_in_it_goes_on(split: Split) -> None:
    """Promise: whoever lets clients in isn't cut off by a forced cancel that the state took, not knowing of that."""
    opening = await split.goes_on_to(Kind.PIT_OPEN)
    await split.orchestrator.cancel(split.request, force=True)
    await split.stage.asked(split.is_told)
    assert await split.is_carried_out()
    opening.set()
    request = await split.stage.ended(split.request)
    assert request is not None
    assert request.state is RequestState.SUCCESS, request
    assert told(request)
    assert split.stage.story.is_restored()
    assert split.stage.story.nothing_left()


async def test_one_that_has_ended_well_stays_so(split: Split) -> None:
    """Promise: a cancel between its end and the moment in which the state hears of that changes nothing of it."""
    await split.goes_on()
    await split.orchestrator.cancel(split.request, force=True)
    request = await split.stage.ended(split.request)
    assert request is not None
    assert (request.state, request.result.get(RESUMABLE)) == (RequestState.SUCCESS, None), request
    assert told(request)
    assert split.stage.story.is_restored()
    assert await split.stage.story.documents_ended()


async def test_a_leader_that_carries_it_out_itself_says_that_a_cancel_came_too_late(elsewhere: Elsewhere) -> None:
    """Promise: the state isn't told the steps of what goes on in the leader's own process: what refuses the cancel
    there is among the warnings, and the cancel is not shown, or kept, any more."""
    await elsewhere.begin(machines=1)
    orchestrator = await elsewhere.leads(elsewhere.machines[0])
    node = elsewhere.scene.nodes[0]
    placing = node.gates.setdefault(Kind.PIT_PLACE, asyncio.Event())
    request_id = await elsewhere.order()
    await asyncio.wait_for(node.begun[Kind.PIT_PLACE].wait(), DEADLINE)
    await orchestrator.cancel(request_id, force=False)

    async def is_told() -> bool:
        kept = await elsewhere.state.store.requests.get(request_id)
        return kept is not None and told(kept) and not kept.cancel

    await elsewhere.asked(is_told)
    placing.set()
    request = await elsewhere.ended(request_id)
    assert request is not None
    assert request.state is RequestState.SUCCESS, request
    assert told(request)
    assert elsewhere.story.is_restored()
