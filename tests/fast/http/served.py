"""An agent's HTTP side on loopback: the real application, runner, event log and journal, with small implementations of
what other packages bring (node, destinations, backups)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.measures import CommandMeasures
from agent.commands.runner import JobSpec, Runner, RunnerTiming
from agent.http.app import make_app
from agent.http.services import AgentServices
from agent.jobs.job_documents import JobDocuments
from agent.wire.archiving import ArchivingView, LogGap, LogPlace, LogTarget
from agent.wire.backups import BackupView, Plan, Record
from agent.wire.commands import Kind, Target
from agent.wire.destinations import (
    ChangeKeys,
    CheckDestination,
    CheckReport,
    CheckResult,
    DestinationView,
    KeySlots,
    KeySlotView,
    PutDestination,
    masked,
)
from agent.wire.node import DataDirectory, HealthView, KeyspaceView, NodeIdentity, NodeReport, RingMember
from agent.wire.throttle import PatchThrottle, ThrottleView
from kit.errors import HelenusError
from kit.http_auth import authentication
from kit.http_server import HttpServer
from kit.http_settings import Access, HttpSettings
from kit.secret import Secret
from tests.cluster.canaries import marked
from tests.cluster.validated_client import ValidatedClient
from tests.fast.commands.tiny_agent import HOST_ID

TOKEN = marked("token-of-http-tests")
IDENTITY = NodeIdentity(HOST_ID, "127.0.50.1", "Test", "dc1", "r1", ["0"], "5.0.9", "Murmur3Partitioner", "s1")


class Missing(HelenusError):
    """Something that isn't there."""

    code = "missing"
    status = 404


class Node:
    """A node as reports show it."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    async def report(self, *, members: bool = False, truncations: bool = False) -> NodeReport:
        return NodeReport(
            "agent1",
            "instance1",
            "0.1.0",
            1,
            1,
            ["backup"],
            1.5,
            IDENTITY,
            None,
            [DataDirectory("/data", "8:1", 100, 50)],
            {"shop": KeyspaceView({"class": "SimpleStrategy"}, True, {"orders": "id1"}, {"by_day": "orders"})},
            [RingMember(HOST_ID, "127.0.50.1", "dc1", "r1", "NORMAL", True if members else None, ["0"], "5.0.9", None)],
            0,
            self._events.newest,
            1_234_567,
        )


class Destinations:
    """Destinations and limits in memory."""

    def __init__(self) -> None:
        self._puts: dict[str, PutDestination] = {}
        self._limits = ThrottleView(0, {})

    def views(self) -> list[DestinationView]:
        return [self.view(destination) for destination in self._puts]

    def view(self, destination_id: str) -> DestinationView:
        if destination_id not in self._puts:
            raise Missing(f"no destination {destination_id}")
        put = self._puts[destination_id]
        return DestinationView(destination_id, put.revision, masked(put.settings))

    async def put(self, destination_id: str, request: PutDestination) -> DestinationView:
        self._puts[destination_id] = request
        return self.view(destination_id)

    async def delete(self, destination_id: str) -> None:
        self.view(destination_id)
        del self._puts[destination_id]

    def throttle(self) -> ThrottleView:
        return self._limits

    def set_throttle(self, request: PatchThrottle) -> ThrottleView:
        node = request.node_bytes_per_second
        self._limits = ThrottleView(
            self._limits.node_bytes_per_second if node is None else node,
            {**self._limits.destinations, **request.destinations},
        )
        return self._limits


class Checks:
    """A check that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[CheckDestination] = []

    async def check(self, destination_id: str, request: CheckDestination) -> CheckReport:
        if destination_id == "broken":
            raise RuntimeError("a text that nobody may see")
        self.asked.append(request)
        return CheckReport(True, [CheckResult("put", "ok", "", 0.1)], True, "r1", "c1", request.initialise)


class KeyChanges:
    """Answers with one slot for each secret."""

    async def change(self, destination_id: str, request: ChangeKeys) -> KeySlots:
        return KeySlots(2, [KeySlotView(n, 2, "passphrase", True) for n, _ in enumerate(request.secrets)])


class Backups:
    """Plans and records in memory; None is on-server."""

    def __init__(self) -> None:
        self.plans: dict[tuple[str | None, str], Plan] = {}
        self.records: dict[tuple[str | None, str], Record] = {}

    async def list(self, destination: str | None) -> list[BackupView]:
        return [BackupView(tag, False, record) for (place, tag), record in self.records.items() if place == destination]

    async def get(self, tag: str, destination: str | None) -> BackupView:
        key = (destination, tag)
        if key not in self.plans:
            raise Missing(f"no backup {tag}")
        return BackupView(tag, False, self.records.get(key), self.plans[key], [HOST_ID], True)

    async def put_plan(self, tag: str, destination: str | None, plan: Plan) -> None:
        self.plans[destination, tag] = plan

    async def put_record(self, tag: str, destination: str | None, record: Record) -> None:
        self.records[destination, tag] = record


class Served:
    """A running agent with a client that checks every exchange."""

    def __init__(
        self,
        client: ValidatedClient,
        runner: Runner,
        events: EventLog,
        app: web.Application,
        checks: Checks,
        health: list[HealthView],
    ) -> None:
        self.client = client
        self.runner = runner
        self.events = events
        self.app = app
        self.checks = checks
        self.health = health

    async def post(self, command: str, kind: Kind, arguments: dict[str, Any], **more: Any) -> Any:
        """Post a command and give the view."""
        answer = await self.client.post(
            "/v1/commands", {"id": command, "kind": kind.value, "arguments": arguments, **more}
        )
        assert answer.status in (200, 202), answer
        return answer.json

    async def until(self, command: str, *states: str) -> Any:
        """Long-poll the log until the command is in one of the states, or terminal."""
        after = 0
        async with asyncio.timeout(20):
            while True:
                view = (await self.client.get(f"/v1/commands/{command}")).json
                if view["state"] in states or (not states and view["finished"] is not None):
                    return view
                events = (await self.client.get(f"/v1/events?after={after}&wait=1")).json
                after = events[-1]["sequence"] if events else after


async def _archiving() -> ArchivingView:
    """A node whose log is archived, with a gap."""
    target = LogTarget(Target("d1", "r1", "c1"), compressed=True)
    gap = LogGap("CommitLog-7-1.log", "CommitLog-7-3.log", 1.0, 2.0, "the archive was full")
    place = LogPlace(1.5, 2.5, "CommitLog-7-3.log", 1, 10, Missing("away").as_dict())
    return ArchivingView(True, "on", "/archive", False, [target], 5.0, "", {"d1": place}, [gap], 20, 10)


@asynccontextmanager
async def served(
    state: Path, jobs: Mapping[Kind, JobSpec], *, instance: str = "instance1", **limits: Any
) -> AsyncIterator[Served]:
    """An agent on a free port of 127.0.50.2."""
    journal = Journal(state / "journal.sqlite")
    events = EventLog(journal, interval=0.01)
    metrics = CollectorRegistry()
    runner = Runner(
        journal,
        events,
        jobs,
        instance=instance,
        coordinators=["main"],
        measures=CommandMeasures(metrics),
        patience=RunnerTiming(cancel=20),
    )
    await journal.open()
    await events.open()
    await runner.start()
    checks, health = Checks(), [HealthView("ok")]
    services = AgentServices(
        commands=runner,
        events=events,
        node=Node(events),
        destinations=Destinations(),
        checks=checks,
        keys=KeyChanges(),
        backups=Backups(),
        jobs=JobDocuments(state),
        archiving=_archiving,
        metrics=metrics,
        health=lambda: health[0],
    )
    app = make_app(services, authentication=[authentication(Access(None, Secret(TOKEN), False))], **limits)
    server = HttpServer(app, HttpSettings(host="127.0.50.2"), Access(None, None, False), linger_seconds=0.1)
    await server.start()
    async with ValidatedClient(server.url, TOKEN) as client:
        agent = Served(client, runner, events, app, checks, health)
        try:
            yield agent
        finally:
            await server.stop()
            await runner.stop(20)
            await events.close()
            await journal.close()
