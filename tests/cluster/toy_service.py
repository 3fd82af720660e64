"""A whole backup service over a cluster in memory: real agents' and coordinator's HTTP on loopback, real orchestrator,
store and journals; only what agents do to their node is a toy's. What was said to the coordinator must be as its
openapi.yaml describes it."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from coordinator.fleet.client import Deadlines
from coordinator.model.settings import ClusterSettings, CoordinatorSettings, ListenSettings
from coordinator.notices.filler import Sources
from coordinator.notices.telling import Telling
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.serving.acting import application
from coordinator.serving.ready import Ready
from kit.http_server import HttpServer
from kit.http_settings import Access
from kit.logs import Redactor
from kit.metrics import ProcessMetrics
from tests.cluster.coordinator_exchanges import check_coordinator
from tests.cluster.exchanges import NAME, Recorder
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_agent import ToyAgent
from tests.cluster.toy_cluster import ToyCluster
from tests.cluster.toy_coordinator import CLUSTER, DEADLINES, ToyCoordinator

ADDRESS = "127.0.80.200"
TEXT_CLUSTER = "Test_Cluster"
"""What the text calls its cluster: the name of the toy's."""


class ToyService:
    """`async with ToyService(directory, tables) as service`."""

    def __init__(
        self,
        directory: Path,
        tables: dict[str, list[str]],
        *,
        nodes: int = 1,
        new_ids: Mapping[int, str] | None = None,
        clock: Callable[[], float] = unix_seconds,
        checked: bool = True,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """`new_ids`: the ids of the first, second, … destination that is added; others get their number. `checked`:
        compare what was said with openapi.yaml at the end."""
        self.world = ToyCluster(nodes, tables)
        self.agents = [ToyAgent(node, directory / f"agent{node.number}") for node in self.world.nodes]
        self._directory = directory
        self._ids = new_ids or {}
        self._made = 0
        self._clock = clock
        self._checked = checked
        self._deadlines = deadlines
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for agent in self.agents:
                await agent.start()
                stack.push_async_callback(agent.stop)
            urls = [agent.url for agent in self.agents]
            if self._checked:
                stack.push_async_callback(self._check)
            toy = ToyCoordinator(self._directory / "coordinator", urls, deadlines=self._deadlines)
            self.coordinator = await stack.enter_async_context(toy)
            access = Access(None, None, False)
            settings = CoordinatorSettings(str(self._directory), {CLUSTER: ClusterSettings(urls)})
            ready = Ready(settings, self._directory, access, {}, ())
            metrics = ProcessMetrics("coordinator", "toy")
            app = application(ready, self._api(urls), metrics, self._telling())
            if self._checked:
                Recorder(self._directory / NAME).record(app)
            self._server = HttpServer(app, ListenSettings(host=ADDRESS, port=0), access, linger_seconds=0.1)
            stack.push_async_callback(self._server.stop)
            await self._server.start()
            self.session = await stack.enter_async_context(aiohttp.ClientSession())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        """Of the coordinator."""
        return self._server.url

    async def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        """Status and answer; the body is sent as curl -d does, with its Content-Type. `path` with its query."""
        headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        url = URL(self.url + path, encoded=True)
        data = None if body is None else body.encode()
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    async def ended(self, request_id: str) -> dict[str, Any]:
        """The status of a request once it has ended."""
        await self.coordinator.ended(request_id)
        status, told = await self.ask("GET", f"/request/{request_id}/status")
        assert status == 200
        return dict(told)

    def _api(self, urls: list[str]) -> Api:
        coordinator = self.coordinator
        return Api(
            {CLUSTER: ClusterEntry(TEXT_CLUSTER, urls)},
            coordinator.store,
            coordinator.orchestrator,
            coordinator.retention,
            coordinator.archiving,
            coordinator.schedules,
            self._clock,
            self._new_id,
            Redactor(),
        )

    def _telling(self) -> Telling:
        """To the log alone, and only when it is begun."""
        coordinator = self.coordinator
        sources = Sources([CLUSTER], coordinator.retention.notes, coordinator.archiving.seen, 0.0)
        return Telling(coordinator.store, sources, (), coordinator.news, self._clock, Redactor().clean)

    def _new_id(self) -> str:
        self._made += 1
        return self._ids.get(self._made, f"{self._made:032x}")

    async def _check(self) -> None:
        await asyncio.to_thread(check_coordinator, self._directory / NAME)
