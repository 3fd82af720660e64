"""The connection to the Cassandra that holds the state. In: statements. Out: rows, or `Unanswered`, or `Refused`.

The coordinator's only module that imports the driver. It works in threads of its own, reconnects by itself, and never
sends anything a second time; the event loop never waits.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from cassandra import AuthenticationFailed, ConsistencyLevel, RequestValidationException, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, ResponseFuture, Session
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, FallthroughRetryPolicy
from cassandra.protocol import RequestValidationException as Invalid
from cassandra.protocol import UnauthorizedErrorMessage
from cassandra.query import BatchStatement, BatchType, PreparedStatement, SimpleStatement, tuple_factory

from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.errors import Refusal, Refused, Unanswered
from coordinator.store.protocol import Hold
from kit.config import ConfigError
from kit.secret import Secret

Values = Sequence[Any]
Rows = list[tuple[Any, ...]]

PAGE_ROWS = 500
_AT_ONCE = 64
"""Questions under way; more wait here, where their patience still counts."""
_OF_LEAD = 4
"""Those of who leads, beside the others."""
_PROTOCOL = 4
"""What every supported Cassandra speaks."""
_SHOWN = 300
_SLACK_SECONDS = 5.0
"""What the driver's own deadlines get on top before nobody waits for it any more."""

_LOGIN_REFUSED = ("incorrect", "not permitted to log in", "requires authentication")
"""What Cassandra says of a role or password that is wrong, a role without LOGIN, and the driver of settings that name
none."""
_NOT_THERE = ("does not exist", "doesn't exist", "unconfigured table")
"""What Cassandra's versions say of a table or keyspace that was dropped."""


class Statement(NamedTuple):
    """CQL with its values, in order."""

    text: str
    values: Values


async def _at_once() -> None:
    return None


class Caller(NamedTuple):
    """Whose statements they are. `turns`: in which queue they wait while too many are under way. `hold`: awaited as the
    last thing before a write is sent."""

    turns: asyncio.Semaphore
    hold: Hold = _at_once


class Driver:
    """`connect` it, `close` it. `ask`, `write`, `batch` and `pages` prepare each text once; `by`: whose they are."""

    def __init__(self, settings: StateSettings, password: Secret | None, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._password = password
        self._tls = tls
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="state-cql")
        self.anybody = Caller(asyncio.Semaphore(_AT_ONCE))
        self.lead = Caller(asyncio.Semaphore(_OF_LEAD))  # its renewals must not wait behind all that a leader does
        self._cluster: Cluster | None = None
        self._closed = False
        self._session: Session | None = None
        self._prepared: dict[str, PreparedStatement] = {}
        local = settings.quorum == "local_dc"
        self.serial = ConsistencyLevel.LOCAL_SERIAL if local else ConsistencyLevel.SERIAL
        self._quorum = ConsistencyLevel.LOCAL_QUORUM if local else ConsistencyLevel.QUORUM

    async def connect(self) -> None:
        """Connect. Raises `Unanswered`, `Refused`, `ConfigError`."""
        await self._in_thread(self._connect, self._settings.connect_seconds * (2 + len(self._settings.contact_points)))

    async def close(self) -> None:
        """Let go of connections and threads."""
        self._closed = True
        cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is not None:
            with contextlib.suppress(Unanswered):  # what closing says helps nobody
                await self._in_thread(cluster.shutdown, self._settings.connect_seconds)
        self._threads.shutdown(wait=False)

    def nodes_of(self) -> dict[str, int]:
        """How many nodes each data centre has, as far as the driver knows."""
        found: dict[str, int] = {}
        for host in () if self._cluster is None else self._cluster.metadata.all_hosts():
            found[str(host.datacenter)] = found.get(str(host.datacenter), 0) + 1
        return found

    def host_ids(self) -> frozenset[str]:
        """Of all nodes of the cluster, as far as the driver knows."""
        hosts = () if self._cluster is None else self._cluster.metadata.all_hosts()
        return frozenset(str(host.host_id) for host in hosts if host.host_id is not None)

    async def execute(self, text: str) -> Rows:
        """A statement as it stands, for the schema; after a change of it the nodes have agreed, or ten seconds went."""
        return await self._answer(SimpleStatement(text))

    async def ask(self, text: str, values: Values = (), *, by: Caller | None = None, serial: bool = False) -> Rows:
        """All rows of a question; `serial`: as Paxos has decided so far, and decides for good."""
        rows: Rows = []
        async for page in self.pages(text, values, by=by, serial=serial):
            rows += page
        return rows

    async def pages(
        self, text: str, values: Values = (), *, by: Caller | None = None, serial: bool = False
    ) -> AsyncIterator[Rows]:
        """The rows, page by page."""
        turns = (by or self.anybody).turns
        bound = (await self._prepare(text)).bind(values)
        bound.fetch_size = PAGE_ROWS
        if serial:
            bound.consistency_level = self.serial
        async with turns:
            asked = _Asked(self._send(bound))
            page = await self._within(asked.page())
        yield page
        while asked.future.has_more_pages:
            async with turns:
                asked.fetch_next()
                page = await self._within(asked.page())
            yield page

    async def write(self, text: str, values: Values, *, by: Caller | None = None) -> Rows:
        """One write."""
        return await self._answer((await self._prepare(text)).bind(values), by)

    async def batch(self, statements: Sequence[Statement], *, by: Caller | None = None) -> Rows:
        """Writes of one partition, together; where one has a condition, only if it holds: the first column says."""
        batch = BatchStatement(BatchType.UNLOGGED)
        for statement in statements:
            batch.add((await self._prepare(statement.text)).bind(statement.values))
        return await self._answer(batch, by)

    async def _answer(self, statement: object, by: Caller | None = None) -> Rows:
        turns, hold = by or self.anybody
        async with turns:
            await hold()  # after all that may last; from here to the socket nothing waits
            return await self._within(_Asked(self._send(statement)).page())

    def _send(self, statement: object) -> ResponseFuture:
        if self._session is None:
            raise Unanswered("not connected")
        try:
            return self._session.execute_async(statement)
        except Exception as error:  # noqa: BLE001 the driver's own exceptions end here, mapped
            raise mapped(error, self._settings) from None

    async def _within(self, answer: "asyncio.Future[Rows]") -> Rows:
        try:
            # Not `wait_for`, which forgets to be cancelled when the answer comes just then: who is to end would ask on.
            async with asyncio.timeout(self._settings.request_seconds + _SLACK_SECONDS):
                return await answer
        except TimeoutError:
            raise Unanswered("the driver did not come back") from None
        except (Unanswered, Refused):
            raise
        except Exception as error:  # noqa: BLE001 as above
            raise mapped(error, self._settings) from None

    async def _prepare(self, text: str) -> PreparedStatement:
        known = self._prepared.get(text)
        if known is None:
            session = self._session
            if session is None:
                raise Unanswered("not connected")
            known = await self._in_thread(lambda: session.prepare(text), self._settings.request_seconds)
            self._prepared[text] = known
        return known

    async def _in_thread(self, work: Callable[[], Any], seconds: float) -> Any:
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            async with asyncio.timeout(seconds + _SLACK_SECONDS):  # as above
                return await running
        except TimeoutError:
            raise Unanswered("the driver did not come back") from None
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 as above
            raise mapped(error, self._settings) from None

    def _connect(self) -> None:
        wanted = self._settings
        profile = ExecutionProfile(
            # Not token aware: that would make the driver read the whole schema, with thousands of tables of others.
            load_balancing_policy=DCAwareRoundRobinPolicy(wanted.local_dc),
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=self._quorum,
            serial_consistency_level=self.serial,
            row_factory=tuple_factory,
            request_timeout=wanted.request_seconds,
        )
        cluster = Cluster(
            wanted.contact_points,
            port=wanted.port,
            auth_provider=None if self._password is None else _credentials(wanted.username, self._password),
            ssl_context=self._tls,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=_PROTOCOL,
            connect_timeout=wanted.connect_seconds,
            control_connection_timeout=wanted.connect_seconds,
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
            reconnection_policy=ConstantReconnectionPolicy(1.0, None),
            idle_heartbeat_interval=10,
            idle_heartbeat_timeout=10,
            application_name="helenus-coordinator",
        )
        try:
            self._session = cluster.connect()
        except BaseException as error:
            known = sorted({str(host.datacenter) for host in cluster.metadata.all_hosts() if host.datacenter})
            cluster.shutdown()
            if isinstance(error, NoHostAvailable):
                refuse_unknown(wanted.local_dc, known)
            raise
        self._cluster = cluster
        if self._closed:  # nobody waited so long; `close` had nothing to let go of
            self._cluster = self._session = None
            cluster.shutdown()


class _Asked:
    """The pages of one question, handed from the driver's thread to the event loop."""

    def __init__(self, future: ResponseFuture) -> None:
        self.future = future
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[Rows] = self._loop.create_future()
        future.add_callbacks(self._came, self._failed)

    def page(self) -> "asyncio.Future[Rows]":
        """The page that was asked for."""
        return self._next

    def fetch_next(self) -> None:
        """Ask for the page after it."""
        self._next = self._loop.create_future()
        self.future.start_fetching_next_page()

    def _came(self, rows: Iterable[tuple[Any, ...]] | None) -> None:
        self._hand_over(self._next.set_result, list(rows or ()))

    def _failed(self, error: Exception) -> None:
        self._hand_over(self._next.set_exception, error)

    def _hand_over(self, settle: Any, value: object) -> None:
        waiting = self._next

        def settled() -> None:
            if not waiting.done():  # else nobody waits any more
                settle(value)

        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(settled)


def refuse_unknown(local_dc: str, known: Sequence[str]) -> None:
    """Raise `ConfigError` for a data centre of the settings ("" = none named) that is none of the `known` ones, as a
    node has told them. It tells also those whose nodes are all down: to wait for another one is to wait for ever."""
    if local_dc and known and local_dc not in known:
        raise ConfigError(
            f"«state.local_dc»: no node of a data centre «{local_dc}» is known to the Cassandra that was asked; known: "
            f"{', '.join(known)}",
            setting="state.local_dc",
        )


def mapped(error: Exception, settings: StateSettings) -> Unanswered | Refused:
    """Whether asking again can help. All that isn't a plain refusal may have been done or not."""
    for cause in _causes(error):
        what = _refusal(cause)
        if what is not None:
            return Refused(_reason(cause), what, settings.keyspace, settings.username)
    return Unanswered(_reason(error))


def _refusal(error: Exception) -> Refusal | None:
    said = str(error)
    if isinstance(error, AuthenticationFailed):
        # Anything else that it says: the node can't look the role up now.
        return Refusal.LOGIN if any(words in said for words in _LOGIN_REFUSED) else None
    if "Unable to perform authorization" in said:
        return None  # nor what it may
    if _is_of_tls(error):
        return Refusal.TLS
    if not isinstance(error, RequestValidationException | Invalid):
        return None
    if isinstance(error, Unauthorized | UnauthorizedErrorMessage):
        return Refusal.RIGHT
    return Refusal.TABLE if any(words in said for words in _NOT_THERE) else Refusal.OTHER


def _causes(error: Exception) -> Iterable[Exception]:
    yield error
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        yield from (cause for cause in error.errors.values() if isinstance(cause, Exception))


def _is_of_tls(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == ssl.SSL_ERROR_SSL and "[SSL" in str(error)


def _reason(error: Exception) -> str:
    said = "; ".join(str(cause) for cause in _causes(error) if str(cause)) or type(error).__name__
    return " ".join(said.split())[:_SHOWN]


def _credentials(username: str, password: Secret) -> PlainTextAuthProvider:
    return PlainTextAuthProvider(username, password.reveal())
