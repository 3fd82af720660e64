"""The activity log. In: GET /{cluster}/backup-activity with its parameters. Out: events, newest first."""

from typing import Any

from aiohttp import web

from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.requests import RequestState
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.shapes import activity_event, request_status

TYPES = frozenset({"backup", "restore", "delete", "scrub", "archiving"})
MOST_UNASKED = 1_000
"""Events of an answer to a request without `count`."""


class Activity:
    """One event per request and destination. Parameters: count, reverse, timestamp, filter_type, filter_live,
    filter_success, first_backup_id."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def events(self, request: web.Request) -> web.Response:
        """GET /{cluster}/backup-activity"""
        cluster = self._api.cluster(request)
        query = request.query
        wanted = quirks.as_filter(query.get("filter_type"), "filter_type") or ""
        if wanted and wanted not in TYPES:
            raise quirks.refuse("filter_type", f"must be one of {', '.join(sorted(TYPES))}: {quirks.shown(wanted)}")
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
        return answer([await self._shown(event) for event in events])

    async def _shown(self, event: ActivityEvent) -> dict[str, Any]:
        running: dict[str, dict[str, Any]] = {}
        if event.status == RequestState.RUNNING.value:
            found = await self._api.store.requests.get(event.request)
            if found is not None:
                parts = await self._api.orchestrator.progress(found.id)
                running[event.request] = request_status(found, parts, str(event.destination["id"]))
        return activity_event(event, running)
