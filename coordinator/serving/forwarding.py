"""What a coordinator that doesn't lead passes on. In: a request that its own doors let in. Out: the leader's answer, as
it comes; or an error that says why there is none.

The client's own credentials go along, and the leader judges them by the sessions and users that all coordinators share.
They go to the address that stands in the lease, which only who may write the state can change, and only over TLS, or
within one machine.
"""

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
import structlog
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from coordinator.model.errors import CoordinatorError
from coordinator.model.leading import Lease
from coordinator.opscenter.errors import error_answer
from coordinator.opscenter.streamed import Reader
from coordinator.opscenter.turns import READING_SECONDS
from kit.config import ConfigError
from kit.http_sending import cut_off
from kit.http_settings import is_loopback
from kit.seldom import Seldom

PASSED_ON = "Helenus-Passed-On"
"""Stands in a request that a coordinator passes on. Such a one is passed on no further: two coordinators that each hold
the other for the leader would send it round for ever."""
HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "proxy-connection", "expect",
    }
)  # fmt: skip
"""Headers of one connection, not of the request."""
OF_THE_BODY = frozenset({"content-length", "content-encoding"})
"""Of a request's body as it came; it goes on whole and unpacked."""
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 300.0
"""After so long without a byte the leader counts as unreachable: a check of a slow store takes minutes."""

log = structlog.get_logger(__name__)


class NoLeader(CoordinatorError):
    """No coordinator leads at the moment, or the one that was asked doesn't any more."""

    code = "no_leader"
    retry = "later"
    status = 503
    todo = (
        "Send it again in some seconds: another coordinator takes the lead as soon as that of the former one has "
        "ended. If it stays so, look whether the Cassandra that holds the state answers."
    )


class LeaderUnreachable(CoordinatorError):
    """The coordinator that leads gave no answer to this one."""

    code = "leader_unreachable"
    retry = "later"
    status = 503
    todo = (
        "Send it again in some seconds, or to the leader itself. If it stays so, see that the coordinators reach each "
        "other at their [leading] url, and that [leading] ca_file proves it."
    )


class AskTheLeader(CoordinatorError):
    """A client certificate proves who holds its key; it can't be passed on to the leader."""

    code = "ask_the_leader"
    status = 421
    todo = "Send the request to the coordinator that leads; the message names its URL."


class Reached(msgspec.Struct, frozen=True):
    """`url`: where other coordinators reach this one, "" = as it listens. `tls`: what proves theirs, None = what this
    machine trusts."""

    url: str = ""
    tls: ssl.SSLContext | None = None


def is_safe(url: str) -> bool:
    """Whether credentials may be sent there: over TLS, or within this machine."""
    parts = URL(url)
    if parts.scheme == "https":
        return bool(parts.host)
    try:
        return parts.scheme == "http" and is_loopback(parts.host or "", setting="url")
    except ConfigError:  # a name: it could mean any address
        return False


def reached_at(url: str, host: str, listens_at: str) -> str:
    """Where other coordinators are told to reach this one: at its `[leading] url`, or, without one (""), as it listens
    on the `host`. Raises `ConfigError` if they could not."""
    if url:
        return url
    # Of all addresses at once none can be told.
    if (host != "localhost" and ipaddress.ip_address(host).is_unspecified) or not is_safe(listens_at):
        raise ConfigError(
            f"«leading.url» is missing: other coordinators can't reach this one at {listens_at}", setting="leading.url"
        )
    return listens_at


class Forwarding:
    """Use as `async with Forwarding(…) as forwarding`; `pass_on` is the endpoint. `leader`: whose lease was seen last.
    `me`: what is written into the header. `certificate`: whether this coordinator lets in by client certificates."""

    def __init__(
        self,
        leader: Callable[[], Lease | None],
        me: str,
        tls: ssl.SSLContext | None,
        *,
        certificate: bool,
        silent_seconds: float = SILENT_SECONDS,
        reading_seconds: float = READING_SECONDS,
    ) -> None:
        self._leader = leader
        self._me = me
        self._tls = tls
        self._certificate = certificate
        self._silent_seconds = silent_seconds
        self._reading_seconds = reading_seconds
        self._seldom = Seldom()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls is not None else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._silent_seconds),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """The leader's answer to the request."""
        try:
            return await self._passed_on(request)
        except (NoLeader, LeaderUnreachable, AskTheLeader) as error:
            untold = self._seldom.due(error.code)
            if untold is not None:
                log.warning("a request is not passed on", code=error.code, reason=error.message, untold=untold)
            return error_answer(error)

    async def _passed_on(self, request: web.Request) -> web.StreamResponse:
        leader = self._leader()
        if PASSED_ON in request.headers:
            raise NoLeader("another coordinator passed this on to one that doesn't lead: the lead has just changed")
        if leader is None:
            raise NoLeader("no coordinator leads at the moment; nothing was done")
        if self._certificate or leader.certificate:
            raise AskTheLeader(
                f"this coordinator doesn't lead, and can't pass on a client certificate; {leader.url} leads",
                leader=leader.url,
            )
        if not is_safe(leader.url):
            raise LeaderUnreachable(
                f"the leader says that it is reached at {leader.url}: credentials are sent over https, or to a "
                "loopback address; nothing was done",
                leader=leader.url,
            )
        body = await request.read() if request.body_exists else None
        try:
            asked = await self._session.request(
                request.method,
                _at(leader.url, request),
                headers=_passed(request.headers, self._me),
                data=body,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorError as broken:
            raise LeaderUnreachable(
                f"the leader at {leader.url} can't be reached from here; nothing was done", leader=leader.url
            ) from broken
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
            known = "" if request.method in ("GET", "HEAD") else "; whether it was done is not known: look before again"
            raise LeaderUnreachable(f"the leader at {leader.url} gave no answer{known}", leader=leader.url) from broken
        async with asked:
            return await _streamed(request, asked, self._reading_seconds)


def _at(leader: str, request: web.Request) -> URL:
    """The request's path and query, byte for byte, at the leader and nowhere else."""
    base = URL(leader)
    return URL.build(
        scheme=base.scheme,
        authority=base.raw_authority,
        path=request.rel_url.raw_path,
        query_string=request.rel_url.raw_query_string,
        encoded=True,
    )


def _passed(headers: "CIMultiDictProxy[str]", me: str) -> "CIMultiDict[str]":
    """Also Host: whose page may ask is judged by the name that the client used."""
    passed = _of_the_message(headers)
    for name in OF_THE_BODY:
        passed.popall(name, None)
    passed[PASSED_ON] = me
    return passed


def _of_the_message(headers: Mapping[str, str]) -> "CIMultiDict[str]":
    """Without those of the connection, and those that it names as its own."""
    own = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    kept = CIMultiDict[str]()
    for name, value in headers.items():
        if name.lower() not in HOP_BY_HOP | own:
            kept.add(name, value)
    return kept


async def _streamed(request: web.Request, asked: aiohttp.ClientResponse, seconds: float) -> web.StreamResponse:
    """`seconds`: how long a client may read nothing. One that is slower than the leader would let it be is cut off as
    the leader does: it keeps one of the leader's few turns, which reads as fast as it is read here."""
    answer = web.StreamResponse(status=asked.status, reason=asked.reason, headers=_of_the_message(asked.headers))
    await answer.prepare(request)
    reader = Reader(answer, seconds)
    chunks = asked.content.iter_any()
    while True:
        try:
            chunk = await anext(chunks, b"")
        except (aiohttp.ClientError, TimeoutError) as broken:
            log.warning("the leader's answer broke off", path=request.path, reason=type(broken).__name__)
            cut_off(request)
            return answer
        if not chunk:
            await answer.write_eof()
            return answer
        try:
            await reader.write(chunk)
        except ConnectionError:  # nobody is there any more to be answered
            return answer
        except TimeoutError:
            cut_off(request)
            return answer
