"""PIT_OPEN: every setting is put back, and clients are let in. Fenced.

    putting settings back   the properties file and the JVM options, as they were
    opening to clients      native transport on

What makes it safe: with the settings back an ordinary restart replays nothing but the node's own log, so they go first.
`opened` is noted before clients are let in: from then on nothing is undone, for they may have written. A node that
ended since its start is started as PIT_START does it, for nobody else may.
"""

from agent.jobs.point_in_time.place_errors import BeingUndone, NotPlaced, NotVerified
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.restore_settings import put_back_settings
from agent.jobs.point_in_time.start import PitStartJob
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult


class PitOpenJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `NotPlaced` (not started, or nothing placed), `NotVerified`, `CassandraUnavailable`,
        `ControlOfAnotherNode`, `NativeTransportNot`, `BeingUndone`, `KeptDown`, `TooLate`, and what PIT_START of a node
        that went down raises."""
        notes = self._tools.notes(context)
        if await notes.undoing():
            raise BeingUndone(f"the job {notes.job} is being undone on this node", job=notes.job)
        if await notes.placed() is None or not await notes.started():
            raise NotPlaced(f"nothing was placed and started for the job {notes.job}", job=notes.job)
        if await notes.verified() is None:
            raise NotVerified(f"the replay of the job {notes.job} was not seen to be whole", job=notes.job)
        facts = await notes.must_facts()
        self._tools.refuse_when_late(context)
        node = self._tools.node
        # Refuses a node that another restore keeps, and waits for one that its service manager starts.
        await PitStartJob(self._tools).run(context)
        await node.orders.prove()
        await context.stages.enter("putting settings back")
        await put_back_settings(self._tools, notes, facts)
        await context.stages.enter("opening to clients")
        await notes.put_opened()
        await node.orders.enable_native()
        return Outcome(PhaseResult(["opened"]))
