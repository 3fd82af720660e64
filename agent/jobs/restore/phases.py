"""The phases of a restore, each the job of one kind of command; a coordinator calls them in this order.

Lanes let phases of different restores run side by side; those of one restore work on the same staged files and notes,
so that each waits until the one before it has ended, whatever a coordinator asks for at once.
"""

from agent.jobs.in_use import InUse
from agent.jobs.restore.check import CheckJob
from agent.jobs.restore.clean import CleanJob
from agent.jobs.restore.create_views import CreateViewsJob
from agent.jobs.restore.drop_views import DropViewsJob
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.import_held import ImportJob
from agent.jobs.restore.preflight import PreflightJob
from agent.jobs.restore.schema import SchemaJob
from agent.jobs.restore.tools import RestoreTools
from agent.jobs.restore.truncate import TruncateJob
from agent.model.job import Job, JobContext, Outcome
from agent.wire.commands import Kind


def restore_jobs(tools: RestoreTools) -> dict[Kind, Job]:
    """Every phase's job."""
    phases: dict[Kind, Job] = {
        Kind.PREFLIGHT: PreflightJob(tools).run,
        Kind.FETCH: FetchJob(tools).run,
        Kind.DROP_VIEWS: DropViewsJob(tools).run,
        Kind.TRUNCATE: TruncateJob(tools).run,
        Kind.SCHEMA: SchemaJob(tools).run,
        Kind.IMPORT: ImportJob(tools).run,
        Kind.CREATE_VIEWS: CreateViewsJob(tools).run,
        Kind.CHECK: CheckJob(tools).run,
        Kind.CLEAN: CleanJob(tools).run,
    }
    return {kind: alone(phase, tools.in_use) for kind, phase in phases.items()}


def alone(phase: Job, in_use: InUse) -> Job:
    """The phase, while no other one of its restore runs."""

    async def run(context: JobContext) -> Outcome:
        async with in_use.alone(context.job or ""):
            return await phase(context)

    return run
