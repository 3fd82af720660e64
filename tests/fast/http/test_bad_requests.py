"""Requests that no agent should take: refused quickly, in the protocol's form, and leaving nothing behind."""

import asyncio
import gzip
from pathlib import Path
from typing import cast

import pytest

from agent.http.app import make_app
from agent.http.services import AgentServices
from agent.wire.commands import Kind
from kit.http_server import HttpServer
from kit.http_settings import Access, HttpSettings
from tests.fast.commands.tiny_agent import delete, everything, quick
from tests.fast.http.served import TOKEN, served
from tests.fast.kit.unread import UNREAD, send

POST = {"id": "a", "kind": "delete", "arguments": {"tag": "t"}}


async def test_strangers_get_nothing_but_health_and_the_description(tmp_path: Path) -> None:
    """Promise: without the token every path is 401, in the one error form, but /health and the description; of the
    description's paths a GET alone is open."""
    async with served(tmp_path, everything(quick)) as agent:
        for token in ("", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            for path in ("/v1/node", "/v1/commands", "/v1/events", "/metrics", "/docs/other", "/v1/nothing"):
                answer = await agent.client.get(path, headers={"Authorization": token}, undescribed=True)
                assert (answer.status, answer.code) == (401, "unauthorized")
        answer = await agent.client.get("/health", headers={"Authorization": ""})
        assert (answer.status, answer.json) == (200, {"status": "ok", "code": None})
        for path in ("/openapi.yaml", "/openapi.json", "/docs", "/docs/page.js"):
            assert (await agent.client.get(path, headers={"Authorization": ""})).status == 200
            refused = await agent.client.send("POST", path, headers={"Authorization": ""}, undescribed=True)
            assert (refused.status, refused.code) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"no json", None),
        (b"\xff\xfe", None),
        (b'{"id": "a"', None),
        (b"[]", None),
        (b"null", None),
        (b'{"id": "a", "kind": "delete", "arguments": {"tag": "t"}, "colour": 1}', "colour"),
        (b'{"id": "a", "kind": "delete"}', "arguments"),
        (b'{"id": "a", "kind": "delete", "arguments": {"tag": "t"}, "id": "b"}', "id"),
        (b'{"id": "a", "kind": "delete", "arguments": {"tag": "t", "t\\u0061g": "u"}}', "tag"),
        (b'{"id": 7, "kind": "delete", "arguments": {}}', "id"),
        (b'{"id": "a", "kind": "explode", "arguments": {}}', "kind"),
        (b'{"id": "a", "kind": "delete", "arguments": {"tag": "t", "size": 1}}', "arguments"),
        (b'{"id": "a", "kind": "delete", "arguments": {"tag": "t"}, "fence": 1e30}', "fence"),
        (b'{"id": "a", "kind": "delete", "arguments": {"tag": "t"}, "fence": ' + b"9" * 50 + b"}", "fence"),
    ],
)
async def test_a_body_that_can_not_be_taken_names_what_is_wrong(tmp_path: Path, body: bytes, field: str | None) -> None:
    """400 with the field; nothing is accepted."""
    async with served(tmp_path, everything(quick)) as agent:
        headers = {"Content-Type": "application/json"}
        answer = await agent.client.send("POST", "/v1/commands", raw=body, headers=headers, wrong=True)
        assert answer.status in ((400, 415) if not body else (400,))
        if field is not None:
            assert answer.json["fields"]["field"] == field
        assert (await agent.client.get("/v1/commands")).json == []


async def test_deep_json_is_refused_wherever_it_hides(tmp_path: Path) -> None:
    """A hundred thousand brackets cost no stack; brackets in a text are no depth."""
    async with served(tmp_path, everything(quick)) as agent:
        headers = {"Content-Type": "application/json"}
        deep = b"[" * 100_000 + b"]" * 100_000
        for body in (deep, b'{"id": "a", "kind": "delete", "arguments": ' + deep + b"}", b'{"a":' * 50_000 + b"1"):
            answer = await agent.client.send("POST", "/v1/commands", raw=body, headers=headers, wrong=True)
            assert (answer.status, answer.code) == (400, "invalid_input")
        text = {**POST, "arguments": {"tag": "t", "target": None}, "phase": '[{"' * 200}
        answer = await agent.client.post("/v1/commands", text, wrong=True)
        assert answer.code == "invalid_name"


async def test_a_body_over_the_limit_is_413_with_and_without_its_length(tmp_path: Path) -> None:
    """Also when it comes in chunks, whose sum nobody announced."""
    async with served(tmp_path, everything(quick)) as agent:
        headers = {"Content-Type": "application/json"}
        big = b'{"id": "' + b"x" * (1024 * 1024) + b'"}'
        answer = await agent.client.send("POST", "/v1/commands", raw=big, headers=headers, wrong=True)
        assert (answer.status, answer.code) == (413, "body_too_large")

        async def chunks() -> "object":
            for start in range(0, len(big), 65_536):
                yield big[start : start + 65_536]

        async with agent.client.session.post(
            agent.client.url + "/v1/commands", data=chunks(), headers=headers
        ) as response:
            assert response.status == 413
        assert (await agent.client.get("/v1/commands")).json == []


async def test_a_body_that_trickles_in_is_given_up(tmp_path: Path) -> None:
    """A slow body must not hold a connection for ever: 408, and the connection is closed."""
    async with served(tmp_path, everything(quick), body_seconds=0.05) as agent:
        host, port = agent.client.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /v1/commands HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
        )
        await writer.drain()
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answer


async def test_other_types_and_packed_bodies_are_refused_unread(tmp_path: Path) -> None:
    """415: a packed body may unpack to any size."""
    async with served(tmp_path, everything(quick)) as agent:
        for headers, body in (
            ({"Content-Type": "text/plain"}, b"{}"),
            ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(b" " * 10_000_000)),
            ({}, b"{}"),
        ):
            answer = await agent.client.send("POST", "/v1/commands", raw=body, headers=headers, wrong=True)
            assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_a_body_sent_by_plain_curl_is_told_what_to_add(tmp_path: Path) -> None:
    """Promise: `curl -d` sends a form, which is never taken (any web page can send one); the refusal names the header
    that curl needs."""
    async with served(tmp_path, everything(quick)) as agent:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await agent.client.send("PATCH", "/v1/throttle", raw=b"{}", headers=form, wrong=True)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")
        assert "-H 'Content-Type: application/json'" in answer.json["todo"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"node_bytes_per_second": -5}, "node_bytes_per_second"),
        ({"node_bytes_per_second": 2**53}, "node_bytes_per_second"),
        ({"node_bytes_per_second": 0, "destinations": {"d1": 0, "d2": -1}}, "destinations.d2"),
    ],
)
async def test_a_limit_that_can_not_be_is_named_as_it_was_sent(tmp_path: Path, body: object, field: str) -> None:
    """Promise: whoever sent several limits sees which one is refused, and what is allowed."""
    async with served(tmp_path, everything(quick)) as agent:
        answer = await agent.client.patch("/v1/throttle", body, wrong=True)
    assert (answer.status, answer.json["fields"]["field"]) == (400, field)
    assert field in answer.json["message"]


@pytest.mark.parametrize(
    "name",
    ["..%2F..%2Fetc", "%2e%2e", "a%00b", "-rf", "a%22b", "%E2%80%AEevil", "x" * 300, "a%0Ab", "a%5Cb", ".hidden"],
)
async def test_odd_names_are_refused_before_anything_is_looked_up(tmp_path: Path, name: str) -> None:
    """Traversal, NUL, quotes, direction marks, 300 bytes: 400 (or 404 where the path itself doesn't fit)."""
    async with served(tmp_path, everything(quick)) as agent:
        for path in (
            f"/v1/commands/{name}",
            f"/v1/backups/{name}",
            f"/v1/destinations/{name}",
            f"/v1/backups?destination={name}",
            f"/v1/commands?job={name}",
        ):
            answer = await agent.client.get(path, undescribed=True)
            if name == "-rf" and "destination" in path:
                assert answer.status in (200, 404)
                continue
            assert answer.status in (400, 404), path
            assert answer.code in ("invalid_name", "not_found", "invalid_input"), path
        for field in ("id", "job", "phase", "report_to"):
            answer = await agent.client.post("/v1/commands", {**POST, field: f"../{name[:20]}"}, wrong=True)
            assert (answer.status, answer.code) == (400, "invalid_name")
        for made_by in (f"../{name[:20]}", "x" * 201):
            for kind, arguments in (("delete", {"target": None}), ("snapshot", {})):
                body = {**POST, "kind": kind, "arguments": {"tag": "t", "made_by": made_by, **arguments}}
                answer = await agent.client.post("/v1/commands", body, wrong=True)
                assert (answer.status, answer.code) == (400, "invalid_name")


async def test_unknown_paths_and_methods_have_the_same_form(tmp_path: Path) -> None:
    """404 and 405 are error objects too, 405 with its Allow header."""
    async with served(tmp_path, everything(quick)) as agent:
        for path in ("/v2", "/v1", "/v2/node", "/v1/commands/a/b"):
            answer = await agent.client.get(path, undescribed=True)
            assert (answer.status, answer.code) == (404, "not_found")
        answer = await agent.client.send("PUT", "/v1/commands", json={}, undescribed=True)
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET,HEAD,POST"


async def test_a_fault_of_the_agent_shows_no_inner_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is `internal` for the caller and a traceback for the log."""
    async with served(tmp_path, everything(quick)) as agent:
        answer = await agent.client.post("/v1/destinations/broken/check", {})
        assert (answer.status, answer.code) == (500, "internal")
        assert b"nobody may see" not in answer.body
        await agent.post("a", Kind.DELETE, delete())
        await agent.until("a")


async def test_what_is_no_http_is_answered_in_the_protocols_form() -> None:
    """Also a path of 70,000 characters and a broken request line are an error object with a stable code, and repeat
    nothing of what was sent."""
    app = make_app(cast(AgentServices, None))
    server = HttpServer(app, HttpSettings(host="127.0.50.2"), Access(None, None, False))
    await server.start()
    for what, request, status, code in UNREAD:
        got, kind, told = await send("127.0.50.2", server.port, request)
        assert (got, kind) == (status, "application/json"), what
        assert set(told) == {"code", "message", "todo", "retry", "fields"}, what
        assert (told["code"], "canary" in str(told)) == (code, False), what
    await server.stop()
