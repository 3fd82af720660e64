"""The coordinator's state can't be written for a while: what was running ends all the same."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import RequestState
from coordinator.store.database import Database, StoreFailed
from tests.cluster.toy_coordinator import CLUSTER, TIMING, ToyCoordinator
from tests.orchestrate.conftest import Scene

T = TypeVar("T")


class FullDisk(Database):
    """Writes fail while `full`; `refused` counts those of a request's end."""

    full = False
    refused = 0

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if FullDisk.full:
            FullDisk.refused += "finish" in function.__qualname__
            raise StoreFailed("the coordinator's state can't be used: disk is full")
        return await super().write(function)


async def test_a_request_whose_end_could_not_be_written_ends_when_it_can(scene: Scene) -> None:
    """It doesn't run for ever: its end is tried again until it is durable, and says what went wrong."""
    FullDisk.full, FullDisk.refused = False, 0
    urls = [agent.url for agent in scene.agents]
    state = scene.directory / "coordinator"
    coordinator = await scene.stack.enter_async_context(ToyCoordinator(state, urls, timing=TIMING, database=FullDisk))
    for node in scene.nodes:
        node.gates[Kind.SNAPSHOT] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    await asyncio.gather(*(asyncio.wait_for(node.begun[Kind.SNAPSHOT].wait(), 10) for node in scene.nodes))
    FullDisk.full = True
    for node in scene.nodes:
        node.gates[Kind.SNAPSHOT].set()
    async with asyncio.timeout(20):
        while FullDisk.refused < 3:  # noqa: ASYNC110 - the store's refusals are plain facts
            await asyncio.sleep(0.005)
    standing = await coordinator.store.requests.get(request_id)
    assert standing is not None
    assert standing.state is RequestState.RUNNING
    FullDisk.full = False
    ended = await coordinator.ended(request_id)
    assert (ended.state, (ended.error or {}).get("code")) == (RequestState.ERROR, "store_failed")
    _, again = await coordinator.backup()
    assert again.state is RequestState.SUCCESS


class NoNewRequests(Database):
    """Requests can be read and gone on with, but none can be made."""

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if "create" in function.__qualname__:
            raise StoreFailed("the coordinator's state can't be used: disk is full")
        return await super().write(function)


async def test_a_start_that_fails_half_way_leaves_nothing_running(scene: Scene) -> None:
    """Requests that went on already stand where they were: nobody else would end their tasks."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    scene.nodes[0].gates[Kind.SNAPSHOT] = asyncio.Event()
    request_id = await coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5))
    await asyncio.wait_for(scene.nodes[0].begun[Kind.SNAPSHOT].wait(), 10)
    await coordinator.store.values.put(f"destination changes of {CLUSTER}", {"there": 2})
    await scene.stack.aclose()
    urls = [agent.url for agent in scene.agents]
    again = ToyCoordinator(scene.directory / "coordinator", urls, timing=TIMING, database=NoNewRequests)
    with pytest.raises(StoreFailed):
        await scene.stack.enter_async_context(again)
    assert not [task for task in asyncio.all_tasks() if request_id in task.get_name()]
