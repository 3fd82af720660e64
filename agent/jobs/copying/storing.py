"""A backup's bytes into destinations that are prepared, and the manifests: in, targets with their intents; out, a
result for each.

    storing → publishing → published

One pass serves all targets. A target that is much slower than the others is parted with and gets a pass of its own
beside theirs: each is published, and its result noted, as soon as its own pass is through.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.jobs.copying.counts import TableCounts, done_of, expect, noted
from agent.jobs.copying.manifests import TableCollector, TargetManifest
from agent.jobs.copying.present import still_damaged, there_already
from agent.jobs.copying.rate import CopyRate
from agent.jobs.copying.supply import Pass, Supply
from agent.model.job import JobContext
from agent.model.snapshot import SnapshotInfo
from agent.pipeline.targets import StoreTarget
from agent.repository.damage_notes import DamageNotes
from agent.repository.errors import ZeroBackup
from agent.repository.intents import UNDO_SECONDS, Writer
from agent.repository.manifest import Manifest
from agent.repository.publisher import Publisher
from agent.wire.results import TargetResult
from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup
from kit.together import together

PUBLISHED = "published"


class Prepared:
    """A target that is being written to. `there`: it has the manifest already, and only what is missing or was noted
    as damaged is put anew; that stays until all is there."""

    def __init__(
        self, target: StoreTarget, publisher: Publisher, notes: DamageNotes, there: Manifest | None = None
    ) -> None:
        self.target = target
        self.publisher = publisher
        self.notes = notes
        self.there = there


class Storing:
    """One backup's way. `results`, `counts`: what is known of each destination, filled on the way."""

    def __init__(
        self,
        supply: Supply,
        writer: Writer,
        rate: CopyRate,
        results: dict[str, TargetResult],
        counts: dict[str, TableCounts],
    ) -> None:
        self._supply = supply
        self._writer = writer
        self._rate = rate
        self._results = results
        self._counts = counts

    async def run(self, context: JobContext, info: SnapshotInfo, prepared: Sequence[Prepared]) -> None:
        """Store and publish. Raises what concerns no single destination (SnapshotVanished, …)."""
        room = self._supply.most_bytes
        share = room // len(prepared)
        of = {one.target: one for one in prepared}

        def parted(target: StoreTarget) -> None:
            nonlocal room
            room -= share
            way.putting.narrow(room)
            group.create_task(self._alone(context, info, of[target], share))

        way = await self._supply.listed([one.target for one in prepared], context.tally, room, parted)
        try:
            async with TaskGroup() as group:
                group.create_task(self._pass(context, info, prepared, way))
        except* HelenusError as errors:
            raise first_of(errors) from None

    async def _alone(self, context: JobContext, info: SnapshotInfo, one: Prepared, most_bytes: int) -> None:
        """A pass for a target that the others don't wait for. What is wrong with the backup by then is its failure
        alone: theirs may be published."""
        one.target = one.target.again()
        context.tally.anew(one.target.id)
        try:
            way = await self._supply.listed([one.target], context.tally, most_bytes, None)
            await self._pass(context, info, [one], way)
        except HelenusError as error:
            one.target.fail(error)
            self._results[one.target.id] = await _failed(one, error)
            await context.stages.enter(PUBLISHED, noted(self._results, self._counts))

    async def _pass(self, context: JobContext, info: SnapshotInfo, prepared: Sequence[Prepared], way: Pass) -> None:
        targets = [one.target for one in prepared]
        began, before = time.monotonic(), {target.id: target.put_bytes for target in targets}
        try:
            if not way.sizes and not info.schema:
                raise ZeroBackup(f"the snapshot {info.tag} holds no table", tag=info.tag)
            totals = expect(context.tally, [target.id for target in targets], way.sizes)
            async with way.putting.watched():
                supply = self._supply
                own = await way.own_files()
                collector = TableCollector(way.putting, info, own, supply.damage, supply.left_out)
                await way.tables(collector.add)
        finally:
            await way.close()
        put = max((target.put_bytes - before[target.id] for target in targets), default=0)
        if self._supply.from_snapshot:
            self._rate.note(put, time.monotonic() - began)
        await context.stages.enter("publishing")
        ours = [
            (one, manifest)
            for one, manifest in zip(prepared, collector.manifests, strict=True)
            if not manifest.target.is_parted
        ]
        published = await together(*(self._publish(context, info, one, manifest, collector) for one, manifest in ours))
        whole = {(table.keyspace, table.table) for table in collector.tables}
        for (one, _), result in zip(ours, published, strict=True):
            self._results[one.target.id] = result
            self._counts[one.target.id] = done_of(totals, whole if result.outcome != "failed" else set())
        await context.stages.enter(PUBLISHED, noted(self._results, self._counts))

    async def _publish(
        self,
        context: JobContext,
        info: SnapshotInfo,
        one: Prepared,
        manifest: TargetManifest,
        collector: TableCollector,
    ) -> TargetResult:
        target = one.target
        if target.error is None:
            try:
                if not collector.tables and collector.corrupt is not None:
                    raise collector.corrupt
                with contextlib.suppress(HelenusError):  # what was put is right, whatever becomes of the backup
                    await one.notes.clear(target.healed)
                lacks = None if one.there is None else await one.publisher.lacks(one.there)
                if one.there is not None and (lacks is None or collector.corrupt is not None):
                    return await self._mended(one, one.there, lacks, info)
                whole = manifest.close(info, self._writer, context.command_id, collector.left_out)
                await one.publisher.publish(whole, target.named, target.opened.gate, target.fresh, instead_of=lacks)
                return _result(target, collector.tables, collector)
            except HelenusError as error:
                target.fail(error)
        return await _failed(one, target.error or collector.corrupt)

    async def _mended(
        self, one: Prepared, there: Manifest, lacks: HelenusError | None, info: SnapshotInfo
    ) -> TargetResult:
        """The result of a target that had the backup already: whole now, unless something of it is missing (`lacks`) or
        stays noted."""
        await one.publisher.withdraw()
        left = await still_damaged(there, one.notes, one.target.id)
        result = there_already(there, left or lacks or self._supply.lacking(there, info))
        target = one.target
        return msgspec.structs.replace(
            result, put_objects=target.put_objects, put_bytes=target.put_bytes, warnings=target.warnings
        )


async def _failed(one: Prepared, reason: HelenusError | None) -> TargetResult:
    """The result of a target that is left behind, whose intent goes."""
    await drop_intents([one])
    return TargetResult(
        "failed",
        put_objects=one.target.put_objects,
        put_bytes=one.target.put_bytes,
        error=reason.as_dict() if reason is not None else None,
    )


def _result(target: StoreTarget, tables: Sequence[Any], collector: TableCollector) -> TargetResult:
    sizes: dict[str, int] = {}
    corrupt = collector.corrupt
    for table in tables:
        sizes[table.keyspace] = sizes.get(table.keyspace, 0) + table.bytes
    return TargetResult(
        "success" if corrupt is None else "partial",
        files=sum(table.files for table in tables),
        bytes=sum(table.bytes for table in tables),
        put_objects=target.put_objects,
        put_bytes=target.put_bytes,
        sizes=sizes,
        error=None if corrupt is None else corrupt.as_dict(),
        warnings=[*target.warnings, *collector.warnings],
    )


async def drop_intents(prepared: Sequence[Prepared]) -> None:
    """As far as the destinations let us: what stays is cleared by this agent's next job there."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(UNDO_SECONDS):
            await asyncio.gather(*(one.publisher.withdraw() for one in prepared), return_exceptions=True)
