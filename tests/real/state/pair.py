"""Two coordinators whose state lies, three times, on the very nodes that they look after: three real ones with their
agents.

In: a cluster that is up, and a directory. Out: orders given to either coordinator, the leader killed or frozen when the
agents are at a chosen moment, and requests followed by whoever answers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster.backup_service import QUICK, BackupService
from tests.cluster.crash_site import SLOWER
from tests.cluster.opscenter import OpsCenter
from tests.cluster.processes import tail
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess, write_secret
from tests.real.state.ledger import Marks, journal

LEASE_SECONDS = 12.0
CLUSTER = "flows"
"""The id that `BackupService` gives it."""
LEADS_SECONDS = 120.0 * SLOWER
ENDS_SECONDS = 600.0 * SLOWER
_POLL = 0.05


@dataclass(frozen=True)
class Moment:
    """So many agents have a command of the kind that has begun (or, with `ended`, has ended), and `pause` seconds more
    have passed."""

    kind: str
    agents: int = 1
    ended: bool = False
    pause: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {'ended' if self.ended else 'begun'} on {self.agents} + {self.pause:.2f} s"


@dataclass
class Pair:
    """See the module. `paused`: the coordinators that stand still."""

    service: BackupService
    coordinators: list[CoordinatorProcess]
    paused: list[CoordinatorProcess] = field(default_factory=list)

    @property
    def cluster(self) -> ScratchCluster:
        return self.service.cluster

    @property
    def agents(self) -> list[AgentProcess]:
        return self.service.agents

    async def start(self) -> None:
        """The agents, then one coordinator, then the other one."""
        async with asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(agent.start(120 * SLOWER))
        for coordinator in self.coordinators:
            await coordinator.start(LEADS_SECONDS)
            await self.leader()

    async def stop(self) -> None:
        """Everything but the nodes."""
        for coordinator in self.coordinators:
            await coordinator.stop()
        async with asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(agent.stop())

    # Who leads

    async def leader(self) -> CoordinatorProcess:
        """The one that leads, once there is one."""
        async with asyncio.timeout(LEADS_SECONDS):
            while True:
                for one in self.answering():
                    if (await self.told(one)).get("status") == "ok":
                        return one
                await asyncio.sleep(_POLL)

    async def knows(self, one: CoordinatorProcess, *roles: str) -> None:
        """Return once it knows who leads, and has one of the roles."""
        async with asyncio.timeout(LEADS_SECONDS):
            while True:
                told = await self.told(one)
                if told.get("status") in roles and (told["status"] == "ok" or told["leader"]):
                    return
                await asyncio.sleep(_POLL)

    def answering(self) -> list[CoordinatorProcess]:
        """Those that are neither dead nor frozen."""
        return [one for one in self.coordinators if one.alive and one not in self.paused]

    def other(self, one: CoordinatorProcess) -> CoordinatorProcess:
        """The one that it isn't."""
        return next(each for each in self.coordinators if each is not one)

    def logs(self) -> str:
        """The end of what both wrote."""
        return "\n".join(f"{one.log}:\n{tail(one.log, 40)}" for one in self.coordinators)

    async def told(self, one: CoordinatorProcess) -> dict[str, Any]:
        """Its /health; empty when it doesn't answer."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            _, told = await one.call("GET", "/health", deadline=5)
            return dict(told or {})
        return {}

    # Deaths

    async def kill(self, one: CoordinatorProcess) -> None:
        """SIGKILL, and return when the other one leads."""
        await one.kill()
        assert await self.leader() is self.other(one)

    async def freeze(self, one: CoordinatorProcess) -> None:
        """SIGSTOP, and return when the other one leads."""
        one.pause()
        self.paused.append(one)
        assert await self.leader() is self.other(one)

    async def thaw(self, one: CoordinatorProcess) -> None:
        """SIGCONT, and return when it knows that another one leads."""
        self.paused.remove(one)
        one.resume()
        await self.knows(one, "standby")

    # Requests

    async def order(
        self, path: str, body: object, *, method: str = "POST", at: CoordinatorProcess | None = None
    ) -> str:
        """The request that carries it out. `at`: who is asked; whoever doesn't lead passes it on. Where the answer was
        lost, the list of requests says whether it was taken."""
        before = set(await self.requests())
        async with asyncio.timeout(LEADS_SECONDS):
            while True:
                asked = at if at in self.answering() else self.answering()[0]
                assert asked is not None
                status, told = await self._call(asked, method, f"/{CLUSTER}{path}", body)
                if status == 200:
                    return str(told)
                assert status in (0, 503), (status, told)
                await self.leader()
                if taken := set(await self.requests()) - before:
                    (request,) = taken
                    return request

    async def requests(self) -> list[str]:
        """The ids of all requests of the kinds that are ordered here."""
        return [
            str(one["id"])
            for kind in ("backup", "restore", "archiving")
            for one in await self.get(f"/{CLUSTER}/request/{kind}/status")
        ]

    async def get(self, path: str, right: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first right answer of anybody to a GET; who is just changing places may not have one."""
        async with asyncio.timeout(ENDS_SECONDS):
            while True:
                for one in self.answering():
                    status, told = await self._call(one, "GET", path, None)
                    if status == 200 and right(told):
                        return told
                    assert status in (0, 200, 503), (status, told)
                await asyncio.sleep(0.2)

    async def status(self, request: str) -> dict[str, Any]:
        """As it is now."""
        return dict(await self.get(f"/request/{request}/status"))

    async def ended(self, request: str) -> dict[str, Any]:
        """The request's status once it has ended."""
        return dict(await self.get(f"/request/{request}/status", lambda told: told["state"] != "running"))

    async def reached(self, request: str, moment: Moment, marks: Marks) -> bool:
        """Whether the moment came after the marks, at once when it has; False when the request ended without it."""
        async with asyncio.timeout(ENDS_SECONDS):
            turn = 0
            while True:
                if await self._are_there(moment, marks):
                    await asyncio.sleep(moment.pause)
                    return True
                turn += 1
                if turn % 20 == 0 and (await self.status(request))["state"] != "running":
                    return False
                await asyncio.sleep(_POLL)

    async def _are_there(self, moment: Moment, marks: Marks) -> bool:
        events = [await journal(agent, mark) for agent, mark in zip(self.agents, marks, strict=True)]
        there = [
            any(
                one.kind == moment.kind and (one.state.terminal if moment.ended else one.state == "running")
                for one in of
            )
            for of in events
        ]
        return sum(there) >= moment.agents

    async def _call(self, one: CoordinatorProcess, method: str, path: str, body: object) -> tuple[int, Any]:
        """Status (0: it doesn't answer) and answer."""
        try:
            return await one.call(method, path, body, deadline=30 if method == "GET" else 300)
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, repr(error)


@asynccontextmanager
async def paired(cluster: ScratchCluster, directory: Path) -> AsyncIterator[Pair]:
    """Both coordinators and the three agents, running."""
    agents = [
        AgentProcess(node, directory / f"agent{number}", jolokia=node.spec.jolokia_port is not None, changes=QUICK)
        for number, node in enumerate(cluster.nodes, 1)
    ]
    key = write_secret(directory / "key", "ab" * 32)
    changes = {
        "state": {
            "kind": "cassandra",
            "contact_points": cluster.contact_points,
            "port": cluster.nodes[0].spec.native_port,
            "replication": {cluster.nodes[0].spec.dc: 3},
            "key_file": str(key),
        },
        "leading": {"lease_seconds": LEASE_SECONDS},
    }
    coordinators = [
        CoordinatorProcess(
            agents,
            directory / name,
            cluster=CLUSTER,
            cluster_name=cluster.name,
            changes=changes,
            recorded=False,  # they are as they are shipped
        )
        for name in ("first", "second")
    ]
    for one in coordinators:
        write_secret(one.token_file, coordinators[0].token)
    service = BackupService(cluster, directory, agents=agents)
    service.coordinator, service.api = coordinators[0], OpsCenter(coordinators[0])
    pair = Pair(service, coordinators)
    try:
        await pair.start()
        yield pair
    finally:
        await pair.stop()
