"""The coordinator's state can't be reached for longer than a call is patient: what runs waits for it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from coordinator.store.cassandra.errors import StoreUnreachable
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, TIMING, ToyCoordinator, copies
from tests.cluster.troubled_database import Troubled
from tests.orchestrate.conftest import Scene

AWAY = StoreUnreachable("the coordinator's state in Cassandra gave no answer within 20 s: no quorum")


@pytest.fixture
async def coordinator(scene: Scene) -> AsyncIterator[ToyCoordinator]:
    """One with a destination, whose state is there."""
    urls = [agent.url for agent in scene.agents]
    life = ToyCoordinator(scene.directory / "coordinator", urls, timing=TIMING, database=Troubled)
    made = await scene.stack.enter_async_context(life)
    await made.destination("there")
    yield made
    state_of(made).trouble = None


def state_of(coordinator: ToyCoordinator) -> Troubled:
    assert isinstance(coordinator.database, Troubled)
    return coordinator.database


async def away_from(scene: Scene, coordinator: ToyCoordinator, kind: Kind) -> Troubled:
    """The state goes while the nodes are at a command of this kind, and what ends it asks for the state in vain."""
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(node.begun[kind].wait() for node in scene.nodes))
    state = state_of(coordinator)
    state.trouble, state.loses_answers = AWAY, True
    for node in scene.nodes:
        node.gates[kind].set()
    await scene.until(lambda: state.refused > 60)
    return state


def gated(scene: Scene, kind: Kind) -> None:
    for node in scene.nodes:
        node.gates[kind] = asyncio.Event()
        node.begun[kind].clear()


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.UPLOAD])
async def test_a_backup_waits_for_the_state(scene: Scene, coordinator: ToyCoordinator, kind: Kind) -> None:
    """Promise: it doesn't fail, whenever the state goes, and once that is back the backup ends well: nothing that was
    done is done twice."""
    gated(scene, kind)
    for node in scene.nodes:
        node.done.clear()
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5, copies=copies("there")))
    state = await away_from(scene, coordinator, kind)
    state.trouble = None
    ended = await coordinator.ended(request_id)
    assert (ended.state, ended.error) == (RequestState.SUCCESS, None)
    assert state.lost > 0
    done = Counter(command for node in scene.nodes for _, command in node.done)
    assert set(done.values()) == {1}
    kinds = Counter(each for node in scene.nodes for each, _ in node.done)
    assert (kinds[Kind.SNAPSHOT], kinds[Kind.UPLOAD]) == (3, 3)


async def test_people_are_told_at_once(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: who looks at a request that waits for the state, or orders something, gets the error, not silence."""
    gated(scene, Kind.SNAPSHOT)
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(node.begun[Kind.SNAPSHOT].wait() for node in scene.nodes))
        state_of(coordinator).trouble = AWAY
        with pytest.raises(StoreUnreachable):
            await coordinator.orchestrator.progress(request_id)
        with pytest.raises(StoreUnreachable):
            await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("other", 6))
        state_of(coordinator).trouble = None
        assert len(await coordinator.orchestrator.progress(request_id)) == 3


async def test_a_stop_waits_for_no_state(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: a coordinator that is told to stop while its requests wait for the state stops, and its next life goes
    on with them."""
    gated(scene, Kind.SNAPSHOT)
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    await away_from(scene, coordinator, Kind.SNAPSHOT)
    async with asyncio.timeout(DEADLINE):
        await scene.stack.aclose()
    again = await scene.coordinator()
    assert (await again.ended(request_id)).state is RequestState.SUCCESS
