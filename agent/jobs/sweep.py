"""Frees what no undeleted backup of this node needs: in, SweepArguments; out, FreedResult.

    looking → marking → waiting → deleting

Runs in the data lane, which is the lock of the node's prefix in this agent. It deletes nothing while another agent's
intent stands there, nor when a manifest can't be read. It marks, waits a margin, looks at intents and new manifests,
and only then deletes what was marked, is still not needed, and is older than the mark by the store's own clock. What
a backup needed that was deleted meanwhile goes with the next sweep.
Interrupted anywhere it begins anew: nothing it removed was needed. What object lock still holds stays for a later
sweep, and with a manifest, plan or record the mark of its backup.
The prefix of a node that left the ring is swept by an agent that was told to `adopt` it: the mark of that stops the
node's own agent, and intents that nobody touched for the silence are given up, for nobody else ever will. It goes with
the last object, or when nothing was adopted after all. The ring is looked at before the mark and again before the first
deletion; and whoever writes on all the same loses nothing: see `agent/repository/publisher.py`.
A `dry_run` only reads: it counts what a sweep would free now, refused by the same intents and manifests.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from agent.jobs.deletion import Deletion
from agent.jobs.survey import Survey, preview
from agent.model.job import JobContext, Outcome
from agent.plan.adoption import refusal
from agent.plan.objects import ObjectIndex
from agent.plan.sweep import SweepView, unneeded
from agent.repository.data_objects import data_objects
from agent.repository.errors import AdoptionRefused, IntentForeign, SweepWaits
from agent.repository.intents import UNDO_SECONDS, Intents, Standing, Writer, foreign_error
from agent.repository.keys import (
    SWEEP,
    backups_prefix,
    catalogue_prefix,
    data_prefix,
    deleted_key,
    manifest_key,
)
from agent.repository.opened import OpenedRepository, Repositories
from agent.storage.protocol import StorageError
from agent.wire.commands import SweepArguments
from agent.wire.results import FreedResult

MARGIN_SECONDS = 30.0
"""Between mark and deletion: longer than a put that was on its way may take to show in a listing."""
SILENCE_SECONDS = 600.0
"""How long the agent of an intent must have been silent before its intent can be given up."""
_BATCH = 1000


class SweepJob:
    """The command `sweep`. `host_id`: asks the node who it is, `ring` for the host ids of all
    members by address ("" where one has none yet). `margin`: seconds, where the command names none of
    its own. `silence`: seconds that no command can shorten."""

    def __init__(
        self,
        repositories: Repositories,
        host_id: Callable[[], Awaitable[str]],
        ring: Callable[[], Awaitable[Mapping[str, str]]],
        writer: Writer,
        *,
        margin: float = MARGIN_SECONDS,
        silence: float = SILENCE_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._repositories = repositories
        self._host_id = host_id
        self._ring = ring
        self._writer = writer
        self._margin = margin
        self._silence = silence
        self._sleep = sleep

    async def run(self, context: JobContext) -> Outcome:
        """See the module. Raises IntentForeign, ManifestInvalid, a StorageError, what opening raises."""
        arguments: SweepArguments = context.arguments
        asked = arguments.margin_seconds
        margin = self._margin if asked is None else max(0.0, asked)
        host_id = arguments.adopt or await self._host_id()
        await self._refuse_member(arguments)
        async with self._repositories.opened(arguments.target, context.waiting) as opened:
            if arguments.dry_run:
                await context.stages.enter("looking")
                if arguments.adopt is None:
                    _, foreign = await Intents(opened, host_id, self._writer).others()
                    _refuse(host_id, [one for one in foreign if one.name not in arguments.abandon_intents])
                survey = Survey(opened, host_id)
                return Outcome(await preview(survey, frozenset(arguments.as_deleted)))
            sweep = _Sweep(opened, host_id, self._writer, context.command_id, arguments)
            await context.stages.enter("looking")
            try:
                began = await sweep.begin(self._silence)
                await context.stages.enter("marking")
                view = await sweep.survey.view()
                marked = unneeded(await sweep.survey.listed(), await sweep.survey.needed(view))
                if not len(marked) and not view.doomed(host_id) and not view.traces():
                    await sweep.give_back_if_empty()
                    return Outcome(FreedResult())
                await context.stages.enter("waiting")
                began = await self._wait(context, sweep, began, margin)
                await self._refuse_member(arguments)
                await sweep.refuse_foreign()
                view = await sweep.survey.view()
                needed = await sweep.survey.needed(view)
                await context.stages.enter("deleting")
                freed = await sweep.delete(view, marked, needed, began)
                await sweep.give_back_if_empty()
                return Outcome(freed)
            except (AdoptionRefused, IntentForeign):
                await sweep.give_back()
                raise
            finally:
                await sweep.end()

    async def _refuse_member(self, arguments: SweepArguments) -> None:
        """Raise AdoptionRefused for a node that is in the ring."""
        why = None if arguments.adopt is None else refusal(await self._ring(), arguments.adopt)
        if why is not None:
            raise AdoptionRefused(why, host_id=arguments.adopt)

    async def _wait(self, context: JobContext, sweep: "_Sweep", began: float, margin: float) -> float:
        """Until the store's own clock is past the mark by the margin; whoever looks is told for how long. Gives
        back when the mark was put, by that clock: one that is set back meanwhile begins the margin anew, rather than
        hold the lane until it has come back to where it was."""
        left = margin
        try:
            while left > 0:
                context.waiting(SweepWaits(left, margin).as_dict())
                await self._sleep(left)
                now = await sweep.mark()
                began = min(began, now)
                left = margin - (now - began)
        finally:
            context.waiting(None)
        return began


class _Sweep:
    """One sweep of one node's prefix."""

    def __init__(
        self, opened: OpenedRepository, host_id: str, writer: Writer, command_id: str, arguments: SweepArguments
    ) -> None:
        self._storage = opened.storage
        self._cluster_id = opened.cluster_id
        self._host_id = host_id
        self._command_id = command_id
        self._abandoned = arguments.abandon_intents
        self._adopting = arguments.adopt is not None
        self._adopted = False
        """Whether it was this sweep that put the mark of the adoption."""
        self._intents = Intents(opened, host_id, writer, adopting=self._adopting)
        self._marked = False
        self.survey = Survey(opened, host_id)

    async def begin(self, silence: float) -> float:
        """Put the sweep's mark, clear own past intents and those given up; the store's time."""
        if self._adopting:
            self._adopted = await self._intents.adopt(self._command_id)
        if self._is_abandoned(SWEEP):
            await self._give_up_sweep(silence)
        now = await self.mark()
        own, foreign = await self._intents.others()
        given_up = [one for one in foreign if self._is_abandoned(one.name)]
        self._refuse([one for one in foreign if not self._is_abandoned(one.name)])
        if given_up:
            await self._refuse_active(given_up, now, silence)
        await self._intents.clear([*own, *given_up])
        return now

    async def mark(self) -> float:
        """Put the sweep's mark anew; the store's time of it."""
        now = await self._intents.sweep_mark(self._command_id)
        self._marked = True
        return now

    async def end(self) -> None:
        """Remove the sweep's own mark, if the store lets us soon, unless it was cut between its deletions; one that
        stays is cleared by this agent's next job there."""
        if self._marked:
            with contextlib.suppress(StorageError, TimeoutError):
                async with asyncio.timeout(UNDO_SECONDS):
                    await self._intents.sweep_end()

    def _is_abandoned(self, name: str) -> bool:
        return self._adopting or name in self._abandoned

    async def give_back(self) -> None:
        """Remove the mark of an adoption that came to nothing; one of before stands for deletions of then."""
        if self._adopted:
            await self._intents.give_back()

    async def give_back_if_empty(self) -> None:
        """Remove the mark of the adoption when nothing is left that could be swept."""
        if not self._adopting:
            return
        view = await self.survey.view()
        async for _ in self._storage.list(data_prefix(self._cluster_id, self._host_id)):
            return
        if not view.kept(self._host_id) and not view.doomed(self._host_id):
            await self._intents.give_back()

    async def refuse_foreign(self) -> None:
        """Raise IntentForeign when somebody else has begun to work here."""
        _, foreign = await self._intents.others()
        self._refuse(foreign)

    async def delete(self, view: SweepView, marked: ObjectIndex, needed: ObjectIndex, before: float) -> FreedResult:
        """Remove manifests of deleted backups, then data, then the last traces of tags. Cut in between, it leaves its
        mark: a deletion that got no answer may be carried out yet, and another agent's backup must not come between."""
        self._marked = False
        deletion = Deletion(self._storage)
        manifests = {manifest_key(self._cluster_id, tag, self._host_id): tag for tag in view.doomed(self._host_id)}
        held = await deletion.delete(list(manifests))
        batch: dict[str, int] = {}
        async for one in data_objects(self._storage, self._cluster_id, self._host_id):
            name = one.name, one.codec
            if marked.get(*name) is not None and needed.get(*name) is None and one.modified <= before:
                batch[one.key] = one.size
            if len(batch) == _BATCH:
                await deletion.free(batch)
                batch = {}
        if batch:
            await deletion.free(batch)
        for tag in (await self.survey.view()).traces():
            await self._forget(tag, deletion)
        self._marked = True
        return deletion.result([tag for key, tag in manifests.items() if key not in held])

    async def _forget(self, tag: str, deletion: Deletion) -> None:
        """Remove the plan, the records, and last the mark, which stays with a plan or record under lock."""
        mark = deleted_key(self._cluster_id, tag)
        keys = []
        for prefix in (backups_prefix(self._cluster_id, tag), catalogue_prefix(self._cluster_id, tag)):
            keys += [entry.key async for entry in self._storage.list(prefix) if entry.key != mark]
        if not keys or not await deletion.delete(keys):
            await self._storage.delete([mark])

    async def _give_up_sweep(self, silence: float) -> None:
        """Remove another agent's mark of a sweep, which would not let this one's be put."""
        foreign = [one for one in (await self._intents.others())[1] if one.name == SWEEP]
        if foreign:
            await self._refuse_active(foreign, await self._intents.store_time(self._command_id), silence)
            await self._intents.clear(foreign)

    async def _refuse_active(self, given_up: list[Standing], now: float, silence: float) -> None:
        """Intents are only given up when their agent was silent for so long: nothing of the prefix is younger."""
        newest = max(one.modified for one in given_up)
        async for entry in self._storage.list(data_prefix(self._cluster_id, self._host_id)):
            newest = max(newest, entry.modified)
        if now - newest < silence:
            raise IntentForeign(
                f"the other agent wrote {now - newest:.0f} s ago: it must be silent for {silence:.0f} s",
                host_id=self._host_id,
                tags=[one.name for one in given_up],
                wait_seconds=round(silence - (now - newest), 1),
            )

    def _refuse(self, foreign: list[Standing]) -> None:
        _refuse(self._host_id, foreign)


def _refuse(host_id: str, foreign: list[Standing]) -> None:
    if foreign:
        raise foreign_error(host_id, foreign)
