"""What the HTTP side needs of the agent: one small protocol each, handed in by the composition root."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from agent.commands.runner import Posted
from agent.wire.archiving import ArchivingView
from agent.wire.backups import BackupView, Plan, Record
from agent.wire.commands import CommandView, Event, PatchCommand, PostCommand, State
from agent.wire.destinations import ChangeKeys, CheckDestination, CheckReport, DestinationView, KeySlots, PutDestination
from agent.wire.node import HealthView, NodeReport
from agent.wire.point_in_time import JobDocument
from agent.wire.throttle import PatchThrottle, ThrottleView


class Commands(Protocol):
    """agent.commands.runner.Runner."""

    async def post(self, post: PostCommand) -> Posted: ...
    async def view(self, command: str) -> CommandView: ...
    async def views(
        self, job: str | None = None, states: Sequence[State] = (), limit: int = 1_000
    ) -> list[CommandView]: ...
    async def patch(self, command: str, patch: PatchCommand) -> CommandView: ...
    async def cancel(self, command: str, *, force: bool = False) -> CommandView: ...


class Events(Protocol):
    """agent.commands.events.EventLog."""

    async def after(self, sequence: int, limit: int = 1_000, wait: float = 0.0) -> list[Event]: ...
    def follow(
        self, sequence: int, silence: float = 15.0, *, interval: float = 0.0
    ) -> AsyncIterator[tuple[list[Event], int]]: ...


class Node(Protocol):
    """Who and how the node is. `events` of the report is the newest sequence of the event log."""

    async def report(self, *, members: bool = False, truncations: bool = False) -> NodeReport: ...


class Destinations(Protocol):
    """The agent's registry of destinations, and their live limits. Errors: unknown_destination,
    destination_in_use, …"""

    def views(self) -> list[DestinationView]: ...
    def view(self, destination_id: str) -> DestinationView: ...
    async def put(self, destination_id: str, request: PutDestination) -> DestinationView: ...
    async def delete(self, destination_id: str) -> None: ...
    def throttle(self) -> ThrottleView: ...
    def set_throttle(self, request: PatchThrottle) -> ThrottleView: ...


class Checks(Protocol):
    """Checks of a destination against the real store."""

    async def check(self, destination_id: str, request: CheckDestination) -> CheckReport: ...


class KeyChanges(Protocol):
    """Changes of an encrypted repository's key slots."""

    async def change(self, destination_id: str, request: ChangeKeys) -> KeySlots: ...


class Backups(Protocol):
    """Listings of a destination; `destination` None: of the on-server backups of this node."""

    async def list(self, destination: str | None) -> Iterable[BackupView]: ...
    async def get(self, tag: str, destination: str | None) -> BackupView: ...
    async def put_plan(self, tag: str, destination: str | None, plan: Plan) -> None: ...
    async def put_record(self, tag: str, destination: str | None, record: Record) -> None: ...


class JobDocuments(Protocol):
    """agent.jobs.job_documents.JobDocuments."""

    async def put(self, document: JobDocument) -> JobDocument: ...
    async def get(self, job: str) -> JobDocument: ...
    async def all(self) -> list[JobDocument]: ...


@dataclass(frozen=True)
class AgentServices:
    """All that requests are answered from. `health` must be quick: it is asked often, and without authentication."""

    commands: Commands
    events: Events
    node: Node
    destinations: Destinations
    checks: Checks
    keys: KeyChanges
    backups: Backups
    jobs: JobDocuments
    archiving: Callable[[], Awaitable[ArchivingView]]
    metrics: CollectorRegistry
    health: Callable[[], HealthView]


SERVICES: web.AppKey[AgentServices] = web.AppKey("services", AgentServices)


def services_of(request: web.Request) -> AgentServices:
    """The services of the application that the request came to."""
    return request.app[SERVICES]
