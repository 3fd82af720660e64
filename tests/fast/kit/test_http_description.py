"""What a service tells of its own API."""

import asyncio
import re
from collections.abc import AsyncIterator
from importlib import resources

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from kit.http_auth import Unauthorized, authentication
from kit.http_description import Description
from kit.http_settings import Access
from kit.secret import Secret
from tests.cluster.coordinator_exchanges import COORDINATOR_DESCRIPTION

Served = TestClient[web.Request, web.Application]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = web.Application()
    for route in Description("coordinator.opscenter").routes("GET", "HEAD"):
        app.router.add_route(*route)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_it_is_told_as_it_is_written_and_as_json(served: Served) -> None:
    """Promise: both forms say the same, and no browser takes them for something else."""
    async with served.get("/openapi.yaml") as written:
        assert (written.status, written.content_type) == (200, "application/yaml")
        assert await written.read() == COORDINATOR_DESCRIPTION.read_bytes()
        assert written.headers["X-Content-Type-Options"] == "nosniff"
    async with served.get("/openapi.json") as as_json:
        assert (as_json.status, as_json.content_type) == (200, "application/json")
        assert await as_json.json() == yaml.safe_load(COORDINATOR_DESCRIPTION.read_text())


async def test_the_root_leads_to_the_page(served: Served) -> None:
    """Promise: who types the address alone comes to the page, or reads where the description is."""
    async with served.get("/", allow_redirects=False) as way:
        assert (way.status, way.headers["Location"], "/openapi.yaml" in await way.text()) == (303, "/docs", True)
    async with served.get("/") as page:
        assert (page.status, page.url.path, page.content_type) == (200, "/docs", "text/html")


@pytest.mark.parametrize("path", ["/docs", "/docs/page.js", "/openapi.json", "/openapi.yaml", "/"])
async def test_pages_of_other_sites_get_nothing_of_it(served: Served, path: str) -> None:
    """Promise: a browser lets no other site frame, load or misread what is open to everybody."""
    async with served.get(path, allow_redirects=False) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers.get("Content-Security-Policy", "") or path != "/docs"


@pytest.mark.parametrize(("certificate", "status"), [(False, 200), (True, 401)])
async def test_a_token_is_not_asked_for_but_a_client_certificate_is(certificate: bool, status: int) -> None:
    """Promise: the agent's door opens the description to who has no token, and to nobody without the certificate that
    it asks for."""

    @web.middleware
    async def refused(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Unauthorized as error:
            return web.Response(status=error.status)

    app = web.Application(middlewares=[refused, authentication(Access(None, Secret("a token"), certificate))])
    for route in Description("agent.http").routes():
        app.router.add_route(*route)
    async with TestClient(TestServer(app)) as client:
        for path in ("/", "/docs", "/docs/page.css", "/openapi.yaml", "/openapi.json"):
            assert (await client.get(path)).status == status
        assert (await client.get("/v1/node")).status == 401


async def until_cut_off(writer: asyncio.StreamWriter) -> None:
    """Ask for more and more without reading what comes."""
    while True:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_strangers_cost_no_work_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what is open to everybody is read and converted once, whoever asks how often; and of what a stranger
    asks for and doesn't read, the service holds no copy and ends the connection."""
    description = Description("coordinator.opscenter", seconds=0.1)
    read: list[int] = []

    def converted() -> bytes:
        read.append(1)
        return b"{}"

    monkeypatch.setattr(description, "_converted", converted)
    app = web.Application()
    for route in description.routes():
        app.router.add_route(*route)
    async with TestClient(TestServer(app)) as client, asyncio.timeout(60):
        await asyncio.gather(*(client.get("/openapi.json") for _ in range(5)))
        assert read == [1]
        _, writer = await asyncio.open_connection(client.host, client.port, limit=1)
        writer.write(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        with pytest.raises(ConnectionError):
            await until_cut_off(writer)


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.json"])
async def test_what_a_client_keeps_is_not_sent_again(served: Served, path: str) -> None:
    """Promise: while it is the same nothing but that is said; another mark brings it."""
    async with served.head(path) as head:
        mark = head.headers[aiohttp.hdrs.ETAG]
        assert (head.status, int(head.headers["Content-Length"]) > 1000) == (200, True)
    async with served.get(path, headers={"If-None-Match": mark}) as same:
        assert (same.status, await same.read(), same.headers["ETag"]) == (304, b"", mark)
        assert same.headers["Cache-Control"] == "private, no-cache"
    async with served.get(path, headers={"If-None-Match": '"another"'}) as other:
        assert other.status == 200


PARTS = ("page.js", "page.css", "swagger-ui.css", "swagger-ui-bundle.js")


async def test_the_page_asks_nobody_but_the_service(served: Served) -> None:
    """Promise: every file that the page names is served here under a type that browsers take, its policy lets it ask
    nobody else, and a click can send nothing but a GET."""
    async with served.get("/docs") as page:
        assert (page.status, page.content_type) == (200, "text/html")
        text = await page.text()
        policy = dict(part.strip().partition(" ")[::2] for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    named = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', text)
    assert sorted(named) == sorted(f"/docs/{part}" for part in PARTS)
    assert not re.search(r"<script(?! src=)|\son\w+=|style=", text), "the policy forbids what stands in the page itself"
    for path in named:
        async with served.get(path) as part:
            assert part.status == 200
            assert part.content_type == ("text/css" if path.endswith(".css") else "text/javascript")
    async with served.get("/docs/page.js") as script:
        text = await script.text()
    assert 'supportedSubmitMethods: ["get"]' in text
    assert set(re.findall(r'ask\("([^"]+)"', text)) == {"/login", "/logout"}


@pytest.mark.parametrize("path", ["/docs/README.md", "/docs/..%2fhttp_description.py", "/docs/swagger_ui/LICENSE"])
async def test_no_other_file_is_served(served: Served, path: str) -> None:
    """Promise: of this machine's files only those of the page can be had."""
    async with served.get(path) as answer:
        assert answer.status == 404


def test_what_others_wrote_stands_beside_its_licences() -> None:
    """Promise: the library is given on under its own terms, with those of its parts; under 2 MB of it."""
    library = resources.files("kit.api_page") / "swagger_ui"
    assert "Apache License" in (library / "LICENSE").read_text()
    assert (library / "NOTICE").read_text().startswith("swagger-ui")
    assert "@license" in (library / "swagger-ui-bundle.js.LICENSE.txt").read_text()
    sizes = [len((library / name).read_bytes()) for name in ("swagger-ui.css", "swagger-ui-bundle.js")]
    assert 1_000_000 < sum(sizes) < 2_000_000
