"""Requests. In: GET /request/{id}/status, POST /request/{id}/cancel. Out: how they stand."""

from aiohttp import web

from coordinator.model.errors import NoSuchRequest
from coordinator.model.requests import Request
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.shapes import request_status


class Requests:
    """No cluster stands in these paths: a request's id tells."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def status(self, request: web.Request) -> web.Response:
        """GET /request/{id}/status"""
        found = await self._found(request)
        parts = await self._api.orchestrator.progress(found.id)
        # It may have ended between the two: what is told is one moment's.
        again = await self._api.store.requests.get(found.id)
        return answer(request_status(again or found, parts))

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /request/{id}/cancel (ours); option force. Answers the request's id; its status tells the rest."""
        found = await self._found(request)
        options = {**await quirks.read_body(request), **quirks.canonical(dict(request.query))}
        quirks.allow_only(options, ("force",))
        await self._api.orchestrator.cancel(found.id, force=quirks.as_bool(options.get("force"), "force"))
        return answer(found.id)

    async def _found(self, request: web.Request) -> Request:
        asked = request.match_info["request"]
        found = await self._api.store.requests.get(asked)
        if found is None:
            raise NoSuchRequest(quirks.shown(asked))
        return found
