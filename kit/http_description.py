"""A service's description of its API. In: the package that holds its openapi.yaml. Out: the file, the same as JSON, and
a page at /docs that shows it.

They hold no secret, and yet ask for credentials as every path but /health does: one open path is easy to reason about,
and who isn't let in learns nothing of what there is to attack, and has no large answers sent to him. Browsers are let
in by a client certificate, and on loopback where no credentials are asked for. The page asks nobody but this service.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib import resources

import msgspec
import yaml
from aiohttp import ETag, web

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE = resources.files("kit.api_page")
_FILES = {
    "page.js": (_PAGE / "page.js", "text/javascript"),
    "page.css": (_PAGE / "page.css", "text/css"),
    "swagger-ui.css": (_PAGE / "swagger_ui" / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_PAGE / "swagger_ui" / "swagger-ui-bundle.js", "text/javascript"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: nothing comes from elsewhere, but pictures that its own styles hold."""


class Description:
    """The file as it is written, and as JSON. Nothing is kept in memory, for it is asked for seldom."""

    def __init__(self, package: str) -> None:
        self._package = package

    def routes(self, *methods: str) -> list[tuple[str, str, Endpoint]]:
        """Method, path and endpoint of all that is served, for GET or the `methods` said: where GET doesn't bring HEAD
        along, both are to be said."""
        served = {
            "/openapi.yaml": self.as_yaml,
            "/openapi.json": self.as_json,
            "/docs": self.page,
            f"/docs/{{file:{'|'.join(map(re.escape, _FILES))}}}": self.part_of_page,
        }
        return [(method, path, endpoint) for path, endpoint in served.items() for method in methods or ("GET",)]

    async def as_yaml(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.yaml"""
        return await kept_answer(request, self._read, "application/yaml")

    async def as_json(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.json"""
        return await kept_answer(request, self._converted, "application/json")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /docs"""
        response = await kept_answer(request, (_PAGE / "index.html").read_bytes, "text/html")
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    async def part_of_page(self, request: web.Request) -> web.StreamResponse:
        """GET /docs/{file}"""
        file, content_type = _FILES[request.match_info["file"]]
        return await kept_answer(request, file.read_bytes, content_type)

    def _read(self) -> bytes:
        return resources.files(self._package).joinpath("openapi.yaml").read_bytes()

    def _converted(self) -> bytes:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return msgspec.json.encode(yaml.load(self._read(), loader))  # noqa: S506 - both load plain data alone


async def kept_answer(request: web.Request, read: Callable[[], bytes], content_type: str) -> web.Response:
    """What `read` gives, which a client may keep but asks for each time whether it changed (304 when not). `read` runs
    in a thread of its own."""
    body, mark = await asyncio.to_thread(_with_mark, read)
    headers = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    known = request.if_none_match or ()
    if any(tag.value in (mark, "*") for tag in known):
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(body=body, content_type=content_type, headers=headers)
    response.etag = ETag(mark)
    return response


def _with_mark(read: Callable[[], bytes]) -> tuple[bytes, str]:
    body = read()
    return body, hashlib.sha256(body).hexdigest()[:32]
