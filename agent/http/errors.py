"""Errors of the HTTP side, and the middleware that gives every error the protocol's form."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from agent.http.bodies import json_response
from kit.errors import HelenusError
from kit.http_errors import BadRequest

log = structlog.get_logger(__name__)


class NotFound(HelenusError):
    """No such path."""

    code = "not_found"
    status = 404
    todo = "Look up the paths in /openapi.yaml."


class MethodNotAllowed(HelenusError):
    """A path that doesn't take this method."""

    code = "method_not_allowed"
    status = 405
    todo = "Use one of the methods in the Allow header."


def error_response(error: HelenusError) -> web.Response:
    """The protocol's form of an error."""
    return json_response(error.as_dict(), error.status)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: whatever is raised inside becomes an error object with its status."""
    try:
        return await handler(request)
    except HelenusError as error:
        if error.status >= 500:
            log.warning("request failed", method=request.method, path=request.path, code=error.code)
        return error_response(error)
    except web.HTTPException as http:
        response = json_response(_of_http(http, request).as_dict(), http.status)
        if "Allow" in http.headers:
            response.headers["Allow"] = http.headers["Allow"]
        return response
    except Exception as unexpected:
        log.exception("a request ended unexpectedly", method=request.method, path=request.path)
        if request.transport is None:
            raise
        name = type(unexpected).__name__
        return error_response(HelenusError(f"unexpected {name}", exception=name))


def _of_http(http: web.HTTPException, request: web.Request) -> HelenusError:
    match http:
        case web.HTTPNotFound():
            return NotFound("there is nothing at this path")
        case web.HTTPMethodNotAllowed():
            return MethodNotAllowed(f"{request.method} is not for this path", allowed=sorted(http.allowed_methods))
        case _:
            return BadRequest(http.reason or "the request can't be read")
