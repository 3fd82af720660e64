"""PIT_QUIESCE: the node lets no client in any more, and what it owes to others is delivered. Fenced.

    starting it once         a node that went down meanwhile replays its own log first
    noting the node          what PIT_PLACE must know of it, durably, while it answers CQL
    closing to clients       native transport off; from here on only PIT_OPEN, PIT_UNDO or a restart let clients in
    replaying the batch log  batches that were noted and not seen applied
    delivering hints         until none is left for a node that is up

What makes it safe: nothing is stopped or moved; switching native transport on again undoes it. A node that ends while
the others let no client in is started by itself, for nobody else may; without clients where it had shut them out. Hints
that are left are told, for they are set aside and never delivered. Hints that are still in memory show only when they
are flushed, so that a look at the files counts only after a whole period of that.
"""

import asyncio
import re
import time
from pathlib import Path

from agent.cassandra.commit_log.archiving_properties import Restoring
from agent.cassandra.commit_log.restore_properties import with_restore
from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.hint_files import hint_bytes
from agent.cassandra.live_directories import NodeFacts
from agent.cassandra.node import CassandraNode
from agent.cassandra.waits import until
from agent.jobs.point_in_time.node_facts import note_facts, segments_of
from agent.jobs.point_in_time.place_errors import BeingUndone, RestoreOpened
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.start_settings import StartSettings
from agent.jobs.restart import BeforeStop, nothing, watch_of
from agent.model.job import JobContext, Outcome
from agent.wire.names import check_tables
from agent.wire.point_in_time import PitArguments, PitQuiesceResult

_FLUSH_SECONDS = 10.0
"""Of hints, by default [X: Config.hints_flush_period]."""
_DURATION = re.compile(r"(\d+)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 0.001}


class PitQuiesceJob:
    """See the module."""

    def __init__(self, tools: PlaceTools, before_stop: BeforeStop = nothing) -> None:
        self._tools = tools
        self._before_stop = before_stop

    async def run(self, context: JobContext) -> Outcome:
        """Raises `ServiceNotConfigured`, `SettingsNotWritable`, `TooManyTables`, `ArchivingRefused`, `ArchiveUnread`,
        `KeptDown`, `CassandraUnavailable`, `CassandraNotStarted`, `ServiceOrderFailed`, `ControlOfAnotherNode`,
        `TableNotFound`, `NativeTransportNot`, `BeingUndone`, `RestoreOpened`, `TooLate`, `WaitGivenUp`."""
        arguments: PitArguments = context.arguments
        check_tables(arguments.tables, "tables")
        notes = self._tools.notes(context)
        await refuse_over(notes)
        self._tools.refuse_when_late(context)
        node = self._tools.node
        node.service.refuse_unconfigured()
        settings = StartSettings(node.jvm, self._tools.properties_file, self._tools.program)
        await settings.refuse_unsettable(arguments.tables, force=arguments.force)
        await node.jvm.refuse_kept_down(but=notes.job)
        if await node.service.settled(watch_of(context)) is None:
            if await notes.is_drained():
                return Outcome(PitQuiesceResult({}))  # it was quiesced, and then stopped
            await context.stages.enter("starting it once")
            await self._start(context, notes)
        await self._before_stop()
        await context.stages.enter("noting the node")
        await node.orders.prove()
        # Once files are set aside, they are put back by the facts of then, whatever the node is by now.
        if await notes.plan() is None and (await notes.facts() is None or await node.orders.native_running()):
            await note_facts(node, arguments.tables, notes)
        segments = str(segments_of(await notes.must_facts()))
        with_restore("", str(self._tools.program), Restoring(segments))  # refuses paths that Cassandra would take apart
        period = await _flush_period(node)
        await context.stages.enter("closing to clients")
        await node.orders.disable_native()
        closed = time.monotonic()
        await context.stages.enter("replaying the batch log")
        await node.orders.replay_batch_log(node.settings.service.drain_seconds)
        await context.stages.enter("delivering hints")
        left = await self._left(context, await notes.must_facts(), closed + period)
        told = ", ".join(f"{address} ({size:,} bytes)" for address, size in left.items())
        warnings = [f"hints that could not be delivered are set aside, and are dropped with it: for {told}"]
        return Outcome(PitQuiesceResult(left, warnings if left else []))

    async def _start(self, context: JobContext, notes: PlaceNotes) -> None:
        """One of which nothing is noted yet has to answer CQL."""
        if await notes.facts() is None:
            await self._tools.service.start(watch_of(context))
        else:
            await self._tools.start_without_clients(notes, watch_of(context))

    async def _left(self, context: JobContext, facts: NodeFacts, settled: float) -> dict[str, int]:
        """Deliver hints; address (of a node that left the ring its host id) → bytes of those that are left. `settled`:
        when those in memory have been written."""
        node, watch = self._tools.node, watch_of(context)
        seconds = node.settings.service.hints_seconds
        members = await node.control.members()
        up = {address for address, member in members.items() if member.up}
        left: dict[str, int] = {}

        async def delivered() -> bool:
            found = await asyncio.to_thread(hint_bytes, Path(facts.hints.data_directory))
            left.clear()
            left.update(sorted((facts.members.get(host_id, host_id), size) for host_id, size in found.items()))
            return time.monotonic() > settled and not up.intersection(left)

        if len(members) == 1:  # nobody to keep hints for
            await delivered()
            return left
        watch.waiting("hints of the node are being delivered", "no hints", seconds)
        await asyncio.sleep(max(0.0, settled - time.monotonic()))
        await until(delivered, seconds, watch, every=2.0)
        watch.tell(None)
        return left


async def refuse_over(notes: PlaceNotes) -> None:
    """Raises `BeingUndone` and `RestoreOpened`: of such a job nothing is stopped or started any more."""
    if await notes.opened():
        raise RestoreOpened(f"the job {notes.job} is finished on this node", job=notes.job)
    if await notes.undoing():
        raise BeingUndone(f"the job {notes.job} is being undone on this node", job=notes.job)


async def _flush_period(node: CassandraNode) -> float:
    """Seconds after which a hint is surely on the disk; the default where the node doesn't answer CQL any more."""
    try:
        text = await node.view.setting("hints_flush_period", "hints_flush_period_in_ms")
    except CassandraUnavailable:
        return _FLUSH_SECONDS
    found = _DURATION.fullmatch(text or "")
    return _FLUSH_SECONDS if found is None else int(found[1]) * _UNITS[found[2]]
