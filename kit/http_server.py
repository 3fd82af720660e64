"""A listening HTTP server. In: an aiohttp application and how to listen. Out: a bound socket, until it is stopped."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from kit.config import ConfigError
from kit.errors import HelenusError
from kit.http_errors import ERROR_FORM, MAX_FIELD_BYTES, MAX_LINE_BYTES, as_json, unread
from kit.http_settings import Access, HttpSettings, url_at

BACKLOG = 128
"""Connections that wait to be accepted."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that the client reads the answer before the reset."""
STOP_SECONDS = 5.0
"""How long requests that run may go on after the service was told to stop."""

PLAIN_BODIES: web.AppKey[bool] = web.AppKey("plain_bodies", bool)
"""True in an application that refuses compressed bodies: then nobody can make the server unpack one."""


class _Refused(asyncio.Protocol):
    """A connection over the cap: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Connection(web.RequestHandler):
    """A connection whose requests that can't be read are answered in the application's own form too, and that ends
    with an answer before the request's end."""

    __slots__ = ("_form",)

    def __init__(
        self,
        server: Any,
        form: Callable[[HelenusError], web.Response],
        *,
        keepalive_seconds: float,
        linger_seconds: float,
        unpacks: bool,
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=keepalive_seconds,
            lingering_time=linger_seconds,
            auto_decompress=unpacks,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
        )
        self._form = form

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer. An exception of aiohttp here was raised outside every middleware. A body that is still on
        its way is dropped for a while and then cut off, so the client is told not to send more on this connection."""
        if isinstance(resp, web.HTTPException):
            resp = self._form(unread(resp.status, resp))
        if not request.content.is_eof():
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that no middleware saw, or that broke one. The connection is closed after it."""
        error = unread(status, exc)
        log = structlog.get_logger("kit.http_server")
        if error.status >= 500:
            log.error("a request ended unexpectedly", method=request.method, path=request.path, exc_info=exc)
        else:
            log.info("a request can't be read", code=error.code, remote=request.remote)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer has been sent already")
        answer = self._form(error)
        answer.force_close()
        return answer


class HttpServer:
    """Serves `app` on one address, with at most `max_connections` connections at a time."""

    def __init__(
        self, app: web.Application, settings: HttpSettings, access: Access, *, linger_seconds: float = LINGER_SECONDS
    ) -> None:
        self._settings = settings
        self._access = access
        self._linger_seconds = linger_seconds
        self._take(app, _runner_of(app))
        self._listening: asyncio.Server | None = None
        self._log = structlog.get_logger("kit.http_server")

    def _take(self, app: web.Application, runner: web.AppRunner) -> None:
        self._form = app.get(ERROR_FORM, as_json)
        self._unpacks = not app.get(PLAIN_BODIES, False)
        self._runner = runner

    async def serve(self, app: web.Application) -> None:
        """Have another application answer from now on, at the same address. Requests under way at the former one may
        end for a few seconds; then their connections are closed."""
        runner, former = _runner_of(app), self._runner
        await runner.setup()
        self._take(app, runner)
        await former.cleanup()

    async def bind(self) -> None:
        """Own the address; whoever connects waits until `start`. Raises `ConfigError` if the address is taken."""
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        listening = _socket_of(host)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            # Only a socket that listens keeps others from the address.
            listening.listen(BACKLOG)
            self._listening = await asyncio.get_running_loop().create_server(
                self._connection, sock=listening, ssl=self._access.tls, backlog=BACKLOG, start_serving=False
            )
        except OSError as error:
            listening.close()
            await self._runner.cleanup()
            raise _unlistenable(host, port, error) from None

    async def start(self) -> None:
        """Answer requests, bound before or now. Raises what `bind` raises."""
        if self._listening is None:
            await self.bind()
        if self._listening is not None:
            await self._listening.start_serving()

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        if server is None:  # between the stop and the last accepted connection
            return _Refused()
        if len(server.connections) >= self._settings.max_connections:
            self._log.warning("too many connections: one was refused", most=self._settings.max_connections)
            return _Refused()
        return _Connection(
            server,
            self._form,
            keepalive_seconds=self._settings.keepalive_seconds,
            linger_seconds=self._linger_seconds,
            unpacks=self._unpacks,
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._listening is None:
            raise RuntimeError("the server does not listen")
        listening: socket.socket = self._listening.sockets[0]
        return int(listening.getsockname()[1])

    @property
    def url(self) -> str:
        """Where the service is reached from this machine."""
        return url_at(self._settings.host, self.port, tls=self._access.tls is not None)

    async def stop(self) -> None:
        """Listen no more, let running requests end for a few seconds, then close every connection."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await self._runner.cleanup()


def look_at_address(host: str, port: int) -> None:
    """Raise `ConfigError` for an address that this machine doesn't have. The port is left alone: the service that is
    looked at may be running."""
    try:
        with _socket_of(host) as probe:
            probe.bind((host, 0))
    except OSError as error:
        raise _unlistenable(host, port, error) from None


def _socket_of(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)


def _unlistenable(host: str, port: int, error: OSError) -> ConfigError:
    setting = "http.host" if error.errno == errno.EADDRNOTAVAIL else "http.port"
    return ConfigError(f"{host}:{port} can't be listened on: {error.strerror}", setting=setting)


def _runner_of(app: web.Application) -> web.AppRunner:
    return web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=STOP_SECONDS)
