"""What is seen by asking a few agents at a time: of several clusters everybody's turn comes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from agent.wire.archiving import ArchivingView
from agent.wire.point_in_time import JobDocument
from coordinator.fleet.client import AgentClient
from coordinator.fleet.registry import Registry
from coordinator.fleet.reports import Reports
from coordinator.orchestrate.archiving.watch import Watch
from coordinator.orchestrate.point_in_time.take_over import TakeOver
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.timing import Timing
from coordinator.store.sqlite import SqliteStore

CLUSTERS = ["one", "other"]
HANGS = 20.0
"""Seconds after which something is wrong altogether."""


class Client:
    """An agent that knows of no job, and archives nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked_for_jobs = asyncio.Event()
        self.asked_for_archiving = False

    async def jobs(self, *, running: bool) -> list[JobDocument]:
        assert running
        self.asked_for_jobs.set()
        return []

    async def archiving(self) -> ArchivingView:
        self.asked_for_archiving = True
        return ArchivingView(enabled=False, state="off")


class Two:
    """Clusters of ten agents each, of which a few are a half."""

    def __init__(self, store: SqliteStore) -> None:
        self.clients = [Client(f"http://{cluster}{number}") for cluster in CLUSTERS for number in range(10)]
        clients = cast(list[AgentClient], self.clients)
        registry = Registry({CLUSTERS[0]: clients[:10], CLUSTERS[1]: clients[10:]})
        self.around = Surroundings(store, registry, Reports(), timing=Timing(take_over=0.02))


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    store = await SqliteStore.open(tmp_path / "state", now=1.0)
    yield Two(store)
    await store.close()


async def nothing(*_: Any) -> Any:
    """Nobody archives, so that nothing is asked or begun."""
    raise AssertionError


async def test_every_agent_of_each_cluster_is_asked_for_jobs(two: Two) -> None:
    """Promise: a job that only some agents tell of is found, however many clusters are looked at."""
    async with asyncio.timeout(HANGS), TakeOver(two.around, cast(Any, nothing)):
        for client in two.clients:
            await client.asked_for_jobs.wait()


async def test_every_agent_of_each_cluster_is_asked_whether_it_archives(two: Two) -> None:
    """Promise: two looks at each of two clusters ask all."""
    watch = Watch(two.around, nothing, nothing, nothing)
    for _ in range(2):
        for cluster in CLUSTERS:
            await watch.look(cluster)
    assert all(client.asked_for_archiving for client in two.clients)
