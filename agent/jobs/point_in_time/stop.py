"""PIT_STOP: the node is drained and Cassandra's process is gone. Fenced.

    starting it once   a node that is down and not known to be drained replays its own log first, without clients
    draining           nothing is taken any more, everything is in SSTables, and the node says so
    stopping           the service's own stop, also when the process went with its drain

From the drain on nobody starts it: a JVM option is in place with which none comes up, until PIT_START or PIT_UNDO takes
it away. Else a service manager that starts again whatever ended would undo the drain.

What makes it safe: PIT_PLACE moves the commit log away, in which writes of every other table may be that are nowhere
else. So `drained` is noted only when the node itself said that it is, or left a commit log without any write, and its
process is gone; it is taken back before any start. Killed in between, the next PIT_STOP finds Cassandra down without
that note, and looks into the log; if that holds writes, or was emptied, it starts it once more.
"""

import asyncio
from pathlib import Path

from agent.cassandra.errors import CassandraError
from agent.cassandra.jvm_options import KEEP_DOWN
from agent.cassandra.service_errors import NativeTransportNot
from agent.jobs.point_in_time.notes import FetchNotes
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.quiesce import refuse_over
from agent.jobs.point_in_time.unflushed import ended_clean, holds_writes
from agent.jobs.restart import BeforeStop, watch_of
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult

_LOOKS, _BETWEEN_LOOKS = 100, 0.2
"""How often, and after how many seconds, it is looked whether the process is gone."""


class PitStopJob:
    """See the module."""

    def __init__(self, tools: PlaceTools, before_stop: BeforeStop) -> None:
        self._tools = tools
        self._before_stop = before_stop

    async def run(self, context: JobContext) -> Outcome:
        """Raises `NotQuiesced`, `ServiceNotConfigured`, `ControlOfAnotherNode`, `NativeTransportNot` (clients are let
        in again), `DrainFailed`, `ServiceOrderFailed`, `CassandraNotStopped`, `CassandraNotStarted`, `BeingUndone`,
        `RestoreOpened`, `ArchiveUnread`, `ArchivingRefused`, `KeptDown`, `TooLate`, `WaitGivenUp`."""
        notes = self._tools.notes(context)
        await refuse_over(notes)
        log = Path((await notes.must_facts()).commitlog.data_directory)
        self._tools.refuse_when_late(context)
        node, watch = self._tools.node, watch_of(context)
        node.service.refuse_unconfigured()
        await node.jvm.refuse_kept_down(but=notes.job)
        if await node.service.settled(watch) is None:
            await self._tools.jvm.put(notes.job, [KEEP_DOWN])
            if await node.service.settled(watch) is None and await self._is_done(notes, log):
                if await notes.plan() is None:
                    await self._before_stop()  # else PIT_PLACE finds it, past the point of no return
                return Outcome(PhaseResult(["stopped"]))
        if not await node.service.alive():
            await context.stages.enter("starting it once")
            await FetchNotes(self._tools.state, context.job).forget_covered()
            await self._tools.start_without_clients(notes, watch)
        await notes.forget_drained()
        await node.orders.prove()
        if await node.orders.native_running():
            raise NativeTransportNot("clients are let in: PIT_QUIESCE comes first", wanted="off")
        await self._before_stop()  # segments whose archiving failed: what refuses does so while the node still serves
        await self._tools.jvm.put(notes.job, [KEEP_DOWN])
        await context.stages.enter("draining")
        try:
            await node.orders.drain(node.settings.service.drain_seconds)
        except CassandraError:
            if not await self._ended_by_itself() or await asyncio.to_thread(holds_writes, log):
                raise
        await context.stages.enter("stopping")
        await node.service.keep_down(watch)
        await notes.put_drained()
        return Outcome(PhaseResult(["drained", "stopped"]))

    async def _is_done(self, notes: PlaceNotes, log: Path) -> bool:
        """Whether the node, which is down, needs no drain: it had one, its files are being exchanged, or it left no
        write in its log, which is noted."""
        if await notes.is_drained() or await notes.plan() is not None:
            return True
        if not await asyncio.to_thread(ended_clean, log):
            return False
        await notes.put_drained()
        return True

    async def _ended_by_itself(self) -> bool:
        """Whether Cassandra's process goes with its drain. That of a node that was started without native transport
        does (nothing keeps its JVM), before nodetool has heard how the drain went [T: 5.0]."""
        for _ in range(_LOOKS):
            if not await self._tools.node.service.alive():
                return True
            await asyncio.sleep(_BETWEEN_LOOKS)
        return False
