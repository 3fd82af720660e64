"""The coordinator's composition root. In: `--config conf/coordinator.toml`. Out: the API served until SIGTERM.

`--check-config` reads the configuration and every file it names, and says whether they are right.
"""

import argparse
import asyncio
import faulthandler
import signal
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web

from coordinator.access.command import main as users_command
from coordinator.access.passwords import Passwords
from coordinator.access.people import people_of
from coordinator.fleet.client import Deadlines
from coordinator.fleet.fleet import ClusterAgents, Fleet
from coordinator.model.settings import ClusterSettings, CoordinatorSettings, OrchestrationSettings, RetentionSettings
from coordinator.notices.filler import Sources
from coordinator.notices.hooks import Hook, hooks_of
from coordinator.notices.telling import Telling
from coordinator.opscenter.app import build_app
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.opscenter.doors import who_may
from coordinator.opscenter.measures import Measures
from coordinator.opscenter.roles import FIRST_WORDS
from coordinator.opscenter.webhooks import Webhooks
from coordinator.orchestrate.archiving.archiving import Archiving
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from coordinator.orchestrate.retention.retention import Retention
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scheduled_scrubs import ScheduledScrubs
from coordinator.orchestrate.schedules.schedules import JobSchedules, ScheduleTiming
from coordinator.orchestrate.timing import Timing
from coordinator.store.protocol import Store
from coordinator.store.sqlite import SqliteStore
from kit import logs
from kit.background import run_until
from kit.config import ConfigError, absolute_path, load, look_at_directory, read_secret, secret_path
from kit.errors import HelenusError
from kit.fair_loop import fair_loop
from kit.heartbeat import beat
from kit.http_description import Description
from kit.http_limits import body_limits
from kit.http_origin import same_origin
from kit.http_server import HttpServer
from kit.http_settings import Access, access_of, is_loopback
from kit.metrics import ProcessMetrics
from kit.notify import Notifier
from kit.state_lock import StateLock
from kit.tls import client_context

UNKNOWN_VERSION = "0+unknown"
PRUNE_SECONDS = 86_400.0
"""Between two prunings of the state."""


class Ready(msgspec.Struct, frozen=True):
    """What the configuration comes to, every file it names read."""

    settings: CoordinatorSettings
    state_directory: Path
    access: Access
    agents: Mapping[str, ClusterAgents]
    hooks: Sequence[Hook]


def prepare(path: Path) -> Ready:
    """The configuration at `path`, checked. Raises `ConfigError`."""
    settings = load(path, CoordinatorSettings)
    _refuse_double_names(settings.clusters)
    return Ready(
        settings,
        absolute_path(settings.state_directory, setting="state_directory"),
        access_of(settings.http, login=settings.access.login),
        {cluster: _agents(cluster, of) for cluster, of in settings.clusters.items()},
        hooks_of(settings.webhooks),
    )


def _refuse_double_names(clusters: Mapping[str, ClusterSettings]) -> None:
    """A path may name a cluster by id or name, so that each must mean one cluster, and nothing else."""
    for cluster, of in clusters.items():
        for setting, named in ((f"clusters.{cluster}", cluster), (f"clusters.{cluster}.name", of.name)):
            if named in FIRST_WORDS:
                raise ConfigError(f"«{setting}»: {named} is the first word of the API's own paths", setting=setting)
    seen: dict[str, str] = {cluster: cluster for cluster in clusters}
    for cluster, of in clusters.items():
        if of.name and seen.setdefault(of.name, cluster) != cluster:
            raise ConfigError(
                f"«clusters.{cluster}.name» is the name or id of the cluster {seen[of.name]} too",
                setting=f"clusters.{cluster}.name",
            )


def _agents(cluster: str, of: ClusterSettings) -> ClusterAgents:
    at = f"clusters.{cluster}"
    if len({url.rstrip("/") for url in of.agents}) != len(of.agents):
        raise ConfigError(f"«{at}.agents» names an agent twice", setting=f"{at}.agents")
    token = read_secret(of.token_file, setting=f"{at}.token_file") if of.token_file else None
    for number, url in enumerate(of.agents):
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http" and not _is_loopback(host):
            # A bearer token and the destinations' secrets would travel in clear.
            setting = f"{at}.agents[{number}]"
            raise ConfigError(f"«{setting}»: {url} is another address than loopback and needs https", setting=setting)
    if bool(of.certificate_file) != bool(of.key_file):
        raise ConfigError(f"«{at}.certificate_file» and «{at}.key_file» go together", setting=f"{at}.key_file")
    tls = None
    if any(url.startswith("https:") for url in of.agents):
        tls = client_context(
            absolute_path(of.ca_file, setting=f"{at}.ca_file") if of.ca_file else None,
            absolute_path(of.certificate_file, setting=f"{at}.certificate_file") if of.certificate_file else None,
            secret_path(of.key_file, setting=f"{at}.key_file") if of.key_file else None,
            setting=f"{at}.ca_file",
        )
    deadlines = Deadlines(
        connect=of.connect_seconds, probe=of.probe_seconds, call=of.request_seconds, silence=of.silent_seconds
    )
    return ClusterAgents([url.rstrip("/") for url in of.agents], token, tls, deadlines)


def _is_loopback(host: str) -> bool:
    try:
        return is_loopback(host, setting="agents")
    except ConfigError:  # a name: it could mean any address
        return False


def timing_of(settings: OrchestrationSettings, retention: RetentionSettings) -> Timing:
    """The waits of the `[orchestration]` table, and when retention runs."""
    return Timing(
        agent_return=settings.agent_return_seconds,
        fence=settings.fence_seconds,
        force_margin=settings.force_margin_seconds,
        cancel=settings.cancel_seconds,
        retention_at=retention.daily_seconds,
    )


async def serve(
    ready: Ready,
    redactor: logs.Redactor,
    notifier: Notifier,
    stop: asyncio.Event,
    store_type: type[SqliteStore] = SqliteStore,
) -> None:
    """Run the coordinator until `stop` is set. It ends in the reverse order of the start: no new requests, then the
    running ones are left for the next start, then agents and state are let go. Raises what ended a part that should not
    end. `store_type`: replaced in tests."""
    log = structlog.get_logger("coordinator")
    settings = ready.settings
    metrics = ProcessMetrics("coordinator", installed_version())
    async with AsyncExitStack() as stack:
        stack.enter_context(StateLock(ready.state_directory))
        store = await store_type.open(ready.state_directory, now=time.time())
        stack.push_async_callback(store.close)
        fleet = await stack.enter_async_context(Fleet(ready.agents))
        around = Surroundings(
            store,
            fleet.registry,
            fleet.reports,
            timing_of(settings.orchestration, settings.retention),
            uploads_at_once=settings.orchestration.uploads_at_once,
        )
        orchestrator = FleetOrchestrator(around)
        retention = Retention(around, orchestrator.list_backups, orchestrator.start_delete)
        archiving = Archiving(around, orchestrator.make)
        again = ScheduleTiming(
            retries=settings.schedules.copy_retries, retry_delay=settings.schedules.copy_retry_seconds
        )
        schedules = JobSchedules(store, orchestrator, settings.clusters, time.time, again)
        entries = {cluster: ClusterEntry(of.name or cluster, of.agents) for cluster, of in settings.clusters.items()}
        others_administer = ready.access.token is not None or ready.access.client_certificate
        passwords = Passwords()
        stack.callback(passwords.close)
        people = people_of(store, settings.access, time.time, passwords, others_administer=others_administer)
        api = Api(
            entries,
            store,
            orchestrator,
            retention,
            archiving,
            schedules,
            time.time,
            lambda: uuid.uuid4().hex,
            redactor,
            settings.retention.floor,
            people,
        )
        for cluster in settings.clusters:
            for destination in await store.destinations.all(cluster):
                api.keep_secret(destination.settings)
        sources = Sources(list(entries), retention.notes, archiving.seen, settings.notices.lag_seconds)
        telling = Telling(store, sources, ready.hooks, around.news, time.time, redactor.clean)
        server = HttpServer(application(ready, api, metrics, telling), settings.http, ready.access)
        # Nothing is done on any node before this is the one coordinator here: unfinished requests go on only after the
        # address is held. Who asks meanwhile waits, and at the end the server stops first.
        stack.push_async_callback(server.stop)
        await server.bind()
        await stack.enter_async_context(telling)
        await stack.enter_async_context(orchestrator)
        await stack.enter_async_context(retention)
        await stack.enter_async_context(archiving)
        await stack.enter_async_context(schedules)
        stack.push_async_callback(server.stop)
        await server.start()
        if settings.access.show_secrets_to_admins:
            log.warning("secrets of destinations are shown to admins: [access] show_secrets_to_admins")
        if settings.access.login and not others_administer and not await store.users.any():
            log.warning("nobody can log in yet: make an admin with «helenus-coordinator users add NAME --role admin»")
        log.info(
            "the coordinator serves", url=server.url, clusters=list(settings.clusters), version=installed_version()
        )
        notifier.ready()
        kept = [beat(notifier, metrics.observe_lag), keep_pruned(store)]
        if settings.scrub.every_hours:
            every = settings.scrub.every_hours * 3600
            kept.append(ScheduledScrubs(store, orchestrator, settings.clusters, every).keep_on(time.time))
        await run_until(stop, kept)
        notifier.stopping()
        log.info("the coordinator stops")


async def keep_pruned(store: Store, pause_seconds: float = PRUNE_SECONDS) -> None:
    """Run until cancelled: what is too old goes also from the state of a coordinator that is never stopped."""
    while True:
        await asyncio.sleep(pause_seconds)
        try:
            await store.prune(time.time())
        except HelenusError as error:
            structlog.get_logger("coordinator").warning("the state could not be pruned", **error.as_dict())


def application(ready: Ready, api: Api, metrics: ProcessMetrics, telling: Telling) -> web.Application:
    """The API with its doors: whose page asks, who asks, and how much."""
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


async def _run(ready: Ready, redactor: logs.Redactor, store_type: type[SqliteStore]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(ready, redactor, Notifier(), stop, store_type)


def main(arguments: Sequence[str] | None = None, store_type: type[SqliteStore] = SqliteStore) -> int:
    """The command `helenus-coordinator`. Returns 0, or 1 after an error that was printed, 2 for the configuration's.
    `store_type`: replaced in tests."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "users":
        return users_command(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="helenus-coordinator",
        description="Backup and restore of Cassandra clusters. «helenus-coordinator users» manages who may log in.",
    )
    parser.add_argument("--config", required=True, type=Path, help="the configuration file, e.g. conf/coordinator.toml")
    parser.add_argument(
        "--check-config", action="store_true", help="check the configuration and what it names, then end"
    )
    parser.add_argument("--version", action="version", version=f"helenus-coordinator {installed_version()}")
    chosen = parser.parse_args(arguments)
    try:
        ready = prepare(chosen.config)
        if chosen.check_config:
            look_at_directory(ready.state_directory, setting="state_directory")
            print(f"{chosen.config}: fine; clusters: {', '.join(ready.settings.clusters)}")
            return 0
        redactor = logs.Redactor()
        tokens = [ready.access.token, *(agents.token for agents in ready.agents.values())]
        for secret in (*tokens, *(hook.secret for hook in ready.hooks)):
            if secret is not None:
                redactor.add(secret)
        logs.configure(ready.settings.log.level, ready.settings.log.format, redactor)
        faulthandler.enable(2)  # systemd ends with SIGABRT what has no pulse: the journal then says where it stood
        with asyncio.Runner(loop_factory=fair_loop) as runner:
            runner.run(_run(ready, redactor, store_type))
    except HelenusError as error:
        print(f"helenus-coordinator: {error.message}. {error.todo}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
