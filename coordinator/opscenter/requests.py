"""Requests. In: GET /request/{id}/status, POST /request/{id}/cancel, GET /{cluster}/request/{type}/status. Out: how
they stand."""

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from coordinator.model.errors import NoSuchRequest
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.ended import ended_status
from coordinator.opscenter.errors import answer
from coordinator.opscenter.roles import CANCEL, need, who_asks
from coordinator.opscenter.shapes import request_head, shown_parts
from coordinator.opscenter.streamed import send, status_pieces
from coordinator.opscenter.wanted import Wanted

MOST_LISTED = 1_000
"""Requests of an answer, whatever `count` asks for."""
UNASKED = 100
"""Requests of an answer to a request without `count`."""


class Requests:
    """No cluster stands in the paths of one request: its id tells."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def status(self, request: web.Request) -> web.StreamResponse:
        """GET /request/{id}/status; ours: details, node."""
        wanted = Wanted(request)
        found = await self._found(request)
        return await send(request, await status_of(self._api, found, wanted))

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /request/{id}/cancel (ours); option force. Answers the request's id; its status tells the rest."""
        found = await self._found(request)
        options = {**await quirks.read_body(request), **quirks.canonical(dict(request.query))}
        quirks.allow_only(options, ("force",))
        need(who_asks(request), CANCEL[found.kind], f"to cancel a request of the type {found.kind}")
        await self._api.orchestrator.cancel(found.id, force=quirks.as_bool(options.get("force"), "force"))
        return answer(found.id)

    async def of_type(self, request: web.Request) -> web.Response:
        """GET /{cluster}/request/{type}/status: requests of a type, newest first, without what each node did; of those
        that run the message tells of all nodes together. Ours: `count` and `state`."""
        cluster = self._api.cluster(request)
        kind = quirks.as_one_of(request.match_info["type"], "type", RequestKind)
        query = request.query
        state = query.get("state")
        count = quirks.as_int(query.get("count"), "count", default=UNASKED)
        found = await self._api.store.requests.find(
            cluster=cluster,
            kind=RequestKind(kind),
            state=None if state is None else RequestState(quirks.as_one_of(state, "state", RequestState)),
        )
        return answer([await self._in_list(each) for each in found[::-1][: min(count or 0, MOST_LISTED)]])

    async def _in_list(self, request: Request) -> dict[str, Any]:
        """The status as in a request's own answer, but without its tables, and of its details the message and the error
        alone: a cluster with many tables or nodes would make a list of megabytes."""
        running = request.state is RequestState.RUNNING
        status = request_head(
            request, shown_parts(await self._api.orchestrator.progress(request.id)) if running else ()
        )
        del status["keyspaces"]
        details = status["details"]
        status["details"] = {name: details[name] for name in ("message", "error") if name in details}
        return status

    async def _found(self, request: web.Request) -> Request:
        asked = request.match_info["request"]
        found = await self._api.store.requests.get(asked)
        if found is None:
            raise NoSuchRequest(quirks.shown(asked))
        return found


async def status_of(api: Api, found: Request, wanted: Wanted, destination: str | None = None) -> Iterator[bytes]:
    """A request's status in pieces, all of it one moment's. Raises `InvalidArguments`."""
    if found.state is not RequestState.RUNNING:
        return await ended_status(api.store.requests, found, wanted, destination)
    parts = await api.orchestrator.progress(found.id)
    # It may have ended between the two: what is told is one moment's.
    again = await api.store.requests.get(found.id)
    shown = shown_parts(parts, destination)
    return status_pieces(again or found, shown, wanted.of(shown))
