"""A backup's way into its destinations, wherever its bytes come from: in, a supply and targets; out, a result for each.

    opening → storing → publishing → published

Read top to bottom: open and prepare every target (intent, then the listing), read each byte once for all of them,
check, publish and drop the intents. A target that fails is left behind; the others go on. Resumed, it begins again:
what the new listing shows is not put again, and destinations that are done are not touched.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from agent.jobs.copying.copied import is_done, missing, results_in
from agent.jobs.copying.counts import TableCounts, all_of, count, counts_in, noted
from agent.jobs.copying.openings import Openings, openings
from agent.jobs.copying.present import there_already
from agent.jobs.copying.rate import CopyRate
from agent.jobs.copying.storing import PUBLISHED, Prepared, Storing, drop_intents
from agent.jobs.copying.supply import Supply
from agent.model.job import JobContext
from agent.model.snapshot import SnapshotInfo
from agent.pipeline.targets import StoreTarget
from agent.repository.damage_notes import DamageNotes, without_damaged
from agent.repository.intents import UNDO_SECONDS, Writer
from agent.repository.manifest import Manifest
from agent.repository.opened import OpenedRepository, Repositories
from agent.repository.publisher import Publisher
from agent.storage.protocol import OPEN, Gate
from agent.storage.throttle import TokenBucket
from agent.wire.commands import Target
from agent.wire.results import TargetResult
from kit.errors import HelenusError, InvalidInput

Guarded = Callable[[Coroutine[Any, Any, None]], Awaitable[object]]


async def _unguarded(work: Coroutine[Any, Any, None]) -> None:
    await work


class Delivery:
    """Delivers backups. Its collaborators are those of every job that does."""

    def __init__(self, repositories: Repositories, writer: Writer, rate: CopyRate) -> None:
        self._repositories = repositories
        self._writer = writer
        self._rate = rate

    def opening(self, context: JobContext, targets: Sequence[Target]) -> AbstractAsyncContextManager[Openings]:
        """Open what a copy to these targets will write to, beside what comes before it. Raises InvalidInput."""
        if len({target.destination for target in targets}) != len(targets):
            raise InvalidInput("a destination is named twice", field="targets")
        return openings(self._repositories, missing(targets, results_in(context)), context.waiting)

    def published(self, context: JobContext, targets: Sequence[Target]) -> dict[str, TargetResult]:
        """What an earlier run of the command has published, as its note says; it is counted again."""
        results = results_in(context)
        counts = counts_in(context.stages.recall(PUBLISHED))
        done = {target.destination for target in targets} - {one.destination for one in missing(targets, results)}
        for name in done:
            count(context.tally, name, counts.get(name, {}))
        return {name: results[name] for name in done}

    async def deliver(
        self,
        context: JobContext,
        info: SnapshotInfo,
        supply: Supply,
        targets: Sequence[Target],
        throttle: int,
        opened: Openings | None = None,
        guarded: Guarded = _unguarded,
    ) -> dict[str, TargetResult]:
        """Put the backup that `info` tells of into all targets; a result for each destination. `throttle`: the
        command's own limit, bytes per second, 0 = none. `opened`: the targets, if their opening was begun already.
        `guarded` runs the work. Raises what concerns no single destination, as `supply` and `guarded` do."""
        results = results_in(context)
        counts = counts_in(context.stages.recall(PUBLISHED))
        published = self.published(context, targets)
        left = [target for target in targets if target.destination not in published]
        if left:
            async with nullcontext(opened) if opened is not None else self.opening(context, targets) as under_way:
                await guarded(self._deliver(context, info, supply, left, under_way, throttle, results, counts))
        return {target.destination: results[target.destination] for target in targets}

    async def _deliver(
        self,
        context: JobContext,
        info: SnapshotInfo,
        supply: Supply,
        targets: Sequence[Target],
        under_way: Openings,
        throttle: int,
        results: dict[str, TargetResult],
        counts: dict[str, TableCounts],
    ) -> None:
        limit: Gate = TokenBucket(throttle) if throttle else OPEN
        prepared: list[Prepared] = []
        try:
            await context.stages.enter("opening")
            for target in targets:
                try:
                    opened = await under_way.of(target)
                    ready = await self._prepare(opened.limited(limit), info, supply, context.command_id)
                except HelenusError as error:
                    results[target.destination] = TargetResult("failed", error=error.as_dict())
                    continue
                if isinstance(ready, Prepared):
                    prepared.append(ready)
                else:
                    results[target.destination] = there_already(ready, supply.lacking(ready, info))
                    counts[target.destination] = all_of(ready)
                    count(context.tally, target.destination, counts[target.destination])
            if prepared:
                await context.stages.enter("storing")
                await Storing(supply, self._writer, self._rate, results, counts).run(context, info, prepared)
            elif any(is_done(result) for result in results.values()):
                await context.stages.enter(PUBLISHED, noted(results, counts))
        except asyncio.CancelledError:
            if context.undo:
                await asyncio.shield(self.undo(info.tag, info.node.host_id, targets))
            raise
        except Exception:
            await drop_intents(prepared)
            raise

    async def undo(self, tag: str, host_id: str, targets: Sequence[Target]) -> None:
        """After a person's cancel, or when there is nothing to copy any more: drop the intents, those of an earlier run
        of the command included. What was put is no backup without a manifest, and goes with the next sweep."""
        for target in targets:
            with contextlib.suppress(HelenusError, TimeoutError):
                async with asyncio.timeout(UNDO_SECONDS), self._repositories.opened(target) as opened:
                    await Publisher(opened, host_id, tag, self._writer).withdraw()

    async def _prepare(
        self, opened: OpenedRepository, info: SnapshotInfo, supply: Supply, command_id: str
    ) -> Prepared | Manifest:
        """The target with its intent put and its objects listed, or the manifest when it has this backup already,
        and nothing of it is missing or known to be damaged."""
        host_id = info.node.host_id
        publisher = Publisher(opened, host_id, info.tag, self._writer, adopting=supply.adopting)
        present = await publisher.published(info.taken_at)
        notes = DamageNotes(opened, host_id)
        if present is not None and present.is_whole and not await notes.standing():
            await publisher.withdraw()
            return present.manifest
        index = await publisher.begin(command_id)
        damaged = await without_damaged(index, notes)
        there = None if present is None else present.manifest
        return Prepared(StoreTarget(opened, host_id, index, opened.gate, damaged), publisher, notes, there)
