"""A rolling restart: one node at a time, and none while another one is down. In: nodes in their order. Out: all of them
restarted, or why it stopped where it did.

What makes it safe: before each restart every other member of the ring is NORMAL and held for up by most nodes that are
asked, no restore runs and no snapshot is being taken; the restart ends when its node is NORMAL; the first failure ends
it. RESTART is fenced: an agent that was killed in it never goes on by itself, and a coordinator that was killed finds
by the journalled command what became of it and does no node twice.
"""

import asyncio
from collections.abc import Collection, Sequence

from agent.wire.archiving import RestartArguments
from agent.wire.commands import Kind
from coordinator.model.requests import RequestKind, RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.archiving.errors import ClusterNotWhole
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import NORMAL
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.topology import cluster_nodes
from kit.errors import HelenusError


class RollingRestart:
    """Of one request. `without`: host ids whose nodes may be down. `sleep`: seconds between two restarts."""

    def __init__(self, run: Run, fan_out: FanOut, without: Collection[str], *, drain: bool, sleep: float) -> None:
        self._run = run
        self._around = run.around
        self._fan_out = fan_out
        self._without = without
        self._arguments = RestartArguments(drain)
        self._sleep = sleep
        self.done: list[str] = []
        """host ids of the nodes that were restarted and are back"""

    async def __call__(self, hosts: Sequence[str]) -> Answered | None:
        """Restart these. The first answer that isn't a success ends it and is returned. Raises `ClusterNotWhole` before
        a restart for which the rest of the ring is not there in time, `RequestCancelled`."""
        for number, host in enumerate(hosts):
            if not await self._noted(f"restarted/{host}"):
                await self._until_whole(host)
                answer = (await self._fan_out.ask("rolling_restart", Kind.RESTART, {host: self._arguments}))[host]
                if not answer.ok:
                    return answer
                await self._run.note(f"restarted/{host}")
            self.done.append(host)
            if self._sleep and number + 1 < len(hosts) and not await self._noted(f"slept/{host}"):
                await self._run.update(
                    message=f"{number + 1} of {len(hosts)} nodes are restarted; the next one follows after "
                    f"{self._sleep:g} s"
                )
                await self._pause(self._sleep)
                await self._run.note(f"slept/{host}")
        return None

    async def _noted(self, step: str) -> bool:
        return await self._around.store.requests.step(self._run.request.id, step) is not None

    async def _until_whole(self, host: str) -> None:
        """Return when nothing speaks against stopping this node, and the request's message doesn't either."""
        if await self._was_taken(host):
            return
        until = self._around.monotonic() + self._around.timing.agent_return
        while True:
            self._run.stop_if_cancelled()
            down = await self._not_up(host)
            why = f"waits until {', '.join(down)} is up and NORMAL" if down else await self._snapshots(host)
            if self._run.request.message != why:
                await self._run.update(message=why)
            if not why:
                return
            if down and self._around.monotonic() >= until:
                raise ClusterNotWhole(
                    f"{', '.join(down)} is down or not NORMAL: no other node is restarted meanwhile", nodes=down
                )
            await self._pause(self._around.timing.retry_pause)

    async def _was_taken(self, host: str) -> bool:
        """Whether its agent has the command already: then it is only to be seen how it ends."""
        sent = await self._around.store.commands.of(self._run.request.id)
        return any(each.kind is Kind.RESTART and each.host_id == host and each.accepted for each in sent)

    async def _not_up(self, host: str) -> list[str]:
        """The other members, by address, that are not up and NORMAL."""
        registry, cluster = self._around.registry, self._run.cluster
        try:
            agents = await registry.refresh(cluster)
            nodes = cluster_nodes(agents, await registry.seen_up(cluster))
        except HelenusError as error:
            return [f"the cluster ({error.message})"]
        members = [node for node in nodes if node.state and node.host_id not in (host, *self._without)]
        if not members and len(nodes) > 1:
            return ["a node of the ring"]
        return [node.address for node in members if node.up is not True or node.state != NORMAL]

    async def _snapshots(self, host: str) -> str:
        """Which backup is taking its snapshot on the node, in words."""
        store = self._around.store
        for request in await store.requests.find(
            cluster=self._run.cluster, kind=RequestKind.BACKUP, state=RequestState.RUNNING
        ):
            for command in await store.commands.of(request.id):
                if command.kind is Kind.SNAPSHOT and command.host_id == host and not command.state.terminal:
                    return f"waits for the snapshot of the backup {request.id} on {command.address}"
        return ""

    async def _pause(self, seconds: float) -> None:
        """Raises `RequestCancelled` as soon as a person wants the end."""
        try:
            async with asyncio.timeout(seconds):
                await self._run.cancelled.wait()
        except TimeoutError:
            return
        self._run.stop_if_cancelled()
