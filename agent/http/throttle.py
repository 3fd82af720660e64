"""/v1/throttle: the live limits."""

from aiohttp import web

from agent.http.bodies import json_response, query_of, read_json
from agent.http.services import services_of
from agent.wire.names import check_name
from agent.wire.throttle import PatchThrottle
from kit.errors import InvalidInput


async def get(request: web.Request) -> web.Response:
    """The limits in force."""
    query_of(request, ())
    return json_response(services_of(request).destinations.throttle())


async def patch(request: web.Request) -> web.Response:
    """Change what is named, at once."""
    query_of(request, ())
    body = await read_json(request, PatchThrottle)
    for destination in body.destinations:
        check_name("destination", destination, "destinations")
    limits = {f"destinations.{destination}": limit for destination, limit in body.destinations.items()}
    for field, limit in {"node_bytes_per_second": body.node_bytes_per_second or 0, **limits}.items():
        if not 0 <= limit < 2**53:
            raise InvalidInput(
                f"{field} must be 0 (no limit) or a number of bytes per second, not {limit}", field=field
            )
    return json_response(services_of(request).destinations.set_throttle(body))
