"""The door of the API. In: a request. Out: the request passed on, with who asks; or why not.

One credential counts: the configured token when a header shows one, else the session of the header or the cookie, else
a client certificate. One that is shown and wrong is refused, whatever else is there. Bodies are read behind the door.
"""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from coordinator.access.errors import NotLoggedIn
from coordinator.access.logins import Logins
from coordinator.model.access import ANYONE, CERTIFICATE, TOKEN, Role, Who
from coordinator.model.asking import asking
from coordinator.opscenter.roles import WHO, need, role_of_route
from kit.errors import HelenusError
from kit.http_auth import (
    OPEN_PATHS,
    BearerToken,
    RefusedLines,
    Unauthorized,
    refuse_credentials_in_query,
    refuse_without_certificate,
)
from kit.http_origin import refuse_other_site
from kit.http_settings import Access

SESSION = "opscenter-session"
"""The header, and ours: the cookie's name."""
STRANGERS_BYTES = 16_384
"""The largest body of who isn't known yet: a name and a password."""
LOOKS = frozenset({"GET", "HEAD"})
"""Methods that change nothing, but for /logout."""

log = structlog.get_logger(__name__)


def session_of(request: web.Request) -> tuple[str, bool] | None:
    """The session's id that the request shows, and whether a cookie does."""
    header = request.headers.get(SESSION)
    if header is not None:
        return header.strip(), False
    cookie = request.cookies.get(SESSION)
    return None if cookie is None else (cookie, True)


def who_may(access: Access, logins: Logins) -> Middleware:
    """A middleware that lets in who may do what the route needs. It raises; an outer middleware gives the error its
    form."""
    token = None if access.token is None else BearerToken(access.token)
    lines = RefusedLines(__name__)

    async def identify(request: web.Request) -> Who:
        if token is None and not access.client_certificate and not access.login and not await logins.needed():
            return ANYONE
        refuse_credentials_in_query(request)
        if token is not None and "Authorization" in request.headers:
            if token.is_shown_by(request):
                return TOKEN
            raise Unauthorized("the request has no valid bearer token")
        shown = session_of(request)
        if shown is not None:
            session, cookie = shown
            user = await logins.user_of(session)
            if user is None:
                raise NotLoggedIn("the session is over, or there is none of that id")
            if cookie and request.method not in LOOKS:
                refuse_other_site(request)
            return Who(user.name, user.role, "user")
        if token is None and access.client_certificate:
            return CERTIFICATE
        if token is not None and not await logins.needed():
            raise Unauthorized("the request has no valid bearer token")
        raise NotLoggedIn("the request has no session")

    async def let_in(request: web.Request, needed: Role) -> Who:
        who = await identify(request)
        need(who, needed, f"{request.method} of this path")
        return who

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_PATHS:
            return await handler(request)
        needed = role_of_route(request)
        try:
            refuse_without_certificate(request, access)
            if needed is None:
                return await handler(request.clone(client_max_size=STRANGERS_BYTES))
            who = await let_in(request, needed)
        except HelenusError as error:
            if error.status < 500 and needed is not None:
                lines.tell(request, error)
            raise
        request[WHO] = who
        if request.method not in LOOKS:
            log.info("an order came", method=request.method, path=request.path, asked_by=who.name)
        with asking(who.name):
            return await handler(request)

    return door
