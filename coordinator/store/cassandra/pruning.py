"""What is too old goes from the state in Cassandra. In: a time. Out: records without their details, then none at all.

Safe to be killed anywhere and to run beside another's: each record is changed whole, from what it holds at that moment,
and what was left undone is found again by the next run. Nothing of a request that runs is touched.
"""

from collections.abc import AsyncIterator, Iterable

import msgspec

from coordinator.model.activity import ActivityEvent
from coordinator.model.requests import JOB, RESUMABLE, Request, RequestKind, RequestState
from coordinator.store.cassandra.finding import Finding
from coordinator.store.cassandra.index import (
    ACTIVITY,
    BACKUPS,
    BY_WEEKS,
    COMMAND,
    COMMANDS,
    ENDED,
    EVENT,
    FENCE,
    HEAD,
    OWED,
    PARTS,
    PERIODS,
    REQUEST,
    RUNNING,
    STEP,
    WEEK,
    Head,
    entries_of,
    scope_of,
)
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.places import Places
from coordinator.store.cassandra.requests import head_in
from coordinator.store.cassandra.tables import Drop, Entry, Kept, Key, Row, Snapshot
from coordinator.store.cassandra.ticks import MICROS
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS, KEEP_DETAILS_SECONDS

_ALL = (HEAD, EVENT, COMMAND, STEP, PARTS)
_DETAILS = (HEAD, COMMAND, STEP, PARTS)
STRANDED_SECONDS = 86_400
"""An open entry of that age with nothing behind it is no change under way."""


class Pruning:
    """See `protocol.Store.prune`."""

    def __init__(self, partitions: Partitions, finding: Finding, places: Places) -> None:
        self._partitions = partitions
        self._finding = finding
        self._places = places

    async def prune(self, now: float) -> None:
        """Forget what is too old at `now` (unix seconds)."""
        before, long_before = now - KEEP_DETAILS_SECONDS, now - KEEP_ACTIVITY_SECONDS
        kept: set[str] = set()
        for kind in (RequestKind.RESTORE, RequestKind.POINT_IN_TIME):
            async for page in self._finding.pages(kind=kind):
                kept |= jobs_in_use((head.request for head in page), before, long_before)
        async for page in self._finding.pages():
            for head in page:
                request = head.request
                if request.finished is None or request.id in kept:
                    continue
                if request.finished < long_before:
                    await self._forget(head)
                elif request.finished < before and not head.trimmed:
                    await self._trim(request.id)
        await self._drop_events(long_before)
        await self._clear_stranded(now)
        await self._drop_periods(long_before)

    async def _trim(self, request_id: str) -> None:
        """Drop the details."""

        def decide(found: Snapshot) -> Change | None:
            head = head_in(found)
            if head is None or head.request.state is RequestState.RUNNING:
                return None
            row = next(row for row in found.rows if row.part == HEAD)
            trimmed = msgspec.structs.replace(
                row, data=msgspec.json.encode(msgspec.structs.replace(head, trimmed=True))
            )
            return Change([trimmed], [Drop(part) for part in (COMMAND, STEP, PARTS)])

        await self._lose_commands(Key(REQUEST, request_id))
        await self._partitions.change(Key(REQUEST, request_id), _DETAILS, decide)
        await self._partitions.drop_orphans(Key(REQUEST, request_id), _ALL)

    async def _forget(self, old: Head) -> None:
        """Drop all but the events, which go by their own time. The request's end says that its destinations are gone,
        where a death left their marks: so these go first."""
        request_id = old.request.id
        if old.forget:
            await self._places.tidy(old.request.cluster)

        def decide(found: Snapshot) -> Change | None:
            head = head_in(found)
            if head is None or head.request.state is RequestState.RUNNING:
                return None
            drops = [Drop(part) for part in (HEAD, COMMAND, STEP, PARTS)]
            return Change(drops=drops, stub=not any(row.part == EVENT for row in found.rows))

        await self._lose_commands(Key(REQUEST, request_id))
        head = await self._partitions.read(Key(REQUEST, request_id), (HEAD,))
        await self._partitions.erase_ahead(Key(REQUEST, request_id), head, (ENDED,))
        await self._partitions.change(Key(REQUEST, request_id), _ALL, decide)
        await self._partitions.change(Key(FENCE, request_id), _FENCE, _dropped)
        await self._mend(Key(REQUEST, request_id), Row(HEAD, "", msgspec.json.encode(old)))
        await self._partitions.drop_orphans(Key(REQUEST, request_id), _ALL)

    async def _drop_events(self, before: float) -> None:
        """Events that began before, and have ended."""
        async for period in self._periods(ACTIVITY):
            if period.position * WEEK >= before:
                continue
            async for kept in self._entries(ACTIVITY, scope_of(period)):
                if kept.entry.position < before:
                    await self._drop_event(kept)

    async def _drop_event(self, kept: Kept) -> None:
        name = kept.entry.name.rpartition("/")[2]
        key = Key(REQUEST, kept.owner)

        def decide(found: Snapshot) -> Change | None:
            mine = [row for row in found.rows if (row.part, row.name) == (EVENT, name) and _has_ended(row)]
            return Change(drops=[Drop(EVENT, name)], stub=len(found.rows) == 1) if mine else None

        found = await self._partitions.read(key, (EVENT,), (name,))
        if not found.rows:
            await self._partitions.repair(key, kept.entry, found)
        elif _has_ended(found.rows[0]):
            await self._partitions.erase_ahead(key, found, (BACKUPS,))
            await self._partitions.change(key, _ALL, decide)

    async def _lose_commands(self, key: Key) -> None:
        found = await self._partitions.read(key, (COMMAND,))
        await self._partitions.erase_ahead(key, found, (COMMANDS, OWED))

    async def _mend(self, key: Key, old: Row) -> None:
        """Erase entries that point to a row which is gone, or was long ago: a replica that was down when they were
        erased can bring them back."""
        found = await self._partitions.read(key, (old.part,))
        for kept in entries_of(key, old):
            await self._partitions.repair(key, kept.entry, found)

    async def _clear_stranded(self, now: float) -> None:
        """Open entries that a death left with nothing behind them. The record's version is raised first, so that a
        change that is under way after all fails and begins anew."""
        for log in (RUNNING, OWED):
            async for kept in self._entries(log, ""):
                if kept.entry.position < (now - STRANDED_SECONDS) * MICROS:
                    await self._clear(kept, HEAD if log == RUNNING else COMMAND)

    async def _clear(self, kept: Kept, part: str) -> None:
        key = Key(REQUEST, kept.owner)
        found = await self._partitions.read(key, (part,))
        if found.rows or found.version:
            return  # whoever reads the entry puts it right
        await self._partitions.change(key, _ALL, lambda now: Change(stub=True) if not now.version else None)
        await self._partitions.repair(key, kept.entry, await self._partitions.read(key, (part,)))

    async def _drop_periods(self, before: float) -> None:
        """Weeks that are over so long that nothing is written into them, and that hold nothing."""
        for log in BY_WEEKS:
            async for period in self._periods(log):
                if (period.position + 2) * WEEK < before and await self._is_empty(log, scope_of(period)):
                    await self._partitions.forget_period(period)

    async def _is_empty(self, log: str, scope: str) -> bool:
        async for _ in self._entries(log, scope):
            return False
        return True

    async def _periods(self, log: str) -> AsyncIterator[Entry]:
        async for kept in self._entries(PERIODS, log):
            yield kept.entry

    async def _entries(self, log: str, scope: str) -> AsyncIterator[Kept]:
        async for page in self._partitions.tables.scan(log, scope):
            for kept in page:
                yield kept


_FENCE = ("only",)


def _has_ended(row: Row) -> bool:
    return msgspec.json.decode(row.data, type=ActivityEvent).status != RequestState.RUNNING.value


def _dropped(found: Snapshot) -> Change | None:
    return Change(drops=[Drop(row.part, row.name) for row in found.rows], stub=True) if found.rows else None


def jobs_in_use(requests: Iterable[Request], before: float, long_before: float) -> set[str]:
    """Ids of requests whose steps a restore goes on with, or could, that runs or ended after its kind's time: the steps
    of a job stand under the id of its first request, however long ago that ended. One to a point is gone on with as
    long as its request is kept: begun anew it would know nothing of the nodes that it stopped."""
    since = {RequestKind.RESTORE: before, RequestKind.POINT_IN_TIME: long_before}
    results = [
        request.result
        for request in requests
        if request.kind in since and (request.finished is None or request.finished >= since[request.kind])
    ]
    return {str(result[name]) for result in results for name in (JOB, RESUMABLE) if name in result}
