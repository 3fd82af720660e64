"""/v1/events: the event log, as a list (with long polling) or as a stream of server-sent events."""

import asyncio

import msgspec
from aiohttp import web

from agent.http.bodies import STUCK_SECONDS, json_response, query_of, whole_number
from agent.http.readers import READERS
from agent.http.services import services_of
from agent.wire.commands import Event
from kit.errors import InvalidInput

MOST_EVENTS = 1_000
LONGEST_WAIT = 60
LONGEST_INTERVAL = 60
HEARTBEAT_SECONDS = 15.0
LAST_SEQUENCE = 2**53 - 1


async def get(request: web.Request) -> web.StreamResponse:
    """Events after a sequence."""
    query = query_of(request, ("after", "limit", "wait", "interval"))
    after = whole_number(query, "after", 0, LAST_SEQUENCE)
    with request.app[READERS].one_more():
        if "text/event-stream" in request.headers.get("Accept", ""):
            interval = whole_number(query, "interval", 0, LONGEST_INTERVAL)
            return await _stream(request, _last_event_id(request, after), float(interval))
        limit = whole_number(query, "limit", MOST_EVENTS, MOST_EVENTS)
        wait = whole_number(query, "wait", 0, LONGEST_WAIT)
        return json_response(await services_of(request).events.after(after, max(1, limit), float(wait)))


def _last_event_id(request: web.Request, otherwise: int) -> int:
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidInput("Last-Event-ID must be a sequence of this log", field="Last-Event-ID")
    return int(text)


async def _stream(request: web.Request, after: int, interval: float) -> web.StreamResponse:
    log = services_of(request).events
    await log.after(after, 1)  # raises what is wrong with `after` while an error can still be answered
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write(b": connected\n\n")
    try:
        async for events, _ in log.follow(after, HEARTBEAT_SECONDS, interval=interval):
            async with asyncio.timeout(STUCK_SECONDS):
                await response.write(b"".join(map(_sse, events)) or b": alive\n\n")
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # the reader is gone or stuck; it comes back with its last id
    return response


def _sse(event: Event) -> bytes:
    return b"id: %d\nevent: command\ndata: %b\n\n" % (event.sequence, msgspec.json.encode(event))
