"""The services' doors: who is let in, on which address, and what one client can't take away from the others."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from kit.config import ConfigError
from kit.errors import HelenusError
from kit.http_auth import authentication
from kit.http_limits import body_limits
from kit.http_server import HttpServer
from kit.http_settings import HttpSettings, access_of
from kit.tls import TlsNames, client_context
from tests.cluster.certificates import Authority

TOKEN = "a-token-for-tests"


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HelenusError as error:
        return web.json_response(error.as_dict(), status=error.status)


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


@asynccontextmanager
async def served(settings: HttpSettings) -> AsyncIterator[HttpServer]:
    access = access_of(settings)
    app = web.Application(
        middlewares=[errors, authentication(access), body_limits(settings.body_seconds)],
        client_max_size=settings.max_body_bytes,
    )
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/health", echo)
    server = HttpServer(app, settings, access)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_an_answer_before_the_bodys_end_says_that_the_connection_ends(tmp_path: Path) -> None:
    """Promise: a client that is refused while it sends is not surprised by a closed connection at its next request."""
    async with served(HttpSettings(host="127.0.36.1", token_file=token_file(tmp_path))) as server:
        reader, writer = await asyncio.open_connection("127.0.36.1", server.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: 127.0.36.1\r\nContent-Length: 10\r\n\r\nhalf")
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 401")
            assert b"connection: close" in head.lower()
            writer.write(b" rest!")  # what was on its way is still taken, and no reset eats the answer
            assert b"unauthorized" in await reader.read()
        writer.close()


def token_file(directory: Path) -> str:
    path = directory / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return str(path)


async def ask(url: str, **options: object) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.post(url, **options) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.read()


async def test_only_the_right_token_is_let_in_and_health_is_open(tmp_path: Path) -> None:
    """Promise: nothing but the exact token opens, in the header alone, and no answer quotes it."""
    async with served(HttpSettings(token_file=token_file(tmp_path))) as server:
        for header in ("", f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN, "Bearer \xe4"):
            status, body = await ask(f"{server.url}/echo", headers={"Authorization": header})
            assert status == 401
            assert TOKEN.encode() not in body
        status, _ = await ask(f"{server.url}/echo?token={TOKEN}")
        assert status == 401
        assert await ask(f"{server.url}/echo", headers={"Authorization": f"bearer {TOKEN}"}, data=b"in") == (200, b"in")
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/health") as answer:
            assert answer.status == 200


async def test_mutual_tls_lets_in_a_signed_certificate_and_no_other(tmp_path: Path) -> None:
    """Promise: with mutual TLS each side takes only what its authority signed."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.certificate("server")
    settings = HttpSettings(tls_certificate=str(certificate), tls_key=str(key), client_ca=str(authority.ca))

    def context(own: tuple[Path, Path] | None) -> ssl.SSLContext:
        return client_context(authority.ca, *(own or (None, None)), named=TlsNames("ca"))

    async with served(settings) as server:
        assert server.url.startswith("https://")
        signed = context(authority.certificate("client"))
        assert (await ask(f"{server.url}/echo", ssl=signed))[0] == 200
        assert (await ask(f"{server.url}/echo", ssl=context(None)))[0] == 401
        with pytest.raises(aiohttp.ClientError):
            await ask(f"{server.url}/echo", ssl=context(stranger.certificate("client-of-stranger")))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(f"{server.url}/echo", ssl=client_context(stranger.ca, named=TlsNames("ca")))


def test_another_address_than_loopback_needs_tls_and_authentication(tmp_path: Path) -> None:
    """Promise: a door to the network is never open or in clear text."""
    certificate, key = map(str, Authority(tmp_path).certificate("server"))
    with pytest.raises(ConfigError, match="TLS") as caught:
        access_of(HttpSettings(host="0.0.0.0", token_file=token_file(tmp_path)))
    assert caught.value.fields["setting"] == "http.tls_certificate"
    with pytest.raises(ConfigError, match="token_file"):
        access_of(HttpSettings(host="10.0.0.1", tls_certificate=certificate, tls_key=key))
    with pytest.raises(ConfigError, match="IP address"):
        access_of(HttpSettings(host="node1.example"))
    access_of(HttpSettings(host="::", tls_certificate=certificate, tls_key=key, token_file=token_file(tmp_path)))
    access_of(HttpSettings(host="127.0.60.1"))


def test_half_a_tls_configuration_is_refused_by_name(tmp_path: Path) -> None:
    """Promise: TLS is whole or refused, with the setting that lacks."""
    certificate, key = map(str, Authority(tmp_path).certificate("server"))
    with pytest.raises(ConfigError, match="tls_key"):
        access_of(HttpSettings(tls_certificate=certificate))
    with pytest.raises(ConfigError, match="client_ca"):
        access_of(HttpSettings(client_ca=certificate))
    with pytest.raises(ConfigError, match="can't be read"):
        access_of(HttpSettings(tls_certificate=certificate, tls_key=str(tmp_path / "missing")))
    assert key


async def test_a_body_over_the_limit_is_refused_sized_and_chunked() -> None:
    """Promise: no client fills the memory, whether it tells its size or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with served(HttpSettings(max_body_bytes=10_000)) as server:
        status, body = await ask(f"{server.url}/echo", data=b"x" * 10_001)
        assert (status, b"body_too_large" in body) == (413, True)
        status, body = await ask(f"{server.url}/echo", data=chunks())
        assert (status, b"body_too_large" in body) == (413, True)
        assert (await ask(f"{server.url}/echo", data=b"x" * 9_999))[0] == 200


async def test_a_body_that_trickles_is_answered_408_and_its_connection_closed() -> None:
    """Promise: a slow client holds no connection for ever."""
    async with served(HttpSettings(body_seconds=0.2)) as server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nslow")
        answer = await reader.read()  # to the end: the server closes
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_too_slow" in answer
        writer.close()


async def test_connections_over_the_cap_are_closed_and_the_others_are_served() -> None:
    """Promise: too many connections cost those served nothing."""
    async with served(HttpSettings(max_connections=2)) as server, asyncio.timeout(20):
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await _read_or_reset(reader.read) == b""
        for _, other in [*held, (reader, writer)]:
            other.close()


async def _read_or_reset(read: Callable[[], Awaitable[bytes]]) -> bytes:
    try:
        return await read()
    except ConnectionResetError:
        return b""


async def test_an_address_that_is_taken_is_a_clear_error() -> None:
    """Promise: a port that somebody else has is a wrong setting, not a traceback."""
    async with served(HttpSettings()) as server:
        with pytest.raises(ConfigError, match="can't be listened on"):
            async with served(HttpSettings(port=server.port)):
                pass
