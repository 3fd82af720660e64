"""A service's description of its API. In: the package that holds its openapi.yaml. Out: the file, the same as JSON, and
a page at /docs that shows it.

Whoever reaches the service may read them without a token or login (a client certificate is asked for as everywhere), or
no browser could open the page to give one. They are the same in every installation and hold nothing of this one. A
stranger makes little work with them: each is read once and kept (2 MB in all), sent in pieces as it is read, and cut
off after a while. The page asks nobody but this service.
"""

import asyncio
import hashlib
import io
import re
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources

import msgspec
import yaml
from aiohttp import ETag, web

from kit.http_sending import send_within

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


READING_SECONDS = 60.0
"""How long a client may take to read one of them."""
_ALWAYS = {
    "Cache-Control": "private, no-cache",
    "X-Content-Type-Options": "nosniff",
    # Else a page of another site could try whether a script of ours loads, and so find out where a service runs.
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OF_THE_PAGE = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}


class _Kept(msgspec.Struct, frozen=True):
    """What is served, and the mark by which a client knows it again."""

    body: bytes
    mark: str


class Description:
    """The file as it is written, as JSON, and the page. `seconds`: how long a client may take to read one of them."""

    def __init__(self, package: str, seconds: float = READING_SECONDS) -> None:
        self._package = package
        self._seconds = seconds
        self._kept: dict[str, _Kept] = {}
        self._reading = asyncio.Lock()

    def routes(self, *methods: str) -> list[tuple[str, str, Endpoint]]:
        """Method, path and endpoint of all that is served, for GET or the `methods` said: where GET doesn't bring HEAD
        along, both are to be said."""
        served = {
            "/": self.way,
            "/openapi.yaml": self.as_yaml,
            "/openapi.json": self.as_json,
            "/docs": self.page,
            f"/docs/{{file:{'|'.join(map(re.escape, _FILES))}}}": self.part_of_page,
        }
        return [(method, path, endpoint) for path, endpoint in served.items() for method in methods or ("GET",)]

    async def way(self, request: web.Request) -> web.StreamResponse:
        """GET /: to the page, and in words for who follows no redirect."""
        text = "The API is described at /docs, for programs at /openapi.yaml.\n"
        return web.Response(status=303, text=text, headers={**_ALWAYS, "Location": "/docs"})

    async def as_yaml(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.yaml"""
        return await self._answer(request, self._read, "application/yaml")

    async def as_json(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.json"""
        return await self._answer(request, self._converted, "application/json")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /docs"""
        return await self._answer(request, (_PAGE / "index.html").read_bytes, "text/html", _OF_THE_PAGE)

    async def part_of_page(self, request: web.Request) -> web.StreamResponse:
        """GET /docs/{file}"""
        file, content_type = _FILES[request.match_info["file"]]
        return await self._answer(request, file.read_bytes, content_type)

    def _read(self) -> bytes:
        return resources.files(self._package).joinpath("openapi.yaml").read_bytes()

    def _converted(self) -> bytes:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return msgspec.json.encode(yaml.load(self._read(), loader))  # noqa: S506 - both load plain data alone

    async def _answer(
        self, request: web.Request, read: Callable[[], bytes], content_type: str, more: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """What `read` gives, which a client may keep but asks for each time whether it changed (304 when not)."""
        kept = await self._once(request.path, read)
        headers = {**_ALWAYS, **(more or {})}
        known = request.if_none_match or ()
        if any(tag.value in (kept.mark, "*") for tag in known):
            response = web.Response(status=304, headers=headers)
        else:
            # A stream is sent piece by piece, as the client reads: bytes would be copied whole for each that doesn't.
            response = web.Response(body=io.BytesIO(kept.body), content_type=content_type, headers=headers)
        response.etag = ETag(kept.mark)
        await send_within(self._seconds, request, response)
        return response

    async def _once(self, path: str, read: Callable[[], bytes]) -> _Kept:
        """`read` runs in a thread of its own, the first time that the path is asked for."""
        path = path.rstrip("/")
        async with self._reading:
            if path not in self._kept:
                body = await asyncio.to_thread(read)
                self._kept[path] = _Kept(body, hashlib.sha256(body).hexdigest()[:32])
        return self._kept[path]
