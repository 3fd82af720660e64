"""The coordinator's state can't be reached for longer than a call is patient: what runs waits for it."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.database import Database
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, TIMING, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene

T = TypeVar("T")


class Away(Database):
    """While `away` no call is answered; `asked` counts those, `writes` the writes among them, and `lost` those that
    were done all the same."""

    away = False
    asked = writes = lost = 0

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        self._answer()
        return await super().read(function)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """The first write, and every second one after it, is done all the same, and its answer is lost."""
        if Away.away:
            Away.writes += 1
            if Away.writes % 2:
                await super().write(function)
                Away.lost += 1
        self._answer()
        return await super().write(function)

    def _answer(self) -> None:
        if Away.away:
            Away.asked += 1
            raise StoreUnreachable("the coordinator's state in Cassandra gave no answer within 20 s: no quorum")


@pytest.fixture
async def coordinator(scene: Scene) -> AsyncIterator[ToyCoordinator]:
    """One with a destination, whose state is there."""
    Away.away = False
    urls = [agent.url for agent in scene.agents]
    life = ToyCoordinator(scene.directory / "coordinator", urls, timing=TIMING, database=Away)
    made = await scene.stack.enter_async_context(life)
    await made.destination("there")
    yield made
    Away.away = False


async def away_from(scene: Scene, kind: Kind) -> None:
    """The state goes while the nodes are at a command of this kind, and what ends it asks for the state in vain."""
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(node.begun[kind].wait() for node in scene.nodes))
    Away.away, Away.asked, Away.writes, Away.lost = True, 0, 0, 0
    for node in scene.nodes:
        node.gates[kind].set()
    await scene.until(lambda: Away.asked > 60)


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
    await away_from(scene, kind)
    Away.away = False
    ended = await coordinator.ended(request_id)
    assert (ended.state, ended.error) == (RequestState.SUCCESS, None)
    assert Away.lost > 0
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
        Away.away = True
        with pytest.raises(StoreUnreachable):
            await coordinator.orchestrator.progress(request_id)
        with pytest.raises(StoreUnreachable):
            await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("other", 6))
        Away.away = False
        assert len(await coordinator.orchestrator.progress(request_id)) == 3


async def test_a_stop_waits_for_no_state(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: a coordinator that is told to stop while its requests wait for the state stops, and its next life goes
    on with them."""
    gated(scene, Kind.SNAPSHOT)
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    await away_from(scene, Kind.SNAPSHOT)
    async with asyncio.timeout(DEADLINE):
        await scene.stack.aclose()
    Away.away = False
    again = await scene.coordinator()
    assert (await again.ended(request_id)).state is RequestState.SUCCESS
