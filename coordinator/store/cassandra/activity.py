"""The activity log in Cassandra. In: a query. Out: a page of events, week by week; and events marked as deleted.

An event's home is its request's record; the log has a copy once it has ended, and asks the record until then.
"""

from collections.abc import AsyncIterator

import msgspec

from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.store.cassandra.index import ACTIVITY, BACKUPS, EVENT, PERIODS, REQUEST, entries_of, scope_of, week_of
from coordinator.store.cassandra.packing import unpacked_aside
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Kept, Key, Snapshot
from kit.together import together

_EVENT = msgspec.json.Decoder(ActivityEvent)


class Activity:
    """See `protocol.Requests` for what each means."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def events(self, cluster: str, query: ActivityQuery) -> list[ActivityEvent]:
        """One page."""
        page: list[ActivityEvent] = []
        if query.count == 0:
            return page
        begun = not query.first
        async for event in self._in_order(cluster, query):
            if not matches(event, query):
                continue
            begun = begun or event.tag == query.first
            if begun:
                page.append(event)
            if len(page) == query.count:
                break
        return page

    async def events_of(self, request_id: str) -> list[ActivityEvent]:
        """A request's own, in the order of writing."""
        found = await self._partitions.read(Key(REQUEST, request_id), (EVENT,))
        rows = sorted(found.rows, key=lambda row: row.position)
        return [_EVENT.decode(row.data) for row in rows]

    async def mark_deleted(self, cluster: str, tag: str, destination: str, at: int) -> None:
        """Each event of the backup at that place, once."""

        def decide(found: Snapshot) -> Change | None:
            if not found.rows:
                return None
            row = found.rows[0]
            event = _EVENT.decode(row.data)
            if event.deleted_at is not None:
                return None
            marked = msgspec.json.encode(msgspec.structs.replace(event, deleted_at=at))
            return Change([msgspec.structs.replace(row, data=marked)])

        async for page in self._partitions.tables.scan(BACKUPS, f"{cluster}/{tag}"):
            for kept in page:
                if kept.entry.name == f"{kept.owner}/{destination}":
                    await self._partitions.change(Key(REQUEST, kept.owner), (EVENT,), decide, (destination,))

    async def _in_order(self, cluster: str, query: ActivityQuery) -> AsyncIterator[ActivityEvent]:
        """The cluster's events from the first week that can hold one of the page."""
        weeks = []
        async for page in self._partitions.tables.scan(PERIODS, ACTIVITY, newest_first=query.newest_first):
            weeks += [kept.entry for kept in page if kept.entry.name == cluster]
        for week in weeks:
            if query.timestamp is not None and _beyond(week.position, week_of(query.timestamp), query):
                continue
            async for page in self._partitions.tables.scan(ACTIVITY, scope_of(week), newest_first=query.newest_first):
                asked = [kept for kept in page if not _out(kept, query)]
                for event in await together(*map(self._event_of, asked)):
                    if event is not None:
                        yield event

    async def _event_of(self, kept: Kept) -> ActivityEvent | None:
        """What an entry tells of; None for one that nothing stands behind."""
        if kept.data is not None:
            return _EVENT.decode(await unpacked_aside(kept.data))
        key = Key(REQUEST, kept.owner)
        destination = kept.entry.name.rpartition("/")[2]
        found = await self._partitions.read(key, (EVENT,), (destination,))
        right = next((one for row in found.rows for one in entries_of(key, row) if one.entry == kept.entry), None)
        if right is None or right.data is not None:
            await self._partitions.repair(key, kept.entry, found)
        return None if right is None else _EVENT.decode(found.rows[0].data)


def matches(event: ActivityEvent, query: ActivityQuery) -> bool:
    """Whether the event is one of those that are asked for, whatever its time."""
    if query.type and event.type != query.type:
        return False
    if query.live and not event.live:
        return False
    return not query.successful or event.status == "success"


def _out(kept: Kept, query: ActivityQuery) -> bool:
    """Whether its time is outside of what is asked for: told by the entry, nothing is decoded for it."""
    return query.timestamp is not None and _beyond(kept.entry.position, query.timestamp, query)


def _beyond(value: int, bound: int, query: ActivityQuery) -> bool:
    return value > bound if query.newest_first else value < bound
