"""What the agents have to say to a person stands in the request's warnings, with the node."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, SyncOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.run import WARNINGS
from coordinator.store.database import Database, StoreFailed
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_sent_once import BRIEF, left_behind

SENTENCE = "something to look at"
T = TypeVar("T")


class Endless(Database):
    """No request's end is written: `refused` is set when one was to be."""

    refused = asyncio.Event()

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if "finish" in function.__qualname__:
            Endless.refused.set()
            raise StoreFailed("the coordinator's state can't be used: disk is full")
        return await super().write(function)


@pytest.mark.parametrize("flow", ["backup", "sync", "restore"])
async def test_what_a_node_warns_of_is_told_by_the_request(scene: Scene, flow: str) -> None:
    """Of uploads and syncs (a table that is in, but odd) and of the cleaning after a restore."""
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(copies=copies("there") if flow == "restore" else [])
    scene.nodes[1].warnings = [SENTENCE]
    if flow == "backup":
        _, request = await coordinator.backup(copies=copies("there"))
    elif flow == "sync":
        request_id = await coordinator.orchestrator.start_sync(CLUSTER, SyncOrder(tag, copies("there")))
        request = await coordinator.ended(request_id)
    else:
        order = RestoreOrder(tag, "there", truncate=True)
        request = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))
    assert request.state is RequestState.SUCCESS
    assert f"{scene.nodes[1].address}: {SENTENCE}" in request.result[WARNINGS]


async def ended_by_a_later_life(scene: Scene, request_id: str) -> Request:
    """The request, all of which was done but not its end when the coordinator was restarted."""
    await asyncio.wait_for(Endless.refused.wait(), 60)
    await scene.stack.aclose()
    later = await scene.coordinator(timing=BRIEF)
    return await later.ended(request_id)


async def endless(scene: Scene) -> ToyCoordinator:
    """A coordinator that can't write the end of a request, over the state of one that has made a backup."""
    await scene.stack.aclose()
    Endless.refused = asyncio.Event()
    urls = [agent.url for agent in scene.agents]
    state = scene.directory / "coordinator"
    return await scene.stack.enter_async_context(ToyCoordinator(state, urls, timing=BRIEF, database=Endless))


async def test_what_the_nodes_warned_of_is_told_after_a_restart_too(scene: Scene) -> None:
    """Promise: a phase that is not done again in a later life of the coordinator is told of all the same."""
    coordinator = await scene.coordinator(timing=BRIEF)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(copies=copies("there"))
    coordinator = await endless(scene)
    node = scene.nodes[1]
    phases = [Kind.IMPORT, Kind.CHECK, Kind.CLEAN]
    node.gates |= {kind: asyncio.Event() for kind in phases}
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, "there", truncate=True))
    for kind in phases:
        await asyncio.wait_for(node.begun[kind].wait(), 10)
        node.warnings = [f"{SENTENCE} in {kind}"]
        node.gates.pop(kind).set()
    request = await ended_by_a_later_life(scene, request_id)
    assert request.state is RequestState.SUCCESS, request
    told = [warning for warning in request.result[WARNINGS] if SENTENCE in warning]
    assert told == [f"{node.address}: {SENTENCE} in {kind}" for kind in phases]


@pytest.mark.parametrize("whose", ["its own", "another's"])
async def test_that_force_went_on_without_knowing_is_told_after_a_restart_too(scene: Scene, whose: str) -> None:
    """Promise: the report says that the outcome of a truncate isn't known, however long it took from there, and however
    often the coordinator was restarted meanwhile."""
    coordinator = await scene.coordinator(timing=BRIEF)
    await coordinator.destination("there")
    tag, _ = await coordinator.backup(copies=copies("there"))
    order = RestoreOrder(tag, "there", truncate=True)
    if whose == "another's":
        await left_behind(scene, coordinator, Kind.TRUNCATE, order)
    coordinator = await endless(scene)
    scene.nodes[0].gates[Kind.TRUNCATE] = asyncio.Event()
    forced = msgspec.structs.replace(order, force=True)
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, forced)
    if whose == "its own":
        await asyncio.wait_for(scene.nodes[0].begun[Kind.TRUNCATE].wait(), 10)
        scene.agents[0].freeze()
    request = await ended_by_a_later_life(scene, request_id)
    assert request.partial, request
    assert len([each for each in request.result[WARNINGS] if "without knowing" in each]) == 1
