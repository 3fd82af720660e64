"""What a service tells of its own API."""

import re
from collections.abc import AsyncIterator
from importlib import resources

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kit.http_description import Description
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
        assert 'supportedSubmitMethods: ["get"]' in await script.text()


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
