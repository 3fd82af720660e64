"""What a coordinator that doesn't lead passes on, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from coordinator.model.leading import Lease
from coordinator.opscenter.errors import errors_in_form
from coordinator.serving.forwarding import PASSED_ON, Forwarding, is_safe
from tests.cluster.ports import free_port

ADDRESS = "127.0.70.21"
DEADLINE = 20.0
PIECE = 64 * 1024
LARGE = 40_000_000
"""Bytes that no kernel takes for a reader who doesn't read."""


class Site:
    """A coordinator that passes on, a leader that writes down what it is asked, and a client."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.asked: list[dict[str, Any]] = []
        self.go_on = asyncio.Event()
        self.given_up = asyncio.Event()
        self.lease: Lease | None = None
        self.certificate = False

    async def open(self) -> None:
        """Both listen."""
        leader = await self._listen(web.Application(), [("*", "/{rest:.*}", self._lead)])
        self.lease = Lease("l", 1, 0, 30.0, leader)
        self.url = await self._pass_on()
        self.url_for_slow_readers = await self._pass_on(reading_seconds=0.3)
        self.url_for_silence = await self._pass_on(silent_seconds=1.0)
        self.client = await self._stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        )

    async def _pass_on(self, silent_seconds: float = DEADLINE, reading_seconds: float = DEADLINE) -> str:
        forwarding = Forwarding(
            lambda: self.lease,
            "me",
            None,
            certificate=self.certificate,
            silent_seconds=silent_seconds,
            reading_seconds=reading_seconds,
        )
        await self._stack.enter_async_context(forwarding)
        app = web.Application(middlewares=[errors_in_form()])
        return await self._listen(app, [("*", "/{rest:.*}", forwarding.pass_on)])

    async def _listen(self, app: web.Application, routes: list[tuple[str, str, Any]]) -> str:
        for method, path, endpoint in routes:
            app.router.add_route(method, path, endpoint)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        port = free_port(ADDRESS)
        await web.TCPSite(runner, ADDRESS, port).start()
        return f"http://{ADDRESS}:{port}"

    async def _lead(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": CIMultiDict(request.headers),
                "body": await request.read(),
            }
        )
        if request.path == "/streamed":
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b"first")
            await self.go_on.wait()
            await answer.write(b"second")
            return answer
        if request.path == "/large":
            answer = web.StreamResponse()
            await answer.prepare(request)
            try:
                for _ in range(LARGE // PIECE):
                    await answer.write(bytes(PIECE))
            except ConnectionError:
                self.given_up.set()
            return answer
        if request.path == "/broken":
            answer = web.StreamResponse(headers={"Content-Length": "10"})
            await answer.prepare(request)
            await answer.write(b"12345")
            assert request.transport is not None
            request.transport.abort()
            return answer
        if request.path == "/silent":
            await asyncio.sleep(30)
        headers = CIMultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "X-Own"), ("X-Own", "1")])
        headers["Content-Encoding"] = "identity"
        return web.Response(status=418, body=b"as it is", headers=headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        site = Site(stack)
        await site.open()
        yield site
        site.go_on.set()


async def test_a_request_and_its_answer_go_on_as_they_are(site: Site) -> None:
    """Promise: method, path and query byte for byte, body, credentials and Host reach the leader, its status, headers
    and body the client; what belongs to one connection doesn't, and nobody is said to accept what he didn't."""
    path = "/c%2Fx/backups?a=%20b&a=2&c"
    headers = {
        "Authorization": "Bearer t",
        "opscenter-session": "s",
        "Cookie": "opscenter-session=c",
        "Host": "backup.example",
        "Connection": "keep-alive, X-Mine",
        "X-Mine": "1",
        "User-Agent": "mine",
    }
    async with site.client.request(
        "DELETE", URL(site.url + path, encoded=True), data=b'{"a": 1}', headers=headers, skip_auto_headers=("Accept",)
    ) as answer:
        assert (answer.status, await answer.read()) == (418, b"as it is")
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert "X-Own" not in answer.headers
        assert answer.headers["Content-Encoding"] == "identity"
    [asked] = site.asked
    assert (asked["method"], asked["path"], asked["body"]) == ("DELETE", path, b'{"a": 1}')
    kept = {"Authorization", "opscenter-session", "Cookie", "Host", "User-Agent"}
    assert {name: asked["headers"][name] for name in kept} == {name: headers[name] for name in kept}
    assert not {"X-Mine", "Accept"} & set(asked["headers"])
    assert asked["headers"][PASSED_ON] == "me"


async def test_an_answer_is_passed_on_as_it_comes(site: Site) -> None:
    """Promise: the first part is there before the leader has made the last one."""
    async with site.client.get(f"{site.url}/streamed") as answer:
        assert await answer.content.readexactly(5) == b"first"
        site.go_on.set()
        assert await answer.read() == b"second"


async def test_a_part_of_an_answer_is_never_taken_for_the_whole(site: Site) -> None:
    """Promise: when the leader breaks off, the client's connection breaks off too."""
    with pytest.raises(aiohttp.ClientError):
        async with site.client.get(f"{site.url}/broken") as answer:
            await answer.read()


@pytest.mark.parametrize("takes", [0, 2_000])
async def test_who_reads_too_slowly_is_cut_off_by_who_passes_on(site: Site, takes: int) -> None:
    """Promise: who reads nothing, or a little again and again, of an answer that is passed on keeps the leader's turn
    no longer than if it had asked the leader; who reads it has all of it."""
    host, _, port = site.url_for_slow_readers.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1)
    writer.write(f"GET /large HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        while not site.given_up.is_set():
            if takes:
                try:
                    await reader.read(takes)
                except ConnectionError:
                    break
            await asyncio.sleep(0.05)
        await site.given_up.wait()
    writer.close()
    async with asyncio.timeout(DEADLINE), site.client.get(f"{site.url}/large") as answer:
        assert len(await answer.read()) == LARGE // PIECE * PIECE


async def refused(site: Site, method: str = "GET", path: str = "/x", **headers: str) -> tuple[int, Any, str | None]:
    url = site.url_for_silence if path == "/silent" else site.url
    async with site.client.request(method, url + path, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def test_a_second_hop_is_refused(site: Site) -> None:
    """Promise: two coordinators that hold each other for the leader don't send a request round for ever."""
    status, told, again = await refused(site, **{PASSED_ON: "other"})
    assert (status, told["code"], again) == (503, "no_leader", "5")
    assert site.asked == []


async def test_who_can_reach_no_leader_is_told_so(site: Site) -> None:
    """Promise: nobody leads, the leader isn't there, or it is silent: 503 in the API's form, that says when to come
    again and whether something may have been done."""
    status, told, again = await refused(site, "POST", "/silent")
    assert (status, told["code"], again, told["brief"]) == (503, "leader_unreachable", "5", "error")
    assert "not known" in told["message"]
    site.lease = Lease("l", 1, 0, 30.0, f"http://{ADDRESS}:{free_port(ADDRESS)}")
    status, told, again = await refused(site, "POST")
    assert (status, told["code"], again) == (503, "leader_unreachable", "5")
    assert "nothing was done" in told["message"]
    site.lease = None
    assert (await refused(site))[1]["code"] == "no_leader"


async def test_a_client_certificate_is_not_passed_on(site: Site) -> None:
    """Promise: where certificates count, the client is told whom to ask, by his URL."""
    assert site.lease is not None
    site.lease = Lease("l", 1, 0, 30.0, site.lease.url, certificate=True)
    status, told, _ = await refused(site)
    assert (status, told["code"]) == (421, "ask_the_leader")
    assert site.lease.url in told["message"]
    assert site.asked == []


async def test_credentials_go_over_tls_or_stay_on_the_machine(site: Site) -> None:
    """Promise: a lease that names a plain address elsewhere, or a name, gets nobody's token."""
    for url in ("http://192.0.2.1:8888", "http://localhost.example:1", "ftp://127.0.0.1", ""):
        assert not is_safe(url), url
        site.lease = Lease("l", 1, 0, 30.0, url)
        assert (await refused(site))[1]["code"] == "leader_unreachable"
    assert is_safe("https://backup.example:8888")
    assert is_safe("http://[::1]:8888")
    assert site.asked == []
