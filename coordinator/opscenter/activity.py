"""The activity log. In: GET /{cluster}/backup-activity with its parameters. Out: events, newest first."""

from typing import Any

from aiohttp import web

from coordinator.model.activity import ActivityEvent
from coordinator.model.requests import RequestState
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.shapes import activity_event, request_status

TYPES = frozenset({"backup", "restore", "delete"})


class Activity:
    """One event per request and destination. Parameters: count, reverse, timestamp, filter_type, filter_live,
    filter_success, first_backup_id."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def events(self, request: web.Request) -> web.Response:
        """GET /{cluster}/backup-activity"""
        cluster = self._api.cluster(request)
        query = request.query
        oldest_first = quirks.as_bool(query.get("reverse"), "reverse")
        count = quirks.as_int(query.get("count"), "count")
        timestamp = quirks.as_int(query.get("timestamp"), "timestamp")
        wanted = query.get("filter_type")
        if wanted and wanted not in TYPES:
            raise quirks.refuse("filter_type", f"must be one of {', '.join(sorted(TYPES))}: {quirks.shown(wanted)}")
        live = quirks.as_bool(query.get("filter_live"), "filter_live")
        successful = quirks.as_bool(query.get("filter_success"), "filter_success")

        # The log is in the order of writing; equal times stay in it, both ways round.
        events = sorted(await self._api.store.requests.events(cluster), key=lambda event: event.event_time)
        if not oldest_first:
            events.reverse()
        if timestamp is not None:
            events = [
                event
                for event in events
                if (event.event_time >= timestamp if oldest_first else event.event_time <= timestamp)
            ]
        events = [
            event
            for event in events
            if (not wanted or event.type == wanted)
            and (not live or (event.type == "backup" and event.deleted_at is None))
            and (not successful or event.status == RequestState.SUCCESS.value)
        ]
        events = _from(events, query.get("first_backup_id"))[:count]
        return answer([await self._shown(event) for event in events])

    async def _shown(self, event: ActivityEvent) -> dict[str, Any]:
        running: dict[str, dict[str, Any]] = {}
        if event.status == RequestState.RUNNING.value:
            found = await self._api.store.requests.get(event.request)
            if found is not None:
                parts = await self._api.orchestrator.progress(found.id)
                running[event.request] = request_status(found, parts, str(event.destination["id"]))
        return activity_event(event, running)


def _from(events: list[ActivityEvent], first_backup_id: str | None) -> list[ActivityEvent]:
    """The page that begins with the first event of that backup."""
    if not first_backup_id:
        return events
    for index, event in enumerate(events):
        if event.tag == first_backup_id:
            return events[index:]
    raise quirks.refuse("first_backup_id", f"names no backup among these events: {quirks.shown(first_backup_id)}")
