"""The one place where the agent's parts meet. In: settings. Out: an agent, not yet started."""

import uuid
from pathlib import Path

from agent.cassandra.node import CassandraNode
from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.measures import CommandMeasures
from agent.commands.reporting import CoordinatorAddress, Reporter
from agent.commands.runner import Runner
from agent.crypto.keyring import Keyring
from agent.daemon.agent import Agent, Health, Making, Parts
from agent.daemon.archiving import archiver_of, watcher_of
from agent.daemon.archiving_measures import ArchivingMeasures
from agent.daemon.backups import Backups
from agent.daemon.identity import agent_id_in
from agent.daemon.jobs import Collaborators, jobs_of, owed_snapshots
from agent.daemon.measures import StorageMeasures
from agent.daemon.named_files import reporter_access
from agent.daemon.node_report import NodeReports
from agent.daemon.provider import Provider
from agent.daemon.scrub_measures import ScrubMeasures
from agent.daemon.settings import AgentSettings, CoordinatorSettings
from agent.daemon.version import installed_version
from agent.http.app import make_app
from agent.http.services import AgentServices
from agent.jobs.archiving.standing import view_of
from agent.jobs.copying.rate import CopyRate
from agent.jobs.in_use import InUse
from agent.jobs.job_documents import JobDocuments
from agent.jobs.scrub.notes import ScrubNotes
from agent.pipeline.digest_cache import DigestCache
from agent.repository.attach import attach
from agent.repository.catalogue import RecordCache
from agent.repository.check import DestinationChecks
from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.hold_notes import HoldNotes
from agent.repository.key_changes import KeyChanges
from agent.repository.keyrings import Keyrings
from agent.repository.limits import Limits
from agent.repository.live_storage import Patience
from agent.repository.on_server import OnServer
from agent.repository.opening import OpenDestinations, Verify
from agent.storage.protocol import Storage
from agent.wire.commands import Kind, Target
from agent.wire.destinations import object_lock_of
from kit.config import read_secret
from kit.http_auth import authentication
from kit.http_origin import same_origin
from kit.http_server import HttpServer
from kit.http_settings import Access, access_of
from kit.logs import Redactor
from kit.metrics import ProcessMetrics
from kit.notify import Notifier
from kit.secret import Secret
from kit.state_lock import StateLock

NOW = Patience(seconds=0.0, poll_seconds=0.0)


def compose(settings: AgentSettings, redactor: Redactor, notifier: Notifier, making: Making) -> Agent:
    """Put the agent together. Raises `ConfigError`, `StateLocked`, and what is wrong with files of the state."""
    access = access_of(settings.http)
    if access.token is not None:
        redactor.add(access.token)
    redact_passwords(settings, redactor)
    state = Path(settings.state_directory)
    lock = StateLock(state)
    try:
        return _composed(settings, access, state, lock, redactor, notifier, making)
    except BaseException:
        lock.release()
        raise


def _composed(
    settings: AgentSettings,
    access: Access,
    state: Path,
    lock: StateLock,
    redactor: Redactor,
    notifier: Notifier,
    making: Making,
) -> Agent:
    agent_id, instance, version = agent_id_in(state), uuid.uuid4().hex, installed_version()
    metrics = ProcessMetrics("agent", version)

    limits = Limits(settings.transfer.node_bytes_per_second)
    provider = Provider(settings.destinations, limits, StorageMeasures(metrics.registry), state)
    destinations = Destinations(
        DestinationFiles(state / "destinations"), provider, limits, register_secret=redactor.add
    )
    patience = Patience(settings.destinations.patience_seconds, settings.destinations.poll_seconds)
    keyrings = Keyrings(destinations, provider.unlocking)
    verify = verifying(keyrings)
    holds = HoldNotes(state / "holds")
    repositories = OpenDestinations(destinations, verify, patience, holds, clock=making.clock)
    listed = OpenDestinations(destinations, verify, NOW, holds, once=True)
    written = OpenDestinations(destinations, verify, NOW, holds)

    node = CassandraNode(settings.cassandra, state)
    on_server = OnServer(state / "on-server")
    records = RecordCache()
    digests = DigestCache(state / "digests.sqlite")
    journal = making.journal(state / "journal.sqlite", making.clock)
    health = Health(journal)
    events = EventLog(journal, making.clock)
    in_use, jobs_in_use, busy = InUse(), InUse(), InUse()
    scrubs = ScrubNotes(state)
    metrics.registry.register(ScrubMeasures(scrubs, lambda: [one.id for one in destinations.views()], making.clock))
    archiver = archiver_of(settings.cassandra, node, state, repositories, making.clock)
    watcher = watcher_of(node, archiver, state, written, making.clock)
    metrics.registry.register(ArchivingMeasures(archiver, making.clock))
    parts = Collaborators(
        node=node,
        archiver=archiver,
        repositories=repositories,
        on_server=on_server,
        records=records,
        digests=digests,
        in_use=in_use,
        rate=CopyRate(lambda: limits.node.rate),
        jobs_in_use=jobs_in_use,
        busy=busy,
        scrubs=scrubs,
        state=state,
        agent_id=agent_id,
        instance=instance,
        version=version,
        settings=settings,
        clock=making.clock,
        redact=redactor.clean,
    )
    jobs = jobs_of(parts)
    runner = Runner(
        journal,
        events,
        jobs,
        instance=instance,
        coordinators=sorted(settings.coordinators),
        measures=CommandMeasures(metrics.registry),
        clock=making.clock,
    )
    in_use.using = runner.using_tag
    jobs_in_use.using = runner.using_job
    busy.using = lambda destination_id: runner.using_destination(destination_id, but=Kind.SCRUB)
    destinations.wanted = lambda destination_id: (
        bool(runner.using_destination(destination_id)) or archiver.wants(destination_id)
    )

    checks = DestinationChecks(destinations, provider, keyrings)
    destinations.taken_back = checks.take_back
    services = AgentServices(
        commands=runner,
        events=events,
        node=NodeReports(
            node,
            agent_id=agent_id,
            instance=instance,
            version=version,
            kinds=frozenset(jobs),
            throttle=lambda: int(limits.node.rate),
            newest=lambda: events.newest,
            clock=making.clock,
        ),
        destinations=destinations,
        checks=checks,
        keys=KeyChanges(destinations, keyrings, provider.unlocking, register_secret=redactor.add),
        backups=Backups(
            destinations, listed, written, keyrings, on_server, records, node.view, node.snapshots, patience.seconds
        ),
        jobs=JobDocuments(state),
        archiving=lambda: view_of(archiver),
        metrics=metrics.registry,
        health=health,
    )
    http = settings.http
    app = make_app(
        services,
        authentication=[same_origin(access), authentication(access)],
        max_body_bytes=http.max_body_bytes,
        body_seconds=http.body_seconds,
    )
    if making.application is not None:
        making.application(app)
    return Agent(
        Parts(
            lock=lock,
            journal=journal,
            events=events,
            runner=runner,
            destinations=destinations,
            digests=digests,
            node=node,
            archiver=archiver,
            watcher=watcher,
            owed=owed_snapshots(parts),
            server=HttpServer(app, http, access),
            reporters=[
                _reporter(name, coordinator, events, journal, redactor)
                for name, coordinator in settings.coordinators.items()
            ],
            metrics=metrics,
            notifier=notifier,
            health=health,
        )
    )


def verifying(keyrings: Keyrings) -> Verify:
    """The repository and the cluster that a command names must be there; nothing is made."""

    async def verify(storage: Storage, target: Target, record: StoredDestination) -> Keyring | None:
        attached = await attach(
            storage,
            keys=keyrings.of(record),
            initialise=False,
            repository_id=target.repository_id,
            cluster_id=target.cluster_id,
            cluster_name=None,
            locked=object_lock_of(record.settings) is not None,
        )
        return attached.keyring

    return verify


def _reporter(
    name: str, settings: CoordinatorSettings, events: EventLog, journal: Journal, redactor: Redactor
) -> Reporter:
    access = reporter_access(name, settings)
    if access.token is not None:
        redactor.add(access.token)
    return Reporter(CoordinatorAddress(name, settings.url, access.token), events, journal, tls=access.tls)


def redact_passwords(settings: AgentSettings, redactor: Redactor) -> None:
    """Passwords are read where they are used; here they are only kept out of the logs. A wrong file is told at once."""
    cassandra = settings.cassandra
    if cassandra.cql.password_file:
        redactor.add(read_secret(cassandra.cql.password_file, setting="cassandra.cql.password_file"))
    if cassandra.nodetool.password_file:
        lines = read_secret(cassandra.nodetool.password_file, setting="cassandra.nodetool.password_file").reveal()
        for line in lines.splitlines():
            _, _, password = line.strip().partition(" ")  # nodetool's own form: user, blank, password
            if password.strip() and not line.startswith("#"):
                redactor.add(Secret(password.strip()))
    if cassandra.jolokia is not None and cassandra.jolokia.password_file:
        redactor.add(read_secret(cassandra.jolokia.password_file, setting="cassandra.jolokia.password_file"))
