"""Who may ask. In: a request. Out: the request passed on, or `Unauthorized`. `/health` is open to all."""

import hashlib
import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kit.errors import HelenusError
from kit.http_settings import Access

OPEN_PATHS = frozenset({"/health"})


class Unauthorized(HelenusError):
    """A request without the right token or client certificate."""

    code = "unauthorized"
    status = 401
    todo = "Send «Authorization: Bearer <token>» with the service's token, or the client certificate it asks for."


def authentication(access: Access) -> Middleware:
    """A middleware that lets in who shows all that the settings ask for: the token, a client certificate, or both.

    It raises; an outer middleware gives the error the service's own form.
    """
    # Digests have one length, so that comparing tells nothing of the token's.
    wanted = None if access.token is None else _digest(access.token.reveal())

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_PATHS:
            return await handler(request)
        if access.client_certificate and not request.get_extra_info("peercert"):
            raise Unauthorized("this service asks for a client certificate")
        if wanted is not None:
            scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(shown.strip()), wanted):
                raise Unauthorized("the request has no valid bearer token")
        return await handler(request)

    return authenticate


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
