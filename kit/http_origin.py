"""Keeps web pages of other sites out. In: a request. Out: the request passed on, or `ForeignOrigin`.

A browser lets any page send requests to a service on loopback. It names the page's origin; and a page that made its
own name point here (DNS rebinding) shows that name as Host, where a service that asks for no credentials expects an
address.
"""

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kit.errors import HelenusError
from kit.http_settings import Access


class ForeignOrigin(HelenusError):
    """A browser sent the request for another site's page, or under a foreign host name."""

    code = "foreign_origin"
    status = 403
    todo = "Call the API from a program or from its own address; to serve it under a name, configure a token and TLS."


def same_origin(access: Access) -> Middleware:
    """A middleware for a service with this access: where no credentials are asked for, the host must be an address or
    localhost. It raises; an outer middleware gives the error the service's own form."""
    everybody = access.token is None and not access.client_certificate and not access.login

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and _host_of(origin) != request.host.lower():
            raise ForeignOrigin("the request comes from a page of another site")
        if everybody and not _is_address(request.host):
            raise ForeignOrigin("a service that asks for no credentials is reached by address only")
        return await handler(request)

    return check


def refuse_other_site(request: web.Request) -> None:
    """Raise `ForeignOrigin` where a browser says that another page had it send this request, with the cookie that it
    has of here: one of another port is the same site to a cookie. `same_origin` looks at the origin; some requests have
    none, as those for pictures."""
    if request.headers.get("Sec-Fetch-Site", "none").lower() not in ("same-origin", "none"):
        raise ForeignOrigin("the request comes from a page of another site or port, with this one's cookie")


def _host_of(origin: str) -> str:
    """Host and port of an origin; "" for what is none (a page without one says null)."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost":
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
