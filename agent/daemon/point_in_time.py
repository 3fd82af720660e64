"""How a restore to a point in time is put together, and a restart. In: the agent's parts. Out: their jobs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.jobs.archiving.archiver import Archiver
from agent.jobs.point_in_time.check import PitCheckJob
from agent.jobs.point_in_time.cover import PitCoverJob
from agent.jobs.point_in_time.fetch import PitFetchJob
from agent.jobs.point_in_time.log_sources import PointLogs
from agent.jobs.point_in_time.phases import stopping_jobs
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.start_settings import StartSettings
from agent.jobs.point_in_time.tables import PitTablesJob
from agent.jobs.restart import RestartJob
from agent.jobs.restore.phases import alone
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import Job
from agent.pipeline.segments import SegmentBytes
from agent.repository.opened import Repositories
from agent.storage.threads import MakeWorkers
from agent.wire.commands import Kind

_THREADS = 4


@dataclass(frozen=True)
class PointParts:
    """What these jobs are made of. `repositories` are patient."""

    node: CassandraNode
    archiver: Archiver
    repositories: Repositories
    restore: RestoreTools
    state: Path
    settings: CassandraSettings
    clock: Callable[[], float]
    workers: MakeWorkers


def point_jobs(parts: PointParts) -> dict[Kind, Job]:
    """The jobs. Without the place of Cassandra's properties file nothing can be set for a replay: then a point can only
    be checked."""
    node, archiver = parts.node, parts.archiver
    jobs: dict[Kind, Job] = {Kind.RESTART: RestartJob(node, archiver.before_stop, parts.clock).run}
    tools = _point_tools(parts)
    jobs[Kind.PIT_CHECK] = PitCheckJob(tools).run
    properties_file = archiver.node.properties_file
    if properties_file is None:
        return jobs
    jobs |= {
        Kind.PIT_FETCH: PitFetchJob(tools).run,
        Kind.PIT_TABLES: alone(PitTablesJob(tools, parts.restore).run, tools.in_use),
        Kind.PIT_COVER: PitCoverJob(tools).run,
    }
    log_file = parts.settings.service.log_file
    placing = PlaceTools(
        node=node,
        service=node.service,
        jvm=node.jvm,
        orders=node.orders,
        state=parts.state,
        properties_file=properties_file,
        program=archiver.node.program,
        archive=archiver.archive,
        log_file=Path(log_file) if log_file else None,
        clock=parts.clock,
        in_use=parts.restore.in_use,
    )
    return jobs | stopping_jobs(placing, archiver.before_stop)


def _point_tools(parts: PointParts) -> PointTools:
    node = parts.node

    async def is_down() -> bool:
        return not await node.service.alive()

    archiving = parts.archiver.node
    written = archiving.properties_file
    segments = SegmentBytes(parts.workers(_THREADS, "segments"), parts.clock)
    return PointTools(
        node=node,
        sources=parts.restore.sources,
        logs=PointLogs(parts.repositories, parts.archiver.kept, segments),
        own=parts.archiver.own_log(is_down),
        process=node.service,
        state=parts.state,
        settings=None if written is None else StartSettings(node.jvm, written, archiving.program),
        clock=parts.clock,
        in_use=parts.restore.in_use,
        refuse_unarchived=parts.archiver.refuse_unarchived,
        before_stop=parts.archiver.before_stop,
    )
