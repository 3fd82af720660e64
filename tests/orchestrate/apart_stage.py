"""The story of a restore to a point, told on nodes that hold the shared state of the coordinators who carry it out."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from agent.wire.commands import Kind
from coordinator.model.requests import RESUMABLE, Request, RequestKind, RequestState
from coordinator.orchestrate.apart_jobs import Site
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from tests.cluster.sharing_machine import Machine, Mortality, SharedState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.point_story import story_so_far
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
        self._directory = self.scene.directory / f"run{self.runs}"
        shutil.copytree(self.scene.directory / "coordinator", self._directory)
        self.state = await SharedState.open(self._directory, self.away)
        self.machines = [self.machine(f"m{number}") for number in range(machines)]
        self.machines[0].start(mortality)
        await self.until(lambda: self.machines[0].orchestrator is not None)
        for machine in self.machines[1:]:
            machine.start()

    def machine(self, name: str, agents: int = 3) -> Machine:
        """One more that knows so many of the agents."""
        return Machine(name, self._directory, self.state, [agent.url for agent in self.scene.agents[:agents]])

    async def end(self) -> None:
        for machine in self.machines:
            await machine.end()
        if self.machines:
            await self.state.store.close()
        self.machines = []

    async def leads(self, machine: Machine) -> FleetOrchestrator:
        """What acts by its lead, once it leads."""
        await self.until(lambda: machine.orchestrator is not None)
        assert machine.orchestrator is not None
        return machine.orchestrator

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

    def check(self) -> None:
        """Fail if a life ended by itself, with what ended it."""
        for machine in self.machines:
            machine.check()

    async def dies(self) -> bool:
        """Whether the first machine reaches its death; else others have brought the restore to its end without it."""
        dead = asyncio.create_task(self.machines[0].mortality.dead.wait())
        ended = asyncio.create_task(self.ended())
        await asyncio.wait({dead, ended}, return_when=asyncio.FIRST_COMPLETED)
        for task in (dead, ended):
            task.cancel()
        await asyncio.gather(dead, ended, return_exceptions=True)
        if not self.machines[0].mortality.dead.is_set():
            ended.result()  # it may have failed
        return self.machines[0].mortality.dead.is_set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not true():
                self.check()
                await asyncio.sleep(0.02)

    async def asked(self, true: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE):
            while True:
                if await true():
                    return
                await asyncio.sleep(0.05)

    async def ended(self, request_id: str = "") -> Request | None:
        """The newest restore's request, or that one, as the state has it, once it has ended; None: there never was
        one."""
        async with asyncio.timeout(DEADLINE):
            while True:
                self.check()
                found = await self.state.store.requests.find(kind=RequestKind.POINT_IN_TIME)
                known = [each for each in found if request_id in ("", each.id)]
                if not found and not request_id and any(machine.orchestrator is not None for machine in self.machines):
                    return None
                if known and known[-1].state is not RequestState.RUNNING:
                    return known[-1]
                await asyncio.sleep(0.05)


class Elsewhere(Stage):
    """The state is on another cluster, which answers unless it is `gone`."""

    gone = False

    def away(self) -> bool:
        return self.gone

    async def stopped(self) -> tuple[str, asyncio.Event]:
        """A restore that stands still with all nodes stopped, and what lets it go on."""
        node = self.scene.nodes[0]
        gate = node.gates.setdefault(Kind.PIT_COVER, asyncio.Event())
        request_id = await self.order()
        await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
        return request_id, gate

    async def half_way(self) -> str:
        """A restore that stopped half-way, as the state knows."""
        self.scene.nodes[2].failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
        request = await self.ended(await self.order())
        assert request is not None
        assert request.result[RESUMABLE] == request.id, request
        return request.id

    async def again_apart(self) -> str:
        """The same restore, sent again to the second machine while the state is gone."""

        async def again(site: Site) -> str:
            return await site.orchestrator.points.start(CLUSTER, self.story.order())

        self.gone = True
        await self.until(lambda: all(machine.leadership.away for machine in self.machines))
        return await self.machines[1].apart.in_a_site(CLUSTER, again)


@pytest.fixture
async def elsewhere(stage: Stage) -> AsyncIterator[Elsewhere]:
    made = Elsewhere(stage.story)
    yield made
    await made.end()


@pytest.fixture
async def stage(scene: Scene) -> AsyncIterator[Stage]:
    made = Stage(await story_so_far(scene))
    yield made
    await made.end()
