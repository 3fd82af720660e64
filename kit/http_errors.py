"""Requests that reach no handler. In: what aiohttp says of a request that it can't read. Out: the error that a person
can act on, given the application's own form by what stands under `ERROR_FORM`."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from kit.errors import HelenusError

MAX_LINE_BYTES = 8_190
"""The longest path with its query."""
MAX_FIELD_BYTES = 8_192
"""The longest header; another number than `MAX_LINE_BYTES`, for by it alone the parser says what was too long."""

ERROR_FORM: web.AppKey[Callable[[HelenusError], web.Response]] = web.AppKey("error_form", Callable)  # type: ignore[arg-type]
"""An application's own form of an error, for what its middlewares never see."""


class BadRequest(HelenusError):
    """A request that breaks the rules of HTTP."""

    code = "bad_request"
    status = 400
    todo = "Send a well-formed HTTP request."


class UriTooLong(HelenusError):
    """A path with a query over the limit."""

    code = "uri_too_long"
    status = 414
    todo = "Send a shorter path and query; the longest names fit."


class HeadersTooLarge(HelenusError):
    """A header over the limit."""

    code = "headers_too_large"
    status = 431
    todo = "Send shorter headers."


class ExpectationFailed(HelenusError):
    """An `Expect` header that asks for something else than 100-continue."""

    code = "expectation_failed"
    status = 417
    todo = "Send «Expect: 100-continue», or leave the header out."


def unread(status: int, cause: BaseException | None) -> HelenusError:
    """The error for a request that ended outside every middleware, with the status that aiohttp would give."""
    match cause:
        case HelenusError():
            return cause
        case LineTooLong() if MAX_LINE_BYTES in cause.args:
            return UriTooLong(f"the path is longer than {MAX_LINE_BYTES} bytes", most=MAX_LINE_BYTES)
        case LineTooLong():
            return HeadersTooLarge(f"a header is longer than {MAX_FIELD_BYTES} bytes", most=MAX_FIELD_BYTES)
        case web.HTTPExpectationFailed():
            return ExpectationFailed("the request's Expect header can't be met")
        case _ if status < 500:
            # The parser's own words repeat what was sent, which may hold a secret.
            return BadRequest("the request can't be read as HTTP")
        case _:
            return HelenusError("the request ended unexpectedly")


def as_json(error: HelenusError) -> web.Response:
    """The form of an application that says none: the error object itself."""
    return web.json_response(error.as_dict(), status=error.status)
