"""Free segments that no backup needs any more: in, TrimLogsArguments; out, FreedResult.

    looking → deleting

In a destination the oldest end of the log goes (agent.repository.commit_logs.trimming); on the node what is kept there
as logs on the server, once every destination of the order has it. What object lock still holds stays for a later trim.
Interrupted anywhere it begins anew: nothing it removed was needed. Runs in the data lane, and not while another agent
sweeps or has adopted the node's prefix. The log of a node that left the ring is freed by an agent that was told to
`adopt` it; the ring is looked at first, and a member that is merely down keeps its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from agent.jobs.archiving.archiver import Archiver
from agent.jobs.archiving.looking import Look, SeenFile
from agent.jobs.archiving.order import place_of
from agent.jobs.archiving.removal import remove
from agent.jobs.deletion import Deletion
from agent.model.job import JobContext, Outcome
from agent.model.own_state import own_state
from agent.plan.adoption import refusal
from agent.plan.segment_names import segment_id
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.commit_logs.trimming import plan_trim
from agent.repository.errors import AdoptionRefused
from agent.repository.intents import Intents, Writer
from agent.repository.opened import Repositories
from agent.wire.archiving import LogTarget, TrimLogsArguments
from agent.wire.commands import Target
from agent.wire.results import FreedResult

_BATCH = 1000


class TrimLogsJob:
    """The command `trim_logs`."""

    def __init__(
        self,
        archiver: Archiver,
        repositories: Repositories,
        writer: Writer,
        ring: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._archiver = archiver
        self._ring = ring
        self._repositories = repositories
        self._writer = writer

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises CassandraUnavailable (whose log it is, or who is in the ring, isn't known),
        IntentForeign, NodeAdopted, AdoptionRefused, a StorageError, StateFailed."""
        arguments: TrimLogsArguments = context.arguments
        await context.stages.enter("looking")
        adopted = arguments.adopt
        if adopted is not None and (why := refusal(await self._ring(), adopted)) is not None:
            raise AdoptionRefused(why, host_id=adopted)
        if not arguments.dry_run and adopted is None:
            self._archiver.ledger.forget_losses(arguments.before)
            if self._archiver.history is not None:
                await self._archiver.history.trim(arguments.before)
        if arguments.target is None:
            if adopted is not None:
                raise AdoptionRefused("what another node keeps itself can't be freed from here", host_id=adopted)
            return Outcome(await self._on_node(context, arguments))
        return Outcome(await self._in_destination(context, arguments, arguments.target))

    async def _in_destination(self, context: JobContext, arguments: TrimLogsArguments, target: Target) -> FreedResult:
        adopting = arguments.adopt is not None
        host_id = arguments.adopt or await self._host_id()
        async with self._repositories.opened(target, context.waiting) as opened:
            await Intents(opened, host_id, self._writer, adopting=adopting).refuse_foreign_sweep()
            logs = CommitLogs(opened, host_id)
            spared = set() if adopting else {segment_id(name) for name in (await self._look()).there}
            plan = await plan_trim(logs, arguments.before, spared)
            if arguments.dry_run:
                return FreedResult(sum(plan.objects.values()), len(plan.objects), dry_run=True)
            await context.stages.enter("deleting")
            if plan.documents and not adopting:
                # Told before: killed half-way, the log is not said to begin with what is gone.
                self._archiver.ledger.begin_later(place_of(LogTarget(target)), arguments.before)
                await self._archiver.ledger.save()
            deletion = Deletion(opened.storage)
            for start in range(0, len(plan.documents), _BATCH):
                await deletion.delete(plan.documents[start : start + _BATCH])
            keys = list(plan.objects)
            for start in range(0, len(keys), _BATCH):
                await deletion.free({key: plan.objects[key] for key in keys[start : start + _BATCH]})
            return deletion.result([])

    async def _on_node(self, context: JobContext, arguments: TrimLogsArguments) -> FreedResult:
        files = self._going(await self._look(), arguments.before)
        size = sum(file.size for file in files)
        if arguments.dry_run:
            return FreedResult(size, len(files), dry_run=True)
        await context.stages.enter("deleting")
        await remove(files)
        return FreedResult(size, len(files))

    async def _look(self) -> Look:
        """The directories as they are now. Raises StateFailed."""
        with own_state():
            return await asyncio.to_thread(self._archiver.looked)

    def _going(self, seen: Look, before: float) -> list[SeenFile]:
        """The oldest end of what is kept on the node, as far as every destination has it."""
        order, known = self._archiver.order, self._archiver.ledger.known
        places = set() if order is None else {place_of(target) for target in order.arguments.targets}
        found = []
        for name in sorted(seen.archived, key=segment_id):
            one, file = known.segments.get(name), seen.archived[name]
            shipped = not places or (one is not None and one.stamp == file.stamp and places <= set(one.places))
            if file.changed_at >= before or not shipped:
                break
            found.append(file)
        return found

    async def _host_id(self) -> str:
        return self._archiver.ledger.known.host_id or (await self._archiver.node.life()).host_id
