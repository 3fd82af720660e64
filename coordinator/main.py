"""The coordinator's composition root. In: `--config /etc/helenus/coordinator.toml`. Out: the API served until SIGTERM.

`--check-config` reads the configuration and every file it names, and says whether they are right: it refuses what a
start refuses without asking another machine. Only what hangs on who starts it and when is left to the start: the rights
of the service's user in the state directory, and whether another process has it or the port.
"""

import argparse
import asyncio
import faulthandler
import itertools
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from coordinator.access.command import CONFIGURATION
from coordinator.access.command import main as users_command
from coordinator.access.passwords import Passwords
from coordinator.fleet.client import Deadlines
from coordinator.fleet.fleet import ClusterAgents
from coordinator.model.settings import ClusterSettings, CoordinatorSettings, LeadingSettings
from coordinator.notices.hooks import hooks_of
from coordinator.opscenter.roles import FIRST_WORDS
from coordinator.orchestrate.timing import USUAL, Timing
from coordinator.serving.acting import composed, installed_version
from coordinator.serving.forwarding import Reached, is_safe, reached_at
from coordinator.serving.in_turns import InTurns
from coordinator.serving.ready import Ready
from coordinator.store.late import LateStore
from coordinator.store.opening import access_of, look_at_state, open_state
from coordinator.store.protocol import Store
from coordinator.store.sqlite import SqliteStore
from kit import logs
from kit.background import run_until, unless
from kit.config import ConfigError, absolute_path, load, look_at_directory, read_secret, secret_path
from kit.errors import HelenusError
from kit.fair_loop import fair_loop
from kit.garbage import keep_collections_short
from kit.heartbeat import beat
from kit.http_server import HttpServer, look_at_address
from kit.http_settings import access_of as doors_of
from kit.http_settings import is_loopback, url_at
from kit.notify import Notifier
from kit.state_lock import StateLock
from kit.tls import TlsNames, client_context


def prepare(path: Path, timing: Timing = USUAL) -> Ready:
    """The configuration at `path`, checked. Raises `ConfigError`. `timing`: waits that no setting names."""
    settings = load(path, CoordinatorSettings)
    _refuse_double_names(settings.clusters)
    listening = settings.http
    doors = doors_of(listening, login=settings.access.login)
    reached = _reached(settings.leading)
    if settings.state.kind == "cassandra":  # others may have the same state
        reached_at(reached.url, listening.host, url_at(listening.host, listening.port, tls=doors.tls is not None))
    return Ready(
        settings,
        absolute_path(settings.state_directory, setting="state_directory"),
        doors,
        {cluster: _agents(cluster, of) for cluster, of in settings.clusters.items()},
        hooks_of(settings.webhooks),
        reached,
        access_of(settings.state),
        timing,
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
            named=TlsNames(f"{at}.ca_file", f"{at}.certificate_file", f"{at}.key_file"),
        )
    deadlines = Deadlines(
        connect=of.connect_seconds, probe=of.probe_seconds, call=of.request_seconds, silence=of.silent_seconds
    )
    return ClusterAgents([url.rstrip("/") for url in of.agents], token, tls, deadlines)


def _reached(settings: LeadingSettings) -> Reached:
    if settings.url and not is_safe(settings.url):
        raise ConfigError(
            f"«leading.url»: {settings.url} is another address than loopback and needs https", setting="leading.url"
        )
    tls = None
    if settings.ca_file:
        at = "leading.ca_file"
        tls = client_context(absolute_path(settings.ca_file, setting=at), named=TlsNames(at))
    return Reached(settings.url.rstrip("/"), tls)


def _is_loopback(host: str) -> bool:
    try:
        return is_loopback(host, setting="agents")
    except ConfigError:  # a name: it could mean any address
        return False


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
    async with AsyncExitStack() as stack:
        stack.enter_context(StateLock(ready.state_directory))
        failed = asyncio.Event()
        asked = itertools.count()

        def waiting(why: str, seconds: float) -> None:
            if failed.is_set():
                return  # it has started without the state, and tells how it stands itself
            notifier.starting(why, seconds)
            if next(asked):
                failed.set()

        late = LateStore(open_state(ready.state, ready.state_directory, store_type, now=time.time(), waiting=waiting))
        stack.push_async_callback(late.close)
        store = await unless(stop, late.once_there(failed))
        if store is None:
            return
        if store.lead is None:
            await _serve_alone(ready, store, redactor, notifier, stop)
        else:
            await InTurns(ready, store, store.lead, redactor, notifier).serve(stop, [late.kept_open])


async def _serve_alone(
    ready: Ready, store: Store, redactor: logs.Redactor, notifier: Notifier, stop: asyncio.Event
) -> None:
    """The one coordinator of its state: it acts as long as it runs."""
    log = structlog.get_logger("coordinator")
    async with AsyncExitStack() as stack:
        passwords = Passwords()
        stack.callback(passwords.close)
        acting = await composed(stack, ready, store, redactor, passwords)
        server = HttpServer(acting.app, ready.settings.http, ready.access)
        # Nothing is done on any node before this is the one coordinator here: unfinished requests go on only after the
        # address is held. Who asks meanwhile waits, and at the end the server stops first.
        stack.push_async_callback(server.stop)
        await server.bind()
        await acting.begin(stack)
        stack.push_async_callback(server.stop)
        await server.start()
        await acting.warn()
        log.info(
            "the coordinator serves",
            url=server.url,
            clusters=list(ready.settings.clusters),
            version=installed_version(),
        )
        notifier.ready()
        await run_until(
            stop, [beat(notifier, acting.metrics.observe_lag), keep_collections_short(), *acting.background()]
        )
        notifier.stopping()
        log.info("the coordinator stops")


async def _run(ready: Ready, redactor: logs.Redactor, store_type: type[SqliteStore]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(ready, redactor, Notifier(), stop, store_type)


def main(
    arguments: Sequence[str] | None = None, store_type: type[SqliteStore] = SqliteStore, timing: Timing = USUAL
) -> int:
    """The command `helenus-coordinator`. Returns 0, or 1 after an error that was printed, 2 for the configuration's.
    `store_type`, `timing` (waits that no setting names): replaced in tests."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "users":
        return users_command(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="helenus-coordinator",
        description="Backup and restore of Cassandra clusters. «helenus-coordinator users» manages who may log in.",
    )
    parser.add_argument("--config", type=Path, default=CONFIGURATION, help="default: %(default)s")
    parser.add_argument(
        "--check-config", action="store_true", help="check the configuration and what it names, then end"
    )
    parser.add_argument("--version", action="version", version=f"helenus-coordinator {installed_version()}")
    chosen = parser.parse_args(arguments)
    try:
        ready = prepare(chosen.config, timing)
        if chosen.check_config:
            look_at_directory(ready.state_directory, setting="state_directory")
            look_at_state(ready.state, ready.state_directory)
            look_at_address(ready.settings.http.host, ready.settings.http.port)
            print(f"{chosen.config}: fine; clusters: {', '.join(ready.settings.clusters)}")
            return 0
        redactor = logs.Redactor()
        tokens = [ready.access.token, *(agents.token for agents in ready.agents.values())]
        of_state = [] if ready.state is None else ready.state.secrets
        for secret in (*tokens, *(hook.secret for hook in ready.hooks), *of_state):
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
