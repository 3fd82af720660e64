"""All agents of all clusters, opened and closed as one: settings in, registry, reports and running followers out."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from coordinator.fleet.bulk import Bulk
from coordinator.fleet.client import AgentClient, Deadlines, always, open_session
from coordinator.fleet.registry import Registry
from coordinator.fleet.reports import Reports, ReportTiming
from kit.secret import Secret


class ClusterAgents(msgspec.Struct, frozen=True):
    """How the agents of one cluster are reached: URLs, the bearer token and the TLS context they ask for."""

    urls: Sequence[str]
    token: Secret | None = None
    tls: ssl.SSLContext | None = None
    deadlines: Deadlines = Deadlines()


class Fleet:
    """Use as `async with Fleet(clusters) as fleet`: inside, every agent's event stream is followed. `hold` is awaited
    before each call that changes anything at an agent."""

    def __init__(
        self,
        clusters: Mapping[str, ClusterAgents],
        patience: ReportTiming | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        hold: Callable[[], Awaitable[None]] = always,
    ) -> None:
        self._clusters = clusters
        self._clock = clock
        self._hold = hold
        self.reports = Reports(patience, monotonic, sum(len(agents.urls) for agents in clusters.values()))
        self._stack = AsyncExitStack()
        self._registry: Registry | None = None
        self._followers: list[asyncio.Task[None]] = []

    @property
    def registry(self) -> Registry:
        """The agents; only inside the `async with`."""
        if self._registry is None:
            raise RuntimeError("the fleet isn't open")
        return self._registry

    async def __aenter__(self) -> Self:
        clients: dict[str, list[AgentClient]] = {}
        bulk = Bulk()
        for cluster, agents in self._clusters.items():
            session: aiohttp.ClientSession = await self._stack.enter_async_context(
                open_session(agents.token, agents.tls)
            )
            clients[cluster] = [AgentClient(session, url, agents.deadlines, bulk, self._hold) for url in agents.urls]
        self._registry = Registry(clients, self._clock)
        self._stack.push_async_callback(self._registry.close)
        self._followers = [
            asyncio.create_task(
                self.reports.follow(agent, partial(self._registry.hear, cluster, agent)), name=f"events of {agent.url}"
            )
            for cluster in self._clusters
            for agent in self._registry.agents(cluster)
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        await self._stack.aclose()
