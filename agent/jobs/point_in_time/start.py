"""PIT_START: Cassandra starts with what was placed, replays up to the point, and lets no client in. Fenced.

    making ready                   what an earlier start was given back and did not replay is moved out
    starting                       until the node is NORMAL; its neighbours may still be down
    taking back what it was told   what was seen of the replay is noted, and the next start replays for every table

What makes it safe: `placed.json` says that every file is in its place. Only here Cassandra is let start again. A
start that fails leaves everything as it is: the same order again starts anew, for replaying twice gives the same rows.
Once the replay has ended no start replays it again, for what the node writes from then on is of every table
(agent/jobs/point_in_time/replay_end.py): one that crashes afterwards only replays its own log. A node that was opened
has its own settings back: it is started where it is down and no other restore keeps it so, and told nothing else.
"""

import asyncio

from agent.jobs.point_in_time.given_back import ready_for_start
from agent.jobs.point_in_time.place_errors import NotPlaced
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.quiesce import refuse_over
from agent.jobs.point_in_time.replay_end import note_ended_before, settle_replay
from agent.jobs.point_in_time.restore_settings import let_replay
from agent.jobs.restart import watch_of
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult


class PitStartJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `NotPlaced`, `ServiceNotConfigured`, `ServiceOrderFailed`, `CassandraNotStarted`, `BeingUndone`,
        `KeptDown`, `TooLate`, `WaitGivenUp`."""
        notes = self._tools.notes(context)
        if await notes.opened():
            return await self._start_opened(context, notes)
        await refuse_over(notes)
        plan = await notes.plan()
        if await notes.placed() is None or plan is None:
            raise NotPlaced(f"nothing is placed for the job {notes.job}", job=notes.job)
        facts = await notes.must_facts()
        self._tools.refuse_when_late(context)
        service = self._tools.service
        service.refuse_unconfigured()
        await self._tools.node.jvm.refuse_kept_down(but=notes.job)
        if not await service.alive():
            await context.stages.enter("making ready")
            if await note_ended_before(self._tools, notes, facts):
                await settle_replay(self._tools, notes, facts)
            await asyncio.to_thread(ready_for_start, facts, plan)
            if await notes.replayed() is None:
                await let_replay(self._tools, notes, context.arguments)
        await notes.put_started()
        await context.stages.enter("starting")
        await service.start(watch_of(context))
        await context.stages.enter("taking back what it was told")
        await settle_replay(self._tools, notes, facts)
        return Outcome(PhaseResult(["started"]))

    async def _start_opened(self, context: JobContext, notes: PlaceNotes) -> Outcome:
        self._tools.refuse_when_late(context)
        self._tools.service.refuse_unconfigured()
        await self._tools.node.jvm.refuse_kept_down(but=notes.job)
        await context.stages.enter("starting")
        await self._tools.service.start(watch_of(context))
        return Outcome(PhaseResult(["started"]))
