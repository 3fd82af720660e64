"""Are the keyspaces and tables there that a schedule's job names? In: the job, and what it was before. Out: the
error of a backup run, at once instead of at each of its runs."""

import structlog

from coordinator.model.schedules import BackupJob
from coordinator.orchestrate.errors import MissingNodes
from coordinator.orchestrate.protocol import Orchestrator
from coordinator.orchestrate.scope import refuse_absent, refuse_virtual

log = structlog.get_logger(__name__)

FIELD = "job_params.keyspaces"


async def refuse_unknown(
    orchestrator: Orchestrator, cluster: str, schedule_id: str, job: BackupJob, former: BackupJob | None = None
) -> None:
    """Raises `KeyspaceRefused`, `UnknownKeyspace`, `UnknownTable`. A job that names what its `former` one named isn't
    judged: its times and destinations can be changed also when a keyspace was dropped since. Where no node of the
    cluster answers the names are taken as they are, and the log says so: the cluster may be down, or be made later."""
    asked = job.keyspaces or {}
    if not asked or (former is not None and _sets(former) == _sets(job)):
        return
    refuse_virtual(asked)
    try:
        live = await orchestrator.keyspaces(cluster)
    except MissingNodes as error:
        log.warning(
            "the keyspaces of a schedule are taken unchecked: its runs fail where they are misspelt",
            cluster=cluster,
            schedule=schedule_id,
            keyspaces=sorted(asked),
            why=error.message,
        )
        return
    refuse_absent(asked, live, FIELD)


def _sets(job: BackupJob) -> dict[str, set[str]]:
    return {keyspace: {*tables} for keyspace, tables in (job.keyspaces or {}).items()}
