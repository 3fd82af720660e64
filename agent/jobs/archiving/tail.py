"""Copies of the segment that is being written. In: the directories, now and then. Out: how much of it can be shipped,
and until when that has everything.

Cassandra ends a section of a segment some ten times a second, and whatever is in whole sections is replayed without
complaint. All that a client was told is written before a look at the file began stands, at that look, before the last
byte that isn't zero. So once whole sections reach that byte, at a later look, the copy has everything up to the earlier
look. Unless the next segment has a write by then, which may be from before that look: a segment that was closed
meanwhile is not copied as a part. Only plain segments written through the page cache are copied: of compressed and
encrypted ones, and of direct writes, that has not been proven.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.cassandra.commit_log.descriptor import descriptor_of
from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.commit_log.first_write import holds_writes
from agent.cassandra.commit_log.sections import segment_state
from agent.jobs.archiving.ledger import Ledger
from agent.jobs.archiving.looking import Look, SeenFile
from agent.pipeline.segments import SegmentSource
from agent.plan.log_lives import neighbour_of
from agent.plan.segment_names import parse_segment, segment_id
from agent.storage.threads import Workers

BETWEEN_SECONDS = 0.3
LOOKS = 5
MAPPED = frozenset({"", "legacy", "mmap", "standard"})
"""Values of commitlog_disk_access_mode (Cassandra 5.0) that write through the page cache."""


def refusal_of(look: Look, access_mode: str | None) -> str:
    """Why the log can't be copied while it is written; "" when it can, or nothing is there to tell."""
    if (access_mode or "") not in MAPPED:
        return f"the commit log is written with commitlog_disk_access_mode {access_mode}"
    for name in sorted(look.live, key=segment_id, reverse=True)[:1]:
        try:
            descriptor = descriptor_of(look.live[name].path)
        except SegmentUnreadable:
            return ""  # it is just being made
        if descriptor.encrypted:
            return "the commit log is encrypted"
        if descriptor.compression:
            return "the commit log is compressed"
    return ""


class Tail:
    """Takes copies. `clock`: unix seconds."""

    def __init__(
        self,
        ledger: Ledger,
        workers: Workers,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._workers = workers
        self._clock = clock
        self._sleep = sleep

    async def sources(self, look: Look) -> list[SegmentSource]:
        """The segments that hold writes and are not archived yet, as far as they can be copied now."""
        newest = sorted(look.live, key=segment_id)[-2:]
        found = []
        for name in newest:
            if name not in look.archived:
                source = await self._source(look, look.live[name])
                if source is not None:
                    found.append(source)
        return found

    async def _source(self, look: Look, file: SeenFile) -> SegmentSource | None:
        name = file.path.name
        at = self._clock()
        try:
            first = await self._workers.run(lambda _: segment_state(file.path))
            state = first
            for _ in range(LOOKS):
                if first.written <= state.synced or state.damage:
                    break
                await self._sleep(BETWEEN_SECONDS)
                state = await self._workers.run(lambda _: segment_state(file.path))
        except SegmentUnreadable:
            return None
        if state.damage or first.written > state.synced or not (state.held_data or first.held_data):
            return None
        if await self._workers.run(lambda _: _goes_on_behind(file.path)):
            return None
        segments = self._ledger.known.segments
        here = look.there
        there = {other for other, known in segments.items() if other in here or known.places}
        neighbour = neighbour_of(name, {other: known.sighting for other, known in segments.items()}, there)
        before = segments.get(neighbour.previous)
        opened_at = max(segment_id(name) / 1000, before.changed_at if before and neighbour.follows else 0.0)
        follows = neighbour.follows and not self._ledger.known.parts(name)
        return SegmentSource(
            path=file.path,
            name=name,
            size=state.synced,
            whole=False,
            opened_at=min(opened_at, at),
            closed_at=at,
            previous=neighbour.previous,
            follows=follows or (before is not None and segment_id(before.name) + 1 == segment_id(name)),
        )


def _goes_on_behind(path: Path) -> bool:
    """Whether the segment after this one has a write in it, also one that was made since the directory was read."""
    name = parse_segment(path.name)
    try:
        return name is not None and holds_writes(path.with_name(name.neighbour(1).file_name))
    except SegmentUnreadable:
        return False  # it is not there, or just being made
