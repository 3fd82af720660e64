"""Three toy nodes with a real agent's protocol each, and a coordinator over them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from coordinator.orchestrate.timing import Timing
from tests.cluster.lean_run import memory_given_back as memory_given_back
from tests.cluster.lean_run import pytest_collection_finish as pytest_collection_finish
from tests.cluster.lean_run import pytest_configure as pytest_configure
from tests.cluster.loop_time import HurryingLoop
from tests.cluster.toy_agent import ToyAgent
from tests.cluster.toy_cluster import ToyCluster, ToyNode
from tests.cluster.toy_coordinator import DEADLINE, TIMING, ToyCoordinator

OF_SEVERAL_PROCESSES = (
    "test_kill.py",
    "test_kill_rebuilding.py",
    "test_kill_notices.py",
    "test_kill_undo.py",
    "test_kill_retention.py",
    "test_kill_schedules.py",
    "test_kill_archiving.py",
    "test_kill_point_in_time.py",
    "test_kill_scripts.py",
    "test_two_coordinators.py",
    "test_two_apart.py",
)
"""Their coordinators are killed: they live in other processes, by real time."""
TABLES = {"shop": ["orders", "users"], "many": ["t1"], "system_auth": ["roles"], "system_traces": ["events"]}


class Scene:
    """The toy cluster, its agents, and coordinators made over it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = ToyCluster(3, TABLES)
        self.agents = [ToyAgent(node, directory / f"agent{node.number}") for node in self.world.nodes]
        self.stack = AsyncExitStack()

    @property
    def nodes(self) -> list[ToyNode]:
        return self.world.nodes

    async def coordinator(self, state: str = "coordinator", timing: Timing = TIMING) -> ToyCoordinator:
        """A coordinator over a state directory; another name is a fresh one."""
        urls = [agent.url for agent in self.agents]
        return await self.stack.enter_async_context(ToyCoordinator(self.directory / state, urls, timing=timing))

    async def until(self, true: Callable[[], bool], deadline: float = DEADLINE) -> None:
        """Return once it is true; fails when that takes too long."""
        async with asyncio.timeout(deadline):
            while not true():  # noqa: ASYNC110 - what is looked at are plain facts of the toy world
                await asyncio.sleep(0.005)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Where agents and coordinators share one loop, waits for them hurry."""
    fixtures = getattr(item, "fixturenames", ())
    if "scene" in fixtures and item.path.name not in OF_SEVERAL_PROCESSES:
        return {"hurrying": HurryingLoop}
    return {"real": asyncio.SelectorEventLoop}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    for agent in scene.agents:
        await agent.start()
    try:
        yield scene
    finally:
        await scene.stack.aclose()
        for agent in scene.agents:
            agent.thaw()
            for gate in agent.node.gates.values():
                gate.set()
            if agent.running:
                await agent.stop()
