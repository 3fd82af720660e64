"""/v1/archiving: how far the node's commit log is archived."""

from aiohttp import web

from agent.http.bodies import json_response, query_of
from agent.http.services import services_of


async def get(request: web.Request) -> web.Response:
    """As it stands."""
    query_of(request, ())
    return json_response(await services_of(request).archiving())
