"""A snapshot's way into its destinations: in, the snapshot and targets; out, a result for each destination.

    opening → storing → publishing → published

Read top to bottom: open and prepare every target (intent, then the listing), read each byte once for all of them,
check, publish and drop the intents. A target that fails is left behind; the others go on. Resumed, it begins again:
what the new listing shows is not put again, and destinations that are done are not touched.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

import msgspec

from agent.cassandra.protocol import Snapshots
from agent.jobs.copying.counts import TableCounts, all_of, count, counts_in, noted
from agent.jobs.copying.errors import CopyFailed, CopyPartial, SnapshotGivenUp
from agent.jobs.copying.openings import Openings, openings
from agent.jobs.copying.rate import CopyRate
from agent.jobs.copying.storing import PUBLISHED, Prepared, Storing, drop_intents
from agent.jobs.taken_files import TakenFiles
from agent.jobs.watermark import Watermark
from agent.model.job import JobContext, Outcome
from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.pipeline.digest_cache import DigestCache
from agent.pipeline.errors import SstableCorrupt
from agent.pipeline.targets import StoreTarget
from agent.repository.damage_notes import DamageNotes, without_damaged
from agent.repository.intents import UNDO_SECONDS, Writer
from agent.repository.manifest import Manifest
from agent.repository.opened import OpenedRepository, Repositories
from agent.repository.publisher import Publisher
from agent.storage.protocol import OPEN, Gate
from agent.storage.threads import MakeWorkers, Workers
from agent.storage.throttle import TokenBucket
from agent.wire.commands import State, Target
from agent.wire.results import SnapshotResult, TargetResult, UploadResult
from kit.errors import HelenusError, InvalidInput

CLEARING = "clearing"
_UNKNOWN = TargetResult(
    "failed", error=CopyFailed("it is not known what became of the copy: its result was never noted").as_dict()
)
LiveTables = Callable[[], Awaitable[Set[str]]]
"""Gives the ids of the tables that exist now, as 32 hex digits."""


class Copied(msgspec.Struct, frozen=True):
    """What a copy came to: a result for each destination, and the tags of older snapshots that had to go for free
    space. A job that goes on after it saves this with its stage."""

    targets: dict[str, TargetResult]
    given_up: list[str] = []


class Copier:
    """Copies snapshots. Its collaborators are those of every job that does."""

    def __init__(
        self,
        snapshots: Snapshots,
        repositories: Repositories,
        cache: DigestCache,
        watermark: Watermark,
        writer: Writer,
        rate: CopyRate,
        live_tables: LiveTables,
        taken_files: TakenFiles,
        workers: MakeWorkers = Workers,
    ) -> None:
        self._snapshots = snapshots
        self._repositories = repositories
        self._cache = cache
        self._watermark = watermark
        self._writer = writer
        self._rate = rate
        self._live_tables = live_tables
        self._taken_files = taken_files
        self._workers = workers

    def opening(self, context: JobContext, targets: Sequence[Target]) -> AbstractAsyncContextManager[Openings]:
        """Open what a copy to these targets will write to, beside what comes before it. Raises InvalidInput."""
        if len({target.destination for target in targets}) != len(targets):
            raise InvalidInput("a destination is named twice", field="targets")
        return openings(self._repositories, _missing(targets, _results_in(context)), context.waiting)

    async def copy(
        self,
        context: JobContext,
        info: SnapshotInfo,
        targets: Sequence[Target],
        throttle: int,
        inventory: Sequence[SnapshotTable] | None = None,
        opened: Openings | None = None,
    ) -> Copied:
        """Copy `info`'s snapshot to all targets; a result for each destination. `throttle`: the command's own limit,
        bytes per second, 0 = none. `inventory`: the snapshot's files, if they were listed already; a list is emptied.
        `opened`: the targets, if their opening was begun already. Raises what concerns no single destination
        (SnapshotVanished, DamagedOnServer, SnapshotGivenUp, …)."""
        results = _results_in(context)
        missing = _missing(targets, results)
        counts = counts_in(context.stages.recall(PUBLISHED))
        for target in targets:
            if target not in missing:
                count(context.tally, target.destination, counts.get(target.destination, {}))
        given_up: list[str] = []
        if missing:
            async with nullcontext(opened) if opened is not None else self.opening(context, targets) as under_way:
                work = self._copy(context, info, missing, under_way, throttle, results, counts, inventory)
                try:
                    await self._watermark.guarded(info.tag, work, given_up)
                except SnapshotGivenUp:
                    await self.undo(info, missing)
                    raise
        return Copied({target.destination: results[target.destination] for target in targets}, given_up)

    async def _copy(
        self,
        context: JobContext,
        info: SnapshotInfo,
        targets: Sequence[Target],
        under_way: Openings,
        throttle: int,
        results: dict[str, TargetResult],
        counts: dict[str, TableCounts],
        inventory: Sequence[SnapshotTable] | None,
    ) -> None:
        limit: Gate = TokenBucket(throttle) if throttle else OPEN
        prepared: list[Prepared] = []
        try:
            await context.stages.enter("opening")
            for target in targets:
                try:
                    opened = await under_way.of(target)
                    ready = await self._prepare(opened.limited(limit), info, context.command_id)
                except HelenusError as error:
                    results[target.destination] = TargetResult("failed", error=error.as_dict())
                    continue
                if isinstance(ready, Prepared):
                    prepared.append(ready)
                else:
                    results[target.destination] = _there_already(ready, info)
                    counts[target.destination] = all_of(ready)
                    count(context.tally, target.destination, counts[target.destination])
            if prepared:
                await context.stages.enter("storing")
                listed = inventory if inventory is not None else await self._listed(info)
                tables = listed if isinstance(listed, list) else list(listed)  # a list is the caller's gift
                del listed, inventory
                copied = {table.table_id for table in tables}
                again = partial(self._listed, info)
                storing = Storing(self._cache, self._writer, self._rate, again, results, counts, self._workers)
                await storing.run(context, info, prepared, tables)
                await self._forget_dropped(copied)
            elif any(_is_done(result) for result in results.values()):
                await context.stages.enter(PUBLISHED, noted(results, counts))
        except asyncio.CancelledError:
            if context.undo:
                await asyncio.shield(self.undo(info, targets))
            raise
        except Exception:
            await drop_intents(prepared)
            raise

    async def undo(self, info: SnapshotInfo, targets: Sequence[Target]) -> None:
        """After a person's cancel, or when the snapshot is gone: drop the intents, those of an earlier run of the
        command included. What was put is no backup without a manifest, and goes with the next sweep."""
        for target in targets:
            with contextlib.suppress(HelenusError, TimeoutError):
                async with asyncio.timeout(UNDO_SECONDS), self._repositories.opened(target) as opened:
                    await Publisher(opened, info.node.host_id, info.tag, self._writer).withdraw()

    async def _prepare(self, opened: OpenedRepository, info: SnapshotInfo, command_id: str) -> Prepared | Manifest:
        """The target with its intent put and its objects listed, or the manifest when it has this backup already."""
        publisher = Publisher(opened, info.node.host_id, info.tag, self._writer)
        there = await publisher.published(info.taken_at)
        if there is not None:
            await publisher.withdraw()
            return there
        index = await publisher.begin(command_id)
        notes = DamageNotes(opened, info.node.host_id)
        damaged = await without_damaged(index, notes)
        return Prepared(StoreTarget(opened, info.node.host_id, index, opened.gate, damaged), publisher, notes)

    async def _listed(self, info: SnapshotInfo) -> list[SnapshotTable]:
        found = await self._snapshots.inventory(info.tag)
        await self._taken_files.compare(info, found)  # else a backup of what is left would pass for the whole
        return list(found)

    async def _forget_dropped(self, copied: Set[str]) -> None:
        """Tables that were dropped since need no digests any more; those that a node can't name now, the next time."""
        with contextlib.suppress(HelenusError):
            await self._cache.keep_tables(copied | await self._live_tables())


def outcome_of(copied: Copied, targets: Sequence[Target], snapshot: SnapshotResult | None, *, cleared: bool) -> Outcome:
    """The command's outcome. A target nothing is known of counts as failed: success is never what is left when the
    notes are. Raises the error when no destination got anything."""
    results = {target.destination: copied.targets.get(target.destination, _UNKNOWN) for target in targets}
    result = UploadResult(results, snapshot, cleared, copied.given_up)
    errors: dict[str, Any] = {name: one.error for name, one in results.items() if one.error is not None}
    if not errors and all(one.outcome == "success" for one in results.values()):
        return Outcome(result)
    names = ", ".join(sorted(errors))
    if all(one.outcome == "failed" for one in results.values()):
        raise CopyFailed(f"no destination got the backup: {_texts(errors)}", targets=errors, given_up=copied.given_up)
    return Outcome(
        result, State.PARTIAL, CopyPartial(f"not all is in {names}: {_texts(errors)}", targets=errors).as_dict()
    )


def _texts(errors: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {error['code']}: {error['message']}" for name, error in sorted(errors.items()))


def recalled(context: JobContext) -> Copied:
    """What an earlier run of the command, which came as far as `clearing`, had copied; it is counted."""
    note = context.stages.recall(PUBLISHED)
    for destination, counts in counts_in(note).items():
        count(context.tally, destination, counts)
    saved = context.stages.recall(CLEARING)
    if saved is None:  # the journal of a release that only noted what was published
        saved = {"targets": note or {}}
    return msgspec.convert(saved, Copied)


def _results_in(context: JobContext) -> dict[str, TargetResult]:
    """What an earlier run of the command noted of each destination."""
    return msgspec.convert(context.stages.recall(PUBLISHED) or {}, dict[str, TargetResult])


def _missing(targets: Sequence[Target], results: Mapping[str, TargetResult]) -> list[Target]:
    return [target for target in targets if not _is_done(results.get(target.destination))]


def _is_done(result: TargetResult | None) -> bool:
    return result is not None and result.outcome != "failed"


def _there_already(manifest: Manifest, info: SnapshotInfo) -> TargetResult:
    """The result of an earlier run that did not come to note it."""
    sizes: dict[str, int] = {}
    for table in manifest.head.tables:
        sizes[table.keyspace] = sizes.get(table.keyspace, 0) + table.bytes
    there = {(table.keyspace, table.table) for table in manifest.head.tables}
    left_out = [
        f"{keyspace}.{table}"
        for keyspace, tables in info.tables.items()
        for table in tables
        if (keyspace, table) not in there
    ]
    corrupt = SstableCorrupt(f"left out: {', '.join(left_out)}", tables=left_out) if left_out else None
    return TargetResult(
        "success" if corrupt is None else "partial",
        files=sum(table.files for table in manifest.head.tables),
        bytes=sum(sizes.values()),
        sizes=sizes,
        error=None if corrupt is None else corrupt.as_dict(),
    )
