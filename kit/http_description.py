"""A service's description of its API. In: the package that holds its openapi.yaml. Out: the file, and the same as JSON.

They ask for credentials as every path but /health does: whoever isn't let in learns nothing of what there is to attack,
neither the release nor that anything is served here. Browsers are let in by a client certificate, and by everybody's
loopback where no credentials are asked for at all.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources

import msgspec
import yaml
from aiohttp import ETag, web

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Description:
    """The file as it is written, and as JSON. Nothing is kept in memory, for it is asked for seldom."""

    def __init__(self, package: str) -> None:
        self._package = package

    def routes(self, *methods: str) -> list[tuple[str, str, Endpoint]]:
        """Method, path and endpoint of all that is served, for GET or the `methods` said: where GET doesn't bring HEAD
        along, both are to be said."""
        served = {"/openapi.yaml": self.as_yaml, "/openapi.json": self.as_json}
        return [(method, path, endpoint) for path, endpoint in served.items() for method in methods or ("GET",)]

    async def as_yaml(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.yaml"""
        return await kept_answer(request, self._read, "application/yaml")

    async def as_json(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.json"""
        return await kept_answer(request, self._converted, "application/json")

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
