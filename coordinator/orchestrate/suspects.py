"""Who may be why a node's part stands still. In: parts, and what agents answer when they are asked how they stand. Out:
the same parts, those that stand still with the nodes in trouble.

Nobody waits for it: who looks first starts the asking, since an agent whose Cassandra is silent takes seconds to say
so.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from coordinator.fleet.registry import Agent
from coordinator.model.requests import NodePart
from coordinator.orchestrate.point_in_time.phases import WITHOUT_CASSANDRA
from coordinator.orchestrate.restore.phases import RESTORE, Where
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

FRESH_SECONDS = 60.0
"""What the agents said longer ago is not told."""
PAUSE_SECONDS = 10.0
"""Between two askings of a cluster's agents."""
_OF_ALL = frozenset(phase.kind.value for phase in RESTORE if phase.where is Where.ONE)
"""Phases that one agent does for the whole ring: any node may hold them up."""
_DOWN = frozenset({*(kind.value for kind in WITHOUT_CASSANDRA), "rolling_restart"})
"""Phases in which Cassandra is down because it was told so: that it doesn't answer holds nothing up."""


class Suspects:
    """Use as `async with Suspects(around)`: at the end nobody is asked any more."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def name_in(self, cluster: str, parts: Sequence[NodePart]) -> list[NodePart]:
        """The parts; those that stand still with what the agents said of their nodes a moment ago."""
        if not any(part.still_seconds is not None for part in parts):
            return list(parts)
        if self._age(cluster) >= PAUSE_SECONDS and cluster not in self._asking:
            self._asking[cluster] = asyncio.create_task(self._ask(cluster), name=f"who holds up {cluster}")
        if self._age(cluster) >= FRESH_SECONDS:
            return list(parts)
        agents = self._around.registry.agents(cluster)
        return [
            part if part.still_seconds is None else msgspec.structs.replace(part, suspects=_of(part, agents))
            for part in parts
        ]

    def _age(self, cluster: str) -> float:
        now = asyncio.get_running_loop().time()
        return now - self._asked[cluster] if cluster in self._asked else FRESH_SECONDS

    async def _ask(self, cluster: str) -> None:
        try:
            with suppress(HelenusError):
                await self._around.registry.refresh(cluster)
                self._asked[cluster] = asyncio.get_running_loop().time()
        finally:
            self._asking.pop(cluster, None)


def _of(part: NodePart, agents: Sequence[Agent]) -> list[str]:
    everybody = part.phase.rpartition("-")[2] in _OF_ALL
    down = not _DOWN.isdisjoint(part.phase.split("-"))
    asked = [agent for agent in agents if everybody or agent.host_id == part.host_id]
    return [told for agent in asked if (told := _told(agent, down=down))]


def _told(agent: Agent, *, down: bool) -> str:
    """What is wrong with a node, as a sentence; empty when nothing is. `down`: its Cassandra may be."""
    if agent.error is not None:
        return f"the agent of {agent.address} doesn't answer: {agent.error.message}"
    if down or agent.report is None or agent.cassandra_up:
        return ""
    why = (agent.report.trouble or {}).get("message") or "no reason given"
    return f"Cassandra at {agent.address} doesn't answer its agent: {why}"
