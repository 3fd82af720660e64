"""A listening HTTP server. In: an aiohttp application and how to listen. Out: a bound socket, until it is stopped."""

import asyncio
import socket

import structlog
from aiohttp import web

from kit.config import ConfigError
from kit.http_settings import Access, HttpSettings

BACKLOG = 128
"""Connections that wait to be accepted."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that the client reads the answer before the reset."""
STOP_SECONDS = 5.0
"""How long requests that run may go on after the service was told to stop."""


class _Refused(asyncio.Protocol):
    """A connection over the cap: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class HttpServer:
    """Serves `app` on one address, with at most `max_connections` connections at a time."""

    def __init__(self, app: web.Application, settings: HttpSettings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=settings.keepalive_seconds,
            shutdown_timeout=STOP_SECONDS,
            lingering_time=LINGER_SECONDS,
        )
        self._listening: asyncio.Server | None = None
        self._log = structlog.get_logger("kit.http_server")

    async def bind(self) -> None:
        """Own the address; whoever connects waits until `start`. Raises `ConfigError` if the address is taken."""
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
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
            raise ConfigError(f"{host}:{port} can't be listened on: {error.strerror}", setting="http.port") from None

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
        return server()

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
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"{'https' if self._access.tls else 'http'}://{host}:{self.port}"

    async def stop(self) -> None:
        """Listen no more, let running requests end for a few seconds, then close every connection."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await self._runner.cleanup()
