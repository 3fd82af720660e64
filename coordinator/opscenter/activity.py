"""The activity log. In: GET /{cluster}/backup-activity with its parameters. Out: events, newest first."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from aiohttp import web

from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.errors import CoordinatorError
from coordinator.model.requests import NodePart, Request, RequestState
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.requests import status_of
from coordinator.opscenter.shapes import activity_event, shown_parts, week_of
from coordinator.opscenter.streamed import send, status_pieces
from coordinator.opscenter.wanted import Wanted

TYPES = frozenset({"backup", "restore", "delete", "scrub", "archiving"})
MOST_UNASKED = 1_000
"""Events of an answer to a request without `count`."""


class NoSuchEvent(CoordinatorError):
    """No entry of the activity log is named so."""

    code = "unknown_event"
    type = "NoSuchEvent"
    status = 404
    todo = "Name an event as GET /{cluster}/backup-activity lists it: backup_id, event_time, week, type, destination."


class Activity:
    """One event per request and destination. Parameters: count, reverse, timestamp, filter_type, filter_live,
    filter_success, first_backup_id; ours: details."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /{cluster}/backup-activity"""
        cluster = self._api.cluster(request)
        query = request.query
        wanted_details = Wanted(request)
        if wanted_details.node is not None:
            raise quirks.refuse("node", "is for the status of one request; here there is details=0 alone")
        wanted = quirks.as_filter(query.get("filter_type"), "filter_type") or ""
        if wanted:
            quirks.as_one_of(wanted, "filter_type", sorted(TYPES))
        asked = ActivityQuery(
            newest_first=not quirks.as_bool(query.get("reverse"), "reverse"),
            timestamp=quirks.as_int(query.get("timestamp"), "timestamp"),
            type=wanted,
            live=quirks.as_bool(query.get("filter_live"), "filter_live"),
            successful=quirks.as_bool(query.get("filter_success"), "filter_success"),
            first=quirks.as_filter(query.get("first_backup_id"), "first_backup_id") or "",
            count=quirks.as_int(query.get("count"), "count", default=MOST_UNASKED),
        )
        if not asked.count:
            return answer([])
        events = await self._api.store.requests.events(cluster, asked)
        if asked.first and not events:
            raise quirks.refuse("first_backup_id", f"names no backup among these events: {quirks.shown(asked.first)}")
        return await send(request, await self._pieces(events, wanted_details))

    async def full_status(self, request: web.Request) -> web.StreamResponse:
        """GET /{cluster}/backup-activity/full_status: the status of the request that an event is of, with the counts
        of the event's destination. The event is named by `backup_id`, `event_time`, `week`, `type` and `destination`,
        of which one may do; of several that fit it is the newest."""
        cluster, query, wanted = self._api.cluster(request), request.query, Wanted(request)
        asked = _Named(
            backup_id=quirks.as_filter(query.get("backup_id"), "backup_id"),
            event_time=quirks.as_int(query.get("event_time"), "event_time"),
            week=quirks.as_filter(query.get("week"), "week"),
            type=quirks.as_filter(query.get("type"), "type"),
            destination=quirks.as_filter(query.get("destination"), "destination"),
        )
        if asked == _Named():
            raise quirks.refuse("backup_id", "is missing: an event is named by backup_id or event_time, and more")
        page = ActivityQuery(newest_first=True, timestamp=asked.event_time, first=asked.backup_id or "")
        for event in await self._api.store.requests.events(cluster, page):
            if asked.is_of(event):
                found = await self._api.store.requests.get(event.request)
                if found is not None:
                    pieces = await status_of(self._api, found, wanted, str(event.destination["id"]))
                    return await send(request, pieces)
        raise NoSuchEvent("no event of the activity log is named so")

    async def _pieces(self, events: list[ActivityEvent], wanted: Wanted) -> Iterator[bytes]:
        """The list in pieces. What runs is looked at before the first of them: its state is one moment's."""
        running: dict[str, tuple[Request, list[NodePart]]] = {}
        for event in events:
            if event.status == RequestState.RUNNING.value and event.request not in running:
                found = await self._api.store.requests.get(event.request)
                if found is not None:
                    running[event.request] = found, await self._api.orchestrator.progress(found.id)
        return _listed(events, running, wanted)


class _Named(msgspec.Struct, frozen=True):
    """What an event is named by; None = not said."""

    backup_id: str | None = None
    event_time: int | None = None
    week: str | None = None
    type: str | None = None
    destination: str | None = None

    def is_of(self, event: ActivityEvent) -> bool:
        has = _Named(event.tag, event.event_time, week_of(event), event.type, str(event.destination["id"]))
        return all(
            asked in (None, told)
            for asked, told in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(has), strict=True)
        )


def _listed(
    events: Iterable[ActivityEvent], running: Mapping[str, tuple[Request, list[NodePart]]], wanted: Wanted
) -> Iterator[bytes]:
    yield b"["
    comma = b""
    for event in events:
        entry = msgspec.json.encode(activity_event(event))
        if event.request in running:
            request, parts = running[event.request]
            shown = shown_parts(parts, str(event.destination["id"]))
            yield comma + entry[:-1] + b',"full_status":'
            yield from status_pieces(request, shown, wanted.of(shown))
            yield b"}"
        else:
            yield comma + entry
        comma = b","
    yield b"]"
