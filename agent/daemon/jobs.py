"""Which job does which kind of command, and in which lane. In: the agent's parts. Out: the runner's registry."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agent.cassandra.node import CassandraNode
from agent.commands.runner import JobSpec
from agent.daemon.allocator import giving_back
from agent.daemon.archiving import archiving_jobs
from agent.daemon.point_in_time import PointParts, point_jobs
from agent.daemon.settings import AgentSettings
from agent.jobs.archiving.archiver import Archiver
from agent.jobs.backup import BackupJob
from agent.jobs.copying.copier import Copier
from agent.jobs.copying.delivery import Delivery
from agent.jobs.copying.rate import CopyRate
from agent.jobs.delete import DeleteJob
from agent.jobs.in_use import InUse
from agent.jobs.owed import OwedSnapshots
from agent.jobs.restore.phases import restore_jobs
from agent.jobs.restore.repository_source import RestoreSources
from agent.jobs.restore.tools import RestoreTools
from agent.jobs.scripts.script import ScriptJob
from agent.jobs.scrub.notes import ScrubNotes
from agent.jobs.scrub.scrub import ScrubJob
from agent.jobs.snapshot import SnapshotJob, SnapshotTaker
from agent.jobs.sweep import SweepJob
from agent.jobs.sync import SyncJob
from agent.jobs.taken_files import TakenFiles
from agent.jobs.upload import UploadJob
from agent.jobs.watermark import Watermark
from agent.model.job import Job
from agent.pipeline.digest_cache import DigestCache
from agent.repository.catalogue import RecordCache
from agent.repository.intents import Writer
from agent.repository.on_server import OnServer
from agent.repository.opened import Repositories
from agent.storage.threads import MakeWorkers, Workers
from agent.wire.commands import LANES, Kind


@dataclass(frozen=True)
class Collaborators:
    """What jobs are made of."""

    node: CassandraNode
    archiver: Archiver
    repositories: Repositories
    on_server: OnServer
    records: RecordCache
    digests: DigestCache
    in_use: InUse
    rate: CopyRate
    jobs_in_use: InUse
    busy: InUse
    scrubs: ScrubNotes
    state: Path
    agent_id: str
    instance: str
    version: str
    settings: AgentSettings
    clock: Callable[[], float]
    redact: Callable[[str], str]
    workers: MakeWorkers = Workers


def jobs_of(parts: Collaborators) -> dict[Kind, JobSpec]:
    """Every kind's job."""
    jobs = {**_copies(parts), **_restores(parts), **_archiving(parts), **_points(parts)}
    return {kind: JobSpec(LANES[kind], giving_back(job)) for kind, job in jobs.items()}


def owed_snapshots(parts: Collaborators) -> OwedSnapshots:
    """What clears snapshots that no command clears any more."""
    return OwedSnapshots(_taker(parts))


def _taker(parts: Collaborators) -> SnapshotTaker:
    return SnapshotTaker(parts.node.snapshots, parts.on_server, _taken_files(parts), parts.in_use, parts.rate)


def _taken_files(parts: Collaborators) -> TakenFiles:
    return TakenFiles(parts.on_server, _writer(parts))


def _writer(parts: Collaborators) -> Writer:
    return Writer(parts.agent_id, parts.instance, parts.version)


def _copies(parts: Collaborators) -> dict[Kind, Job]:
    """Snapshots, and what goes into and out of destinations."""
    snapshots = parts.node.snapshots
    writer, taker = _writer(parts), _taker(parts)
    watermark = Watermark(snapshots, parts.on_server, parts.settings.cassandra.space.keep_free, parts.in_use)

    async def live_tables() -> frozenset[str]:
        keyspaces = (await parts.node.view.keyspaces()).values()
        return frozenset(table_id.replace("-", "") for keyspace in keyspaces for table_id in keyspace.tables.values())

    delivery = Delivery(parts.repositories, writer, parts.rate)
    copier = Copier(snapshots, delivery, parts.digests, watermark, live_tables, _taken_files(parts), parts.workers)

    async def host_id() -> str:
        return (await parts.node.view.identity()).host_id

    ring = _ring(parts)
    careful = parts.settings.sweep
    sweep = SweepJob(
        parts.repositories, host_id, ring, writer, margin=careful.margin_seconds, silence=careful.silence_seconds
    )
    scripts = parts.settings.scripts
    script = ScriptJob(snapshots, scripts.directory, scripts.timeout_seconds, parts.redact)
    delete = DeleteJob(snapshots, parts.repositories, parts.on_server, parts.records, parts.in_use)
    scrub = ScrubJob(
        parts.repositories,
        parts.scrubs,
        host_id,
        ring,
        parts.busy.has,
        parts.clock,
        period=parts.settings.scrub.period_days * 86_400,
        sample=parts.settings.scrub.sample_objects,
    )
    return {
        Kind.SNAPSHOT: SnapshotJob(taker).run,
        Kind.SCRIPT: script.run,
        Kind.UPLOAD: UploadJob(snapshots, taker, copier, parts.on_server).run,
        Kind.BACKUP: BackupJob(taker, copier).run,
        Kind.SYNC: SyncJob(snapshots, copier, parts.repositories, delivery, host_id, ring, parts.workers).run,
        Kind.DELETE: delete.run,
        Kind.SWEEP: sweep.run,
        Kind.SCRUB: scrub.run,
    }


def _archiving(parts: Collaborators) -> dict[Kind, Job]:
    """The commit log's archive."""
    return archiving_jobs(parts.archiver, parts.repositories, _writer(parts), _ring(parts), parts.clock)


def _ring(parts: Collaborators) -> Callable[[], Awaitable[dict[str, str]]]:
    """Address of each member, up or down → its host id, "" where it isn't known."""

    async def ring() -> dict[str, str]:
        members = await parts.node.control.members()  # of a row half written Cassandra's own tables tell nothing
        known = {member.address: member.host_id for member in await parts.node.view.ring(members)}
        return dict.fromkeys(members, "") | known

    return ring


def _restores(parts: Collaborators) -> dict[Kind, Job]:
    """The phases of a restore."""
    return restore_jobs(_restore_tools(parts))


def _restore_tools(parts: Collaborators) -> RestoreTools:
    sources = RestoreSources(parts.repositories, parts.node.snapshots, parts.on_server, parts.workers)
    return RestoreTools(parts.node, sources, parts.state, parts.clock, parts.jobs_in_use)


def _points(parts: Collaborators) -> dict[Kind, Job]:
    """The phases of a restore to a point in time, and a restart."""
    return point_jobs(
        PointParts(
            parts.node,
            parts.archiver,
            parts.repositories,
            _restore_tools(parts),
            parts.state,
            parts.settings.cassandra,
            parts.clock,
            parts.workers,
        )
    )
