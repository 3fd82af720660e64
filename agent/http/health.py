"""/health: whether the agent works, open to all."""

from aiohttp import web

from agent.http.bodies import json_response
from agent.http.services import services_of


async def get(request: web.Request) -> web.Response:
    """200 when ok, else 503."""
    view = services_of(request).health()
    return json_response(view, 200 if view.status == "ok" else 503)
