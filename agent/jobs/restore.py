"""The phases of a restore, each the job of one kind of command; a coordinator calls them in this order."""

from agent.jobs.check import CheckJob
from agent.jobs.clean import CleanJob
from agent.jobs.create_views import CreateViewsJob
from agent.jobs.drop_views import DropViewsJob
from agent.jobs.fetch import FetchJob
from agent.jobs.import_held import ImportJob
from agent.jobs.preflight import PreflightJob
from agent.jobs.restore_tools import RestoreTools
from agent.jobs.schema import SchemaJob
from agent.jobs.truncate import TruncateJob
from agent.model.job import Job
from agent.wire.commands import Kind


def restore_jobs(tools: RestoreTools) -> dict[Kind, Job]:
    """Every phase's job."""
    return {
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
