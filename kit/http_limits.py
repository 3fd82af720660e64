"""What one client may take. In: a request. Out: the request with its body read, or an error after a deadline.

aiohttp bounds a body's size but not its time: a body that trickles in keeps its connection for ever.
"""

import asyncio
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kit.errors import HelenusError


class BodyTooLarge(HelenusError):
    """A body over the limit."""

    code = "body_too_large"
    status = 413
    todo = "Send less, or raise max_body_bytes in the service's configuration."


class BodyTooSlow(HelenusError):
    """A body that was not whole within the deadline."""

    code = "body_too_slow"
    status = 408
    retry = "now"
    todo = "Send the request again on a connection that is quick enough."


class BodyBroken(HelenusError):
    """A body that isn't what its headers say: wrong chunks, or not packed as announced."""

    code = "body_broken"
    status = 400
    todo = "Send the body plain, as long as its Content-Length says or in well-formed chunks."


def body_limits(body_seconds: float, larger: Mapping[str, int] | None = None) -> Middleware:
    """A middleware that reads the whole body within the deadline before a handler sees the request. It stands inside
    authentication, so that strangers' bodies are not read. At most the application's `client_max_size` bytes, or what
    `larger` says of a route (its path as it was added → bytes, when that is more).

    After a refusal aiohttp drops the rest of the body for `LINGER_SECONDS` (kit.http_server) and then closes."""

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.body_exists:
            route = request.match_info.route.resource
            most = (larger or {}).get(route.canonical if route is not None else "", 0)
            if most > request.client_max_size:
                request = request.clone(client_max_size=most)
            try:
                async with asyncio.timeout(body_seconds):
                    await request.read()
            except TimeoutError:
                raise BodyTooSlow(f"the body was not whole after {body_seconds:g} seconds") from None
            except web.HTTPRequestEntityTooLarge:
                most = request.client_max_size
                raise BodyTooLarge(f"the body is larger than {most} bytes, the most here", most=most) from None
            except web.RequestPayloadError:
                raise BodyBroken("the body is not what the request's headers say of it") from None
        return await handler(request)

    return limit
