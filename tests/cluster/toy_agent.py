"""An agent of a toy node: the real HTTP side, the real runner, journal and event log, over jobs that change a node kept
in memory. It can be killed and started again, and frozen as SIGSTOP would."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.runner import JobSpec, Runner, RunnerTiming
from agent.http.app import make_app
from agent.http.services import AgentServices
from agent.repository.errors import BackupNotFound, NotARepository, RepositoryNotEncrypted, UnknownDestination
from agent.storage.protocol import BadSettings
from agent.wire.backups import RUNNING, BackupView, Plan, Record
from agent.wire.commands import Kind
from agent.wire.destinations import (
    ChangeKeys,
    CheckDestination,
    CheckReport,
    DestinationView,
    KeySlots,
    LocalSettings,
    PutDestination,
)
from agent.wire.node import HealthView, NodeReport
from agent.wire.throttle import PatchThrottle, ThrottleView
from kit.errors import HelenusError
from kit.http_auth import authentication
from kit.http_settings import Access
from kit.secret import Secret
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_archiving import ToyLog, archiving_jobs
from tests.cluster.toy_cluster import ToyFailure, ToyNode, toy_jobs
from tests.cluster.toy_documents import ToyDocuments
from tests.cluster.toy_point_in_time import point_in_time_jobs
from tests.cluster.toy_repository import Held
from tests.cluster.toy_scripts import script_jobs


class RevisionTooOld(HelenusError):
    code = "revision_too_old"
    status = 409


class ToyAgent:
    """`start` and `stop` (or `kill`) as often as wanted: the journal and the address stay."""

    def __init__(self, node: ToyNode, state: Path) -> None:
        self.node = node
        self.log = ToyLog()
        self.documents = ToyDocuments(state)
        self._state = state
        self._port = 0
        self.instance = ""
        self.features: list[str] = [*Kind]
        self.slow_seconds = 0.0
        """how long its node takes to tell what a report is made of"""
        self.token: Secret | None = None
        self.token_for: Callable[[web.Request], bool] = lambda _: True
        """which requests must show the token"""
        self._site: web.AppRunner | None = None
        self._frozen = asyncio.Event()
        self._frozen.set()

    @property
    def url(self) -> str:
        """Where it listens once it was started."""
        return f"http://{self.node.address}:{self._port}"

    async def start(self) -> None:
        """A new process: a new instance over the same state."""
        self.instance = uuid.uuid4().hex
        self._loop = asyncio.get_running_loop()
        self._state.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self._state / "journal.sqlite")
        await self._journal.open()
        self.events = EventLog(self._journal, interval=0.05)
        await self.events.open()
        does = {
            **toy_jobs(self.node),
            **script_jobs(self.node),
            **archiving_jobs(self.node, self.log),
            **point_in_time_jobs(self.node),
        }
        jobs = {kind: JobSpec(lane, job) for kind, (lane, job) in does.items()}
        patience = RunnerTiming(cancel=5.0, journal_retry=0.01)
        self.runner = Runner(
            self._journal, self.events, jobs, instance=self.instance, patience=patience, clock=self._clock
        )
        await self.runner.start()
        services = AgentServices(
            commands=self.runner,
            events=self.events,
            node=self,
            destinations=self,
            checks=self,
            keys=self,
            backups=ToyBackups(self.node),
            archiving=self.log.told,
            jobs=self.documents,
            metrics=CollectorRegistry(),
            health=lambda: HealthView("ok"),
        )
        app = make_app(services, authentication=[self._while_token_right])
        app.middlewares.insert(0, self._while_thawed)
        self._site = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._site.setup()
        self._door = web.TCPSite(self._site, self.node.address, self._port, reuse_address=True)
        await self._door.start()
        self._port = self._site.addresses[0][1]

    async def stop(self) -> None:
        """The process ends: running jobs are cut off, their commands stay unfinished in the journal."""
        assert self._site is not None
        site, self._site = self._site, None
        await self.runner.stop(2.0)
        await self.events.close()
        await self._door.stop()
        for _ in range(5):
            await asyncio.sleep(0)  # whom it just let in the server knows, and closes, only then
        await site.cleanup()
        await self._journal.close()

    @property
    def running(self) -> bool:
        return self._site is not None

    def freeze(self) -> None:
        """Answer nothing any more, as after SIGSTOP."""
        self._frozen.clear()

    def thaw(self) -> None:
        """Go on, as after SIGCONT."""
        self._frozen.set()

    def _clock(self) -> float:
        # The journal's thread asks too: there no loop is running.
        return unix_seconds(self._loop) + self.node.clock_ahead

    @web.middleware
    async def _while_thawed(self, request: web.Request, handler: object) -> web.StreamResponse:
        await self._frozen.wait()
        return await handler(request)  # type: ignore[operator, no-any-return]

    @web.middleware
    async def _while_token_right(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.token is None or not self.token_for(request):
            return await handler(request)
        return await authentication(Access(None, self.token, False))(request, handler)

    async def report(self, *, members: bool = False, truncations: bool = False) -> NodeReport:
        await asyncio.sleep(self.slow_seconds)
        world, node = self.node.world, self.node
        answers = node.up and node.point.native  # a report asks CQL
        ring = [each.member() for each in world.nodes] if answers else []
        stale = [node.stale.pop(0)] if node.stale else []
        if members:
            held = {world.nodes[number - 1].host_id: up for number, up in node.held_up.items()}
            ring = [msgspec.structs.replace(each, up=held.get(each.host_id, each.up)) for each in ring]
        return NodeReport(
            agent_id=f"agent {node.number}",
            instance=self.instance,
            agent_version="0.1.0",
            protocol_min=1,
            protocol_max=1,
            features=self.features,
            now=self._clock(),
            node=node.identity() if answers else None,
            last_known=None if answers else node.identity(),
            trouble=None if answers else {"code": "cassandra_unavailable"},
            data_directories=node.data(),
            keyspaces=world.keyspaces(stale) if answers else {},
            ring=ring,
            throttle_bytes_per_second=0,
            events=self.events.newest,
            load_bytes=node.number * 1_000 if answers else None,
            truncated_at=dict(node.truncated_at) if truncations and answers else None,
        )

    def views(self) -> list[DestinationView]:
        return [self.view(destination) for destination in self.node.destinations]

    def view(self, destination_id: str) -> DestinationView:
        if destination_id not in self.node.destinations:
            raise UnknownDestination(f"no destination {destination_id}", destination=destination_id)
        revision, settings, repository_id, cluster_id = self.node.destinations[destination_id]
        return DestinationView(destination_id, revision, settings, repository_id, cluster_id)

    async def put(self, destination_id: str, request: PutDestination) -> DestinationView:
        if request.settings.path == "/etc":
            raise BadSettings("the directory /etc is not under an allowed root", setting="path", roots=["/backup"])
        known = self.node.destinations.get(destination_id)
        if known is not None and (request.revision, request.settings) != known[:2] and request.revision <= known[0]:
            raise RevisionTooOld("an older revision", revision=known[0])
        ids = known[2:] if known is not None else (None, None)
        self.node.destinations[destination_id] = (request.revision, request.settings, *ids)
        return self.view(destination_id)

    async def delete(self, destination_id: str) -> None:
        self.node.destinations.pop(destination_id, None)

    def throttle(self) -> ThrottleView:
        return ThrottleView(0, {})

    def set_throttle(self, request: PatchThrottle) -> ThrottleView:
        return self.throttle()

    async def change(self, destination_id: str, request: ChangeKeys) -> KeySlots:
        """No destination of a toy is encrypted."""
        raise RepositoryNotEncrypted(f"{destination_id} isn't encrypted")

    async def check(self, destination_id: str, request: CheckDestination) -> CheckReport:
        """As agent.repository.attach: make, attach, or say why not."""
        if destination_id not in self.node.destinations:
            raise UnknownDestination(f"no destination {destination_id}", destination=destination_id)
        revision, settings, _, _ = self.node.destinations[destination_id]
        if settings.path == "broken":
            return CheckReport(False, [], False, error=_told("storage_denied", "wrong keys"))
        key = self.node.world.place_key(self.node, settings)
        place = self.node.world.places.get(key)
        if place is None and not request.initialise:
            asked = (request.repository_id, request.cluster_id, request.cluster_name)
            if asked == (None, None, None):
                return CheckReport(True, [], True)
            return CheckReport(False, [], True, error=_told("not_a_repository", "empty"))
        if place is None:
            place = Held(request.repository_id or uuid.uuid4().hex, {})
            self.node.world.places[key] = place
        if request.repository_id not in (None, place.repository_id):
            return CheckReport(False, [], True, error=_told("repository_mismatch", "another one"))
        cluster_id = request.cluster_id
        if cluster_id is None and request.cluster_name is not None:
            named = [one for one, name in place.clusters.items() if name == request.cluster_name]
            if len(named) > 1:
                return CheckReport(False, [], True, error=_told("cluster_ambiguous", f"{named}"))
            if not named and not request.initialise:
                return CheckReport(False, [], True, error=_told("repository_mismatch", "no cluster"))
            cluster_id = named[0] if named else uuid.uuid4().hex
        if cluster_id is not None:
            place.clusters.setdefault(cluster_id, request.cluster_name or "")
        self.node.destinations[destination_id] = (revision, settings, place.repository_id, cluster_id)
        if request.nonce_put is not None:
            place.marks.add(f"nonce {request.nonce_put}")
        found = None if request.nonce_find is None else f"nonce {request.nonce_find}" in place.marks
        return CheckReport(True, [], True, place.repository_id, cluster_id, nonce_found=found)


def _told(code: str, message: str) -> dict[str, Any]:
    """The error of a check."""
    return {"code": code, "message": message, "todo": "", "retry": "never", "fields": {}}


class ToyBackups:
    """Listings of a toy node."""

    def __init__(self, node: ToyNode) -> None:
        self._node = node

    def _place(self, destination: str | None) -> Held:
        if destination is None:
            return self._node.own
        if destination not in self._node.destinations:
            raise UnknownDestination(f"no destination {destination}", destination=destination)
        if self._node.unreadable is not None:
            raise self._node.unreadable
        place = self._node.world.place(self._node, self._node.destinations[destination][1])
        if place is None:
            raise NotARepository(f"{destination} was never made a repository")
        return place

    def _is_own_directory(self, destination: str) -> bool:
        settings = self._node.destinations[destination][1]
        return isinstance(settings, LocalSettings) and not settings.shared

    async def list(self, destination: str | None) -> list[BackupView]:
        place = self._place(destination)
        # As real agents: a store lists what has a record, a node whatever it keeps, and says where a manifest lacks.
        own = {tag for tag, _ in place.manifests}
        tags = own | {*place.records} | {*place.plans} if destination is None else {*place.records}
        is_own = destination is None or self._is_own_directory(destination)
        return [
            BackupView(
                tag,
                tag in place.marks,
                place.record(tag),
                complete=False if is_own and tag not in own else None,
            )
            for tag in sorted(tags)
        ]

    async def get(self, tag: str, destination: str | None) -> BackupView:
        place = self._place(destination)
        manifests = sorted(host for each, host in place.manifests if each == tag)
        record = place.record(tag)
        plan = place.plans.get(tag)
        if plan is None and record is None and not manifests:
            raise BackupNotFound(f"no backup {tag}", tag=tag)
        complete = plan is not None and all(node.host_id in manifests for node in plan.nodes)
        whole = None
        if record is None or record.state == RUNNING:
            whole = [host for host in manifests if (tag, host) not in place.lacking]
        return BackupView(tag, tag in place.marks, record, plan, manifests, complete, whole=whole)

    async def put_plan(self, tag: str, destination: str | None, plan: Plan) -> None:
        if self._node.plan_failures:
            raise self._node.plan_failures.pop(0)
        place = self._place(destination)
        if place.plans.setdefault(tag, plan) != plan:
            raise ToyFailure("backup_exists", f"another backup {tag}")

    async def put_record(self, tag: str, destination: str | None, record: Record) -> None:
        if self._node.record_failures:
            raise self._node.record_failures.pop(0)
        records = self._place(destination).records.setdefault(tag, [])
        if record.state != RUNNING or not records:
            records.append(record)
