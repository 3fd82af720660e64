"""One agent over HTTP: typed calls in, typed answers or `AgentUnreachable`, `AgentRefused`, `AgentMisbehaved` out."""

import asyncio
import io
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from agent.wire.archiving import ArchivingView
from agent.wire.backups import BackupView, Plan, Record
from agent.wire.commands import CommandView, Event, PostCommand
from agent.wire.destinations import CheckDestination, CheckReport, DestinationView, PutDestination
from agent.wire.node import NodeReport
from agent.wire.point_in_time import JobDocument
from coordinator.fleet import of_later
from coordinator.fleet.bounded import MOST_OF_AN_ANSWER, TooLarge, event_data, whole_body
from coordinator.fleet.bulk import Bulk
from coordinator.fleet.errors import AgentMisbehaved, AgentRefused, AgentUnreachable
from coordinator.fleet.json_items import NoArray
from coordinator.fleet.listings import read_backups
from kit.secret import Secret

Answer = TypeVar("Answer")


class Deadlines(msgspec.Struct, frozen=True):
    """How long calls may take, in seconds. `check` covers a whole conformance run of a slow store, `listing` a cold
    catalogue, `silence` the time without a byte after which an event stream counts as broken. `probe`: an agent
    that takes longer than half of it for what it should know at once is asked for a sign of life, and given up at its
    end."""

    connect: float = 5.0
    probe: float = 5.0
    call: float = 30.0
    listing: float = 120.0
    check: float = 600.0
    silence: float = 60.0


def open_session(token: Secret | None = None, tls: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """The one session that all clients share. Call it inside the running loop and close it at the end. Nothing that an
    agent sends is unpacked (a little may unpack to any size), and no cookie of an agent's is kept."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    connector = aiohttp.TCPConnector(limit=0, ssl=tls if tls is not None else True, keepalive_timeout=30.0)
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(
        connector=connector, headers=headers, read_bufsize=2**18, auto_decompress=False, cookie_jar=jar
    )


_NO_ANSWER = (msgspec.DecodeError, RecursionError)
"""What bytes are that can't be read, or are nested too deeply to be."""


async def always() -> None:
    """What a coordinator that nobody shares its state with awaits before it has an agent do something."""


decode_report = msgspec.json.Decoder(NodeReport).decode
_decode_backup = msgspec.json.Decoder(BackupView).decode


class AgentClient:
    """Calls of one agent at `url` (scheme, host and port). `bulk` is shared by the clients of many agents. `hold` is
    awaited right before each call that changes anything."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        deadlines: Deadlines | None = None,
        bulk: Bulk | None = None,
        hold: Callable[[], Awaitable[None]] = always,
    ) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._deadlines = deadlines or Deadlines()
        self._bulk = bulk or Bulk()
        self._hold = hold
        self._heard = 0.0

    async def node(
        self,
        *,
        members: bool = False,
        truncations: bool = False,
        known: str | None = None,
        read: Callable[[bytes], NodeReport] = decode_report,
    ) -> NodeReport:
        """Identity, ring, schema and state of the agent's node; with `members` also whom it holds for up, with
        `truncations` when tables were truncated. `known`: the shape of an earlier report, whose ring and keyspaces
        needn't be told again (agents that don't know it refuse it). `read` makes the report of its text; what it raises
        besides `msgspec.DecodeError` comes out as it is."""
        asked = {"members": members, "truncations": truncations}
        query = [(name, "true") for name, wanted in asked.items() if wanted]
        if known is not None:
            query.append(("known", known))
        return await self._while_alive(
            self._read_large("/v1/node", self._deadlines.call, self._bulk.turn, partial(self._whole, read), query)
        )

    async def destinations(self) -> list[DestinationView]:
        """All destinations that the agent knows, secrets masked."""
        return await self._call("GET", "/v1/destinations", list[DestinationView])

    async def destination(self, destination: str) -> DestinationView:
        """One destination; refused with `unknown_destination`."""
        return await self._while_alive(self._call("GET", f"/v1/destinations/{_segment(destination)}", DestinationView))

    async def put_destination(self, destination: str, put: PutDestination) -> DestinationView:
        """Hand over settings; an older revision than the agent's is refused (409)."""
        return await self._call("PUT", f"/v1/destinations/{_segment(destination)}", DestinationView, body=put)

    async def delete_destination(self, destination: str) -> None:
        """Forget the settings; 409 while in use. One that isn't there is fine."""
        try:
            await self._while_alive(self._send("DELETE", f"/v1/destinations/{_segment(destination)}"))
        except AgentRefused as refused:
            if refused.agent_status != 404:
                raise

    async def check_destination(self, destination: str, check: CheckDestination) -> CheckReport:
        """Run checks against the real store, and make or attach the repository when asked."""
        path = f"/v1/destinations/{_segment(destination)}/check"
        return await self._call("POST", path, CheckReport, body=check, deadline=self._deadlines.check)

    async def post_command(self, command: PostCommand) -> CommandView:
        """Hand over a command. The same again is the same command."""
        view = await self._while_alive(self._call("POST", "/v1/commands", CommandView, body=command))
        return self._bulk.with_known_tables(self._about(command.id, view))

    async def command(self, command: str) -> CommandView:
        """Where a command stands; refused with 404 when the agent never accepted it."""
        async with self._bulk.views:
            view = await self._while_alive(self._call("GET", f"/v1/commands/{_segment(command)}", CommandView))
        return self._bulk.with_known_tables(self._about(command, view))

    async def cancel_command(self, command: str, *, force: bool = False) -> CommandView:
        """Ask for an end; refused with `past_the_point_of_return` where cancelling can't undo."""
        query = [("force", "true")] if force else []
        view = await self._call("DELETE", f"/v1/commands/{_segment(command)}", CommandView, query=query)
        return self._about(command, view)

    async def backups(self, destination: str | None) -> list[BackupView]:
        """The backups of a destination as this agent sees them; None: those on its own server."""
        query = [("destination", destination)] if destination else []
        read = partial(read_backups, self.url, self._bulk)
        return await self._read_large("/v1/backups", self._deadlines.listing, self._bulk.backups, read, query)

    async def backup(self, tag: str, destination: str | None) -> BackupView:
        """One backup with plan and manifests; refused with 404 when it isn't there."""
        query = [("destination", destination)] if destination else []
        read, path = partial(self._whole, _decode_backup), f"/v1/backups/{_segment(tag)}"
        view = await self._read_large(path, self._deadlines.listing, self._bulk.backups, read, query)
        return self._bulk.with_known_plan(view)

    async def put_plan(self, tag: str, destination: str | None, plan: Plan) -> None:
        """Put plan.json of a backup (in the destination, or in the agent's on-server state)."""
        query = [("destination", destination)] if destination else []
        async with self._bulk.turn:
            await self._send("PUT", f"/v1/backups/{_segment(tag)}/plan", query=query, body=plan)

    async def put_record(self, tag: str, destination: str | None, record: Record) -> None:
        """Put the next listing record of a backup."""
        query = [("destination", destination)] if destination else []
        async with self._bulk.turn:
            await self._send("PUT", f"/v1/backups/{_segment(tag)}/record", query=query, body=record)

    async def put_job(self, document: JobDocument) -> JobDocument:
        """Let the agent keep the document of a job that stops nodes; one older than it has is refused (409)."""
        return await self._call("PUT", f"/v1/jobs/{_segment(document.id)}", JobDocument, body=document)

    async def job(self, job: str) -> JobDocument:
        """The document of a job; refused with 404 when the agent has none."""
        return await self._call("GET", f"/v1/jobs/{_segment(job)}", JobDocument)

    async def jobs(self, *, running: bool = False) -> list[JobDocument]:
        """All documents that the agent keeps, ended ones too unless only those of `running` jobs are wanted."""
        return await self._call("GET", f"/v1/jobs{'?running=true' if running else ''}", list[JobDocument])

    async def archiving(self) -> ArchivingView:
        """How the node archives its commit log; refused with 404 by an agent that can't."""
        return await self._while_alive(self._call("GET", "/v1/archiving", ArchivingView))

    async def events(self, after: int, *, interval: int = 0) -> AsyncIterator[Event | None]:
        """The event log after a sequence, as it grows (SSE); None whenever the agent only shows that it lives.
        `interval`: seconds between two reports of mere progress, 0 = as the agent likes; agents that don't know it
        refuse it.

        Ends when the agent closes the stream; raises `AgentUnreachable` when it breaks or falls silent."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._deadlines.connect, sock_read=self._deadlines.silence
        )
        query = {"interval": str(interval)} if interval else {}
        await self._bulk.begin()
        try:
            async with self._session.get(
                f"{self.url}/v1/events", params=query, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise self._refusal(response.status, await whole_body(response, MOST_OF_AN_ANSWER))
                async for data in event_data(response.content):
                    yield await self._bulk.decoded(data, self._event, reported=True) if data else None
                    del data  # of a thousand nodes that end a phase each is a hundred KB
        except TooLarge as wrong:
            raise self._unreadable(wrong) from wrong
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
            raise self._lost("GET", "/v1/events", broken) from broken

    async def _while_alive(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """The call's answer, which may take its time while the agent shows that it lives: a report waits for Cassandra.
        A process that is frozen accepts connections and says nothing, ever."""
        try:
            await self._bulk.begin()
        except BaseException:
            call.close()
            raise
        began = asyncio.get_running_loop().time()
        asked = asyncio.create_task(call)
        try:
            await asyncio.wait({asked}, timeout=self._deadlines.probe / 2)
            # Of a large answer that has begun it is our own turn that is waited for.
            if not asked.done() and self._heard < began:
                await self._probe(self._deadlines.probe / 2)
            return await asked
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _probe(self, seconds: float) -> None:
        """Return once the agent has answered anything at all."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        try:
            async with self._session.get(f"{self.url}/health", timeout=limits, allow_redirects=False):
                return
        except aiohttp.ConnectionTimeoutError as broken:
            raise self._lost("GET", "/health", broken) from broken
        except TimeoutError as silent:
            raise AgentUnreachable(
                f"The agent at {self.url} accepts connections but doesn't answer", agent=self.url, call="GET /health"
            ) from silent
        except (aiohttp.ClientError, ConnectionError) as broken:
            raise self._lost("GET", "/health", broken) from broken

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object = None,
        deadline: float | None = None,
    ) -> Answer:
        content = await self._send(method, path, query=query, body=body, deadline=deadline)
        return await self._bulk.decoded(content, partial(self._decoded, answer=answer), reported=True)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object = None,
        deadline: float | None = None,
    ) -> bytes:
        limits = aiohttp.ClientTimeout(total=deadline or self._deadlines.call, sock_connect=self._deadlines.connect)
        # As a file: aiohttp writes that in parts, and holds large bytes for a mistake.
        data = None if body is None else io.BytesIO(msgspec.json.encode(body))
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if method != "GET":
            await self._hold()
        try:
            async with self._session.request(
                method,
                self.url + path,
                params=list(query),
                data=data,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                content = await whole_body(response, MOST_OF_AN_ANSWER)
        except TooLarge as wrong:
            raise self._unreadable(wrong) from wrong
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
            raise self._lost(method, path, broken) from broken
        if response.status >= 300:
            raise self._refusal(response.status, content)
        return content

    async def _read_large(
        self,
        path: str,
        deadline: float,
        turn: asyncio.Semaphore,
        read: Callable[[aiohttp.ClientResponse, float], Awaitable[Answer]],
        query: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """The answer to a GET that may be large: begun by all at once, `read` in its `turn`. The deadline holds for
        its begin, and again for reading it: waiting for a turn is no fault of the agent's."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._deadlines.connect, sock_read=deadline)
        try:
            async with (
                self._session.get(
                    self.url + path, params=list(query), timeout=limits, allow_redirects=False
                ) as response,
                self._noted(),
                turn,
            ):
                if response.status >= 300:
                    async with asyncio.timeout(deadline):
                        raise self._refusal(response.status, await whole_body(response, MOST_OF_AN_ANSWER))
                return await read(response, deadline)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
            raise self._lost("GET", path, broken) from broken
        except (*_NO_ANSWER, TooLarge, NoArray) as wrong:
            raise self._unreadable(wrong) from wrong

    async def _whole(
        self, decode: Callable[[bytes], Answer], response: aiohttp.ClientResponse, deadline: float
    ) -> Answer:
        async with asyncio.timeout(deadline):
            content = await whole_body(response, MOST_OF_AN_ANSWER)
        return await self._bulk.decoded(content, decode)

    @asynccontextmanager
    async def _noted(self) -> AsyncIterator[None]:
        """The agent has begun to answer."""
        self._heard = asyncio.get_running_loop().time()
        yield

    def _lost(self, method: str, path: str, broken: Exception) -> AgentUnreachable:
        return AgentUnreachable(
            f"The agent at {self.url} can't be reached: {_reason(broken)}", agent=self.url, call=f"{method} {path}"
        )

    def _refusal(self, status: int, content: bytes) -> AgentRefused | AgentMisbehaved:
        try:
            error = msgspec.json.decode(content, type=dict[str, Any])
        except _NO_ANSWER:
            error = {}
        if "code" not in error:
            return AgentMisbehaved(f"The agent at {self.url} answered {status} without an error object", agent=self.url)
        return AgentRefused(self.url, status, error)

    def _about(self, command: str, view: CommandView) -> CommandView:
        """The view, if it is of that command: else an agent could tell how another node's command stands."""
        if view.id != command:
            raise AgentMisbehaved(f"The agent at {self.url} answered for another command than asked", agent=self.url)
        return view

    def _event(self, content: bytes) -> Event:
        return self._decoded(content, Event)

    def _decoded(self, content: bytes, answer: type[Answer]) -> Answer:
        try:
            return of_later.read(content, answer)
        except _NO_ANSWER as wrong:
            raise self._unreadable(wrong) from wrong

    def _unreadable(self, wrong: Exception) -> AgentMisbehaved:
        return AgentMisbehaved(f"The agent at {self.url} answered what can't be read: {wrong}", agent=self.url)


def _reason(broken: Exception) -> str:
    """Why a call broke, in words; aiohttp's own text repeats host and port, and how TLS is set up where none is."""
    if isinstance(broken, TimeoutError):
        return "no answer in time"
    if isinstance(broken, aiohttp.ClientConnectorCertificateError):
        return str(broken.certificate_error)
    if isinstance(broken, aiohttp.ClientConnectorError):
        cause = broken.os_error
        if cause.errno and not isinstance(cause, (ssl.SSLError, socket.gaierror)):
            return os.strerror(cause.errno)
        return str(cause.strerror or cause)
    return str(broken) or type(broken).__name__


def _segment(text: str) -> str:
    return quote(text, safe="")
