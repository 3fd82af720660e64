"""The story of a restore to a point, told on nodes that hold the shared state of the coordinators who carry it out."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable

import pytest

from coordinator.model.requests import Request, RequestKind, RequestState
from tests.cluster.sharing_machine import Machine, Mortality, SharedState
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_point_in_time import Story

DEADLINE = 120.0


class Stage:
    """The story, the state on its nodes, and two machines."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.scene = story.scene
        self.runs = 0
        self.machines: list[Machine] = []

    def away(self) -> bool:
        """Without a majority of its replicas the state answers nobody."""
        return 2 * sum(node.up and node.point.native for node in self.scene.nodes) <= len(self.scene.nodes)

    async def begin(self, mortality: Mortality | None = None, machines: int = 2) -> None:
        """The cluster as before; the first machine leads, the others stand by."""
        await self.end()
        self.story.begin_anew()
        self.runs += 1
        directory = self.scene.directory / f"run{self.runs}"
        shutil.copytree(self.scene.directory / "coordinator", directory)
        self.state = await SharedState.open(directory, self.away)
        urls = [agent.url for agent in self.scene.agents]
        self.machines = [Machine(f"m{number}", directory, self.state, urls) for number in range(machines)]
        self.machines[0].start(mortality)
        await self.until(lambda: self.machines[0].orchestrator is not None)
        for machine in self.machines[1:]:
            machine.start()

    async def end(self) -> None:
        for machine in self.machines:
            await machine.end()
        if self.machines:
            await self.state.store.close()
        self.machines = []

    async def order(self) -> str:
        """The restore's id, whatever becomes of who was asked."""
        orchestrator = self.machines[0].orchestrator
        assert orchestrator is not None
        asked = asyncio.create_task(orchestrator.points.start(CLUSTER, self.story.order()))
        died = asyncio.create_task(self.machines[0].mortality.dead.wait())
        await asyncio.wait({asked, died}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, died):
            task.cancel()
        await asyncio.gather(asked, died, return_exceptions=True)
        return asked.result() if not asked.cancelled() else ""

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not true():
                for machine in self.machines:
                    machine.check()
                await asyncio.sleep(0.02)

    async def ended(self, request_id: str = "") -> Request | None:
        """The newest restore's request, or that one, as the state has it, once it has ended; None: there never was
        one."""
        async with asyncio.timeout(DEADLINE):
            while True:
                found = await self.state.store.requests.find(kind=RequestKind.POINT_IN_TIME)
                known = [each for each in found if request_id in ("", each.id)]
                if not found and any(machine.orchestrator is not None for machine in self.machines):
                    return None
                if known and known[-1].state is not RequestState.RUNNING:
                    return known[-1]
                await asyncio.sleep(0.05)


@pytest.fixture
async def stage(scene: Scene) -> AsyncIterator[Stage]:
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS
    story = Story(scene, coordinator, tag)
    await scene.stack.aclose()
    made = Stage(story)
    yield made
    await made.end()
