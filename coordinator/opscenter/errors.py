"""Every error in OpsCenter's form. In: what a handler raises. Out: brief, message, type, and our code, todo, fields.

The status says what the form doesn't: 400 a bad order, 404 an unknown thing, 409 a conflict, 413 too large, 500 ours.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from coordinator.model.errors import CoordinatorError
from kit.errors import HelenusError, first_of
from kit.http_errors import BadRequest

RETRY_SECONDS = 5
"""After which a client that was answered 503 should ask again."""
_TYPES = {400: "InvalidArguments", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}


class NoSuchPath(CoordinatorError):
    """Nothing is served at the path, or not with the method."""

    code = "unknown_path"
    type = "NotFound"
    status = 404
    todo = "Look up the paths and methods in docs/opscenter.md; parts of OpsCenter's API are not built yet."


class MethodNotAllowed(NoSuchPath):
    """The path takes other methods."""

    code = "method_not_allowed"
    type = "MethodNotAllowed"
    status = 405
    todo = "Send it with a method that the message names; the coordinator's page /docs says what each does."


class Internal(CoordinatorError):
    """A fault of the coordinator."""

    code = "internal"


def answer(value: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def told_error(error: Mapping[str, Any], kinds: Iterable[type[CoordinatorError]]) -> web.Response:
    """An error that a request kept, in the form of that one of `kinds` that it was; another one is a conflict."""
    known = next((kind for kind in kinds if kind.code == error.get("code")), None)
    kind, status = (known.type, known.status) if known is not None else (_TYPES[409], 409)
    body = {"brief": "error", "type": kind, **{name: error.get(name) for name in ("message", "code", "todo", "fields")}}
    return answer(body, status)


def error_answer(error: HelenusError) -> web.Response:
    """The error as OpsCenter's clients read it."""
    kind = error.type if isinstance(error, CoordinatorError) else _TYPES.get(error.status, type(error).__name__)
    body = {
        "brief": "error",
        "message": error.message,
        "type": kind,
        "code": error.code,
        "todo": error.todo,
        "fields": error.fields,
    }
    again = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else None
    return web.Response(
        body=msgspec.json.encode(body, enc_hook=str),
        status=error.status,
        content_type="application/json",
        headers=again,
    )


def errors_in_form() -> Middleware:
    """The outermost middleware."""
    log = structlog.get_logger("coordinator.opscenter")

    @web.middleware
    async def catch(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except HelenusError as error:
            if error.status >= 500:
                log.error("a request failed", method=request.method, path=request.path, **error.as_dict())
            return error_answer(error)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            refused = error_answer(MethodNotAllowed(f"{request.method} is not served at this path; it takes {allowed}"))
            refused.headers["Allow"] = allowed
            return refused
        except web.HTTPNotFound:
            return error_answer(NoSuchPath("there is nothing at this path"))
        except ExceptionGroup as group:
            # A task group around one known error: that error is what a person can act on.
            known, unknown = group.split(HelenusError)
            if known is not None and unknown is None:
                return error_answer(first_of(known))
            log.exception("a request met a fault", method=request.method, path=request.path)
            return error_answer(Internal("the coordinator met a fault of its own"))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return error_answer(BadRequest(error.reason or "the request can't be read"))
        except Exception:
            log.exception("a request met a fault", method=request.method, path=request.path)
            return error_answer(Internal("the coordinator met a fault of its own"))

    return catch
