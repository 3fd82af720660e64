"""Points that other backups than the chosen one lead to on this node. In: their tags, and what was seen of the log from
the chosen one's floor on. Out: windows by tag. Reads heads of manifests, and of the log before that floor its outline.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from agent.jobs.point_in_time.point import snapshot_of
from agent.jobs.point_in_time.seen_logs import SeenLogs
from agent.jobs.restore.source import Sources
from agent.model.job import JobContext
from agent.model.manifest import Head
from agent.pipeline.log_source import LogSource
from agent.plan.replay_set import LogNeed, ReplaySet
from agent.plan.segment_names import parse_segment, segment_id
from agent.wire.point_in_time import PitArguments
from kit.errors import HelenusError

Windows = list[list[float]]


_SHORT_OF = 0.001
"""Seconds by which a window ends before a restore that it does not reach past."""


def windows_of(wanted: ReplaySet, head: Head, now: float, restored: float) -> Windows:
    """From the end of the snapshot to where the log ends, which is now while the node writes it on, or before the first
    restore since (`restored`, unix seconds), whose own changes are in no log."""
    covered = now if wanted.goes_on else wanted.covered_until
    until = None if covered is None else min(covered, restored - _SHORT_OF)
    return [[head.ended_at, until]] if until is not None and until >= head.ended_at else []


class OtherBackups:
    """Of one check. `logs`, `own`: the archived log, and all that is on the node. `restored`: the first restore after a
    snapshot that was taken then (unix seconds, both)."""

    def __init__(
        self, sources: Sources, logs: LogSource, own: LogSource, restored: Callable[[float], Awaitable[float]]
    ) -> None:
        self._sources = sources
        self._logs = logs
        self._own = own
        self._restored = restored

    async def windows(
        self, context: JobContext, arguments: PitArguments, host_id: str, chosen: Head, seen: SeenLogs, now: float
    ) -> tuple[dict[str, Windows], list[str]]:
        """Tag → windows, and a warning for each backup that could not be read. Raises what reading the log raises."""
        heads, warnings = await self._heads(context, arguments, host_id)
        floors = [head.commitlog_floor for head in heads.values() if head.commitlog_floor is not None]
        whole = await self._from(floors, chosen.commitlog_floor, seen)
        found = {}
        for tag, head in heads.items():
            wanted = whole.wanted(LogNeed(head.commitlog_floor, head.taken_at, now, 0.0))
            found[tag] = windows_of(wanted, head, now, await self._restored(head.taken_at))
        return found, warnings

    async def _heads(
        self, context: JobContext, arguments: PitArguments, host_id: str
    ) -> tuple[dict[str, Head], list[str]]:
        found: dict[str, Head] = {}
        warnings: list[str] = []
        for tag in arguments.others:
            told = msgspec.structs.replace(arguments, tag=tag)
            try:
                async with self._sources.opened(snapshot_of(told, host_id), context.waiting) as source:
                    # What the tables hold is not needed, and may be much.
                    found[tag] = msgspec.structs.replace(source.head, tables=(), schema=(), own_objects={})
            except HelenusError as error:
                warnings.append(f"which points the backup {tag} leads to is not known: {error.message}")
        return found, warnings

    async def _from(self, floors: Sequence[str], chosen: str | None, seen: SeenLogs) -> SeenLogs:
        """`seen`, with what is before its floor, as far back as the oldest of the floors. The node's own first, as
        segments go from there to the archive."""
        named = parse_segment(chosen) if chosen is not None else None
        ids = [segment.id for floor in floors if (segment := parse_segment(floor)) is not None]
        if named is None or not ids or min(ids) >= named.id:
            return seen
        own = [record for record in await self._own.records(min(ids)) if segment_id(record.name) < named.id]
        archived = await self._logs.outlined(min(ids), named.id)
        return msgspec.structs.replace(seen, archived=[*archived, *seen.archived], own=[*own, *seen.own])
