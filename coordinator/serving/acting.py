"""Everything that acts, put together. In: the configuration and the state. Out: the API, and what runs behind it.

Whoever leads has one of these for as long as he leads; a coordinator without others has one for its whole life.
"""

import asyncio
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from coordinator.access.passwords import Passwords
from coordinator.access.people import people_of
from coordinator.fleet.fleet import Fleet
from coordinator.model.settings import OrchestrationSettings, RetentionSettings
from coordinator.notices.filler import Sources
from coordinator.notices.telling import Telling
from coordinator.opscenter.app import build_app
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.opscenter.doors import who_may
from coordinator.opscenter.measures import Measures
from coordinator.opscenter.webhooks import Webhooks
from coordinator.orchestrate.apart import Apart
from coordinator.orchestrate.archiving.archiving import Archiving
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from coordinator.orchestrate.retention.retention import Retention
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scheduled_scrubs import ScheduledScrubs
from coordinator.orchestrate.schedules.schedules import JobSchedules, ScheduleTiming
from coordinator.orchestrate.timing import USUAL, Timing
from coordinator.serving.ready import Ready
from coordinator.store.protocol import Hold, Store
from kit import logs
from kit.errors import HelenusError
from kit.http_description import Description
from kit.http_limits import body_limits
from kit.http_origin import same_origin
from kit.metrics import ProcessMetrics

UNKNOWN_VERSION = "0+unknown"
FIRST_PRUNE_SECONDS = 300.0
"""From when something acts until the state is pruned: what goes on comes first."""
PRUNE_SECONDS = 86_400.0
"""Between two prunings of the state."""

log = structlog.get_logger("coordinator")


def timing_of(settings: OrchestrationSettings, retention: RetentionSettings, others: Timing = USUAL) -> Timing:
    """The waits of the `[orchestration]` table, when retention runs, and the others."""
    return msgspec.structs.replace(
        others,
        agent_return=settings.agent_return_seconds,
        fence=settings.fence_seconds,
        force_margin=settings.force_margin_seconds,
        cancel=settings.cancel_seconds,
        retention_at=retention.daily_seconds,
    )


class Shared(msgspec.Struct, frozen=True):
    """What a leader of several coordinators has besides. `hold`: awaited before each call that changes anything at an
    agent. `apart`: carries out what stops nodes; `door`: answers of it before all else does."""

    hold: Hold
    apart: Apart
    door: Middleware


def entries_of(ready: Ready) -> dict[str, ClusterEntry]:
    """The configured clusters as the API shows them."""
    clusters = ready.settings.clusters
    return {cluster: ClusterEntry(of.name or cluster, of.agents) for cluster, of in clusters.items()}


class Acting:
    """Made by `composed`; `begin` it once nobody else acts."""

    def __init__(
        self,
        ready: Ready,
        store: Store,
        fleet: Fleet,
        redactor: logs.Redactor,
        passwords: Passwords,
        shared: Shared | None,
    ) -> None:
        settings = ready.settings
        self._settings, self._store = settings, store
        self.metrics = ProcessMetrics("coordinator", installed_version())
        around = Surroundings(
            store,
            fleet.registry,
            fleet.reports,
            timing_of(settings.orchestration, settings.retention, ready.timing),
            uploads_at_once=settings.orchestration.uploads_at_once,
            state_on=store.kept_on(),
            state_keyspace=settings.state.keyspace,
            apart=None if shared is None else shared.apart,
        )
        self._orchestrator = orchestrator = FleetOrchestrator(around)
        self._retention = Retention(around, orchestrator.list_backups, orchestrator.start_delete)
        self._archiving = Archiving(around, orchestrator.make)
        again = ScheduleTiming(
            retries=settings.schedules.copy_retries, retry_delay=settings.schedules.copy_retry_seconds
        )
        self._schedules = JobSchedules(store, orchestrator, settings.clusters, time.time, again)
        entries = entries_of(ready)
        self._others_administer = ready.access.token is not None or ready.access.client_certificate
        people = people_of(store, settings.access, time.time, passwords, others_administer=self._others_administer)
        self._api = Api(
            entries,
            store,
            orchestrator,
            self._retention,
            self._archiving,
            self._schedules,
            time.time,
            lambda: uuid.uuid4().hex,
            redactor,
            settings.retention.floor,
            people,
        )
        sources = Sources(list(entries), self._retention.notes, self._archiving.seen, settings.notices.lag_seconds)
        self._telling = Telling(store, sources, ready.hooks, around.news, time.time, redactor.clean)
        doors = [] if shared is None else [shared.door]
        self.app = application(ready, self._api, self.metrics, self._telling, doors)

    async def learn_secrets(self) -> None:
        """From now on no log line shows those of the destinations."""
        for cluster in self._settings.clusters:
            for destination in await self._store.destinations.all(cluster):
                self._api.keep_secret(destination.settings)

    async def begin(self, stack: AsyncExitStack) -> None:
        """Go on with everything that isn't finished. The stack ends it: cut off where it stands, for everything that
        counts is durable."""
        await stack.enter_async_context(self._telling)
        await stack.enter_async_context(self._orchestrator)
        await stack.enter_async_context(self._retention)
        await stack.enter_async_context(self._archiving)
        await stack.enter_async_context(self._schedules)

    async def warn(self) -> None:
        """Say what a person should know of the settings."""
        access = self._settings.access
        if access.show_secrets_to_admins:
            log.warning("secrets of destinations are shown to admins: [access] show_secrets_to_admins")
        if access.login and not self._others_administer and not await self._store.users.any():
            log.warning("nobody can log in yet: make an admin with «helenus-coordinator users add NAME --role admin»")

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What else runs as long as this acts; none of it ends."""
        kept: list[Coroutine[Any, Any, None]] = [keep_pruned(self._store)]
        if self._settings.scrub.every_hours:
            every = self._settings.scrub.every_hours * 3600
            scrubs = ScheduledScrubs(self._store, self._orchestrator, self._settings.clusters, every)
            kept.append(scrubs.keep_on(time.time))
        return kept


async def composed(
    stack: AsyncExitStack,
    ready: Ready,
    store: Store,
    redactor: logs.Redactor,
    passwords: Passwords,
    shared: Shared | None = None,
) -> Acting:
    """Everything that acts, over a fleet that the stack closes; nothing of it has begun."""
    fleet = Fleet(ready.agents) if shared is None else Fleet(ready.agents, hold=shared.hold)
    acting = Acting(ready, store, await stack.enter_async_context(fleet), redactor, passwords, shared)
    await acting.learn_secrets()
    return acting


async def keep_pruned(
    store: Store, first_seconds: float = FIRST_PRUNE_SECONDS, pause_seconds: float = PRUNE_SECONDS
) -> None:
    """Run until cancelled: what is too old goes from the state of whoever acts, also if he is never stopped."""
    pause = first_seconds
    while True:
        await asyncio.sleep(pause)
        pause = pause_seconds
        try:
            await store.prune(time.time())
        except HelenusError as error:
            log.warning("the state could not be pruned", **error.as_dict())


def application(
    ready: Ready, api: Api, metrics: ProcessMetrics, telling: Telling, inner: Sequence[Middleware] = ()
) -> web.Application:
    """The API with its doors: whose page asks, who asks, and how much; then the `inner` ones."""
    settings, access = ready.settings.http, ready.access
    webhooks = Webhooks(telling.hooks, metrics.registry)
    measures = Measures(api, metrics, installed_version(), webhooks.measure)
    app = build_app(
        api,
        max_body_bytes=settings.max_body_bytes,
        doors=[
            same_origin(access),
            who_may(access, api.people.logins),
            body_limits(settings.body_seconds),
            *inner,
        ],
        own=[*measures.routes(), *webhooks.routes(), *Description("coordinator.opscenter").routes("GET", "HEAD")],
    )
    app.on_response_prepare.append(measures.count)
    return app


def installed_version() -> str:
    """The distribution's version; a source tree that was not installed has none."""
    try:
        return version("helenus")
    except PackageNotFoundError:
        return UNKNOWN_VERSION
