"""The phases of a restore to a point in time that stop a node, change its files and start it again, each the job of one
kind of command; a coordinator calls them in this order. Those of one job never run side by side on a node."""

from agent.jobs.point_in_time.clean import PitCleanJob
from agent.jobs.point_in_time.open import PitOpenJob
from agent.jobs.point_in_time.place import PitPlaceJob
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.quiesce import PitQuiesceJob
from agent.jobs.point_in_time.start import PitStartJob
from agent.jobs.point_in_time.stop import PitStopJob
from agent.jobs.point_in_time.undo import PitUndoJob
from agent.jobs.point_in_time.verify import PitVerifyJob
from agent.jobs.restart import BeforeStop
from agent.jobs.restore.phases import alone
from agent.model.job import Job
from agent.wire.commands import Kind


def stopping_jobs(tools: PlaceTools, before_stop: BeforeStop) -> dict[Kind, Job]:
    """Every such phase's job."""
    phases: dict[Kind, Job] = {
        Kind.PIT_QUIESCE: PitQuiesceJob(tools, before_stop).run,
        Kind.PIT_STOP: PitStopJob(tools, before_stop).run,
        Kind.PIT_PLACE: PitPlaceJob(tools).run,
        Kind.PIT_START: PitStartJob(tools).run,
        Kind.PIT_VERIFY: PitVerifyJob(tools).run,
        Kind.PIT_OPEN: PitOpenJob(tools).run,
        Kind.PIT_UNDO: PitUndoJob(tools).run,
        Kind.PIT_CLEAN: PitCleanJob(tools).run,
    }
    return {kind: alone(phase, tools.in_use) for kind, phase in phases.items()}
