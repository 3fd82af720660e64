"""Who may ask. In: a request. Out: the request passed on, or `Unauthorized`.

`/health` is open to all; what describes the API is to whoever shows the client certificate, where one is asked for.
"""

import hashlib
import hmac

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kit.errors import HelenusError
from kit.http_settings import Access
from kit.secret import Secret
from kit.seldom import Seldom

OPEN_PATHS = frozenset({"/health"})
DESCRIPTIONS = frozenset({"/", "/docs", "/docs/{file}", "/openapi.yaml", "/openapi.json"})
"""Paths of the routes that are served without a token: kit.http_description says why."""
NEVER_IN_A_QUERY = frozenset({"token", "access_token", "opscenter-session", "sessionid", "password"})
"""Names of credentials. They are read in no query: proxies and shells write queries down."""


class Unauthorized(HelenusError):
    """A request without the right token or client certificate."""

    code = "unauthorized"
    status = 401
    todo = "Send «Authorization: Bearer <token>» with the service's token, or the client certificate it asks for."


class BearerToken:
    """The service's token, to be compared with what requests show."""

    def __init__(self, token: Secret) -> None:
        # Digests have one length, so that comparing tells nothing of the token's.
        self._wanted = _digest(token.reveal())

    def is_shown_by(self, request: web.Request) -> bool:
        """Whether the request's header has it."""
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(_digest(shown.strip()), self._wanted)


class RefusedLines:
    """Log lines about requests that were refused: one a minute for each address and error."""

    def __init__(self, logger: str) -> None:
        self._log = structlog.get_logger(logger)
        self._seldom = Seldom()

    def tell(self, request: web.Request, error: HelenusError) -> None:
        """Nothing of what was shown as a credential is told, nor the path and query, which may hold one."""
        remote = request.remote or ""
        untold = self._seldom.due(f"{remote} {error.code}")
        if untold is not None:
            self._log.warning(
                "requests are refused", code=error.code, reason=error.message, remote=remote, untold=untold
            )


def is_description(request: web.Request) -> bool:
    """Whether the request is for a description of the API."""
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in DESCRIPTIONS


def refuse_credentials_in_query(request: web.Request) -> None:
    """Raise `Unauthorized` for a request that has one in its query, whatever its headers show."""
    for name in request.query:
        if name.lower() in NEVER_IN_A_QUERY:
            raise Unauthorized(
                f"the query has a «{name.lower()}»: credentials in a query are not read, since queries are written "
                "down on their way. If it was a right one, change it",
            )


def refuse_without_certificate(request: web.Request, access: Access) -> None:
    """Raise `Unauthorized` where a client certificate is asked for and none was shown."""
    if access.client_certificate and not request.get_extra_info("peercert"):
        raise Unauthorized("this service asks for a client certificate")


def authentication(access: Access) -> Middleware:
    """A middleware that lets in who shows all that the settings ask for: the token, a client certificate, or both.
    A description of the API needs no token.

    It raises; an outer middleware gives the error the service's own form.
    """
    token = None if access.token is None else BearerToken(access.token)
    lines = RefusedLines(__name__)

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_PATHS:
            return await handler(request)
        try:
            refuse_without_certificate(request, access)
            if token is not None:
                refuse_credentials_in_query(request)
                if not is_description(request) and not token.is_shown_by(request):
                    raise Unauthorized("the request has no valid bearer token")
        except Unauthorized as error:
            lines.tell(request, error)
            raise
        return await handler(request)

    return authenticate


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
