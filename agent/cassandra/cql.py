"""The one connection to this node's CQL door. In: statements. Out: rows as dictionaries, or a `CassandraError`.

The only module that imports the driver. It is made at the first question, kept, and made anew when it broke (Cassandra
was restarted); the driver works in threads of its own, the event loop never waits.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cassandra import (
    AuthenticationFailed,
    DriverException,
    OperationTimedOut,
    RequestExecutionException,
    RequestValidationException,
    Unauthorized,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import ConstantReconnectionPolicy, FallthroughRetryPolicy, WhiteListRoundRobinPolicy
from cassandra.protocol import ErrorMessage
from cassandra.query import SimpleStatement, dict_factory

from agent.cassandra.errors import (
    CassandraDenied,
    CassandraError,
    CassandraUnavailable,
    CassandraUntrusted,
    QueryFailed,
)
from agent.cassandra.settings import CqlSettings
from kit.config import read_secret, secret_path
from kit.errors import HelenusError

Row = dict[str, Any]
Answer = TypeVar("Answer")

_SHOWN = 300
_BROKEN = (NoHostAvailable, ConnectionException, OSError)
_SLACK_SECONDS = 5.0
"""What the driver's own deadlines get on top before nobody waits for it any more."""

_PROTOCOL = 4
"""What every supported Cassandra speaks: no negotiation, no warning about it."""


class Unanswered(CassandraUnavailable):
    """Nobody waits for the answer any more: whether the driver got the question out is not known."""


class Cql:
    """Questions and changes to the local node alone. Safe to call from several tasks."""

    def __init__(self, settings: CqlSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="cql")
        self._lock = threading.Lock()
        self._cluster: Cluster | None = None
        self._session: Session | None = None

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[Row]:
        """Every row of a question (SELECT or DESCRIBE), read page by page, at LOCAL_ONE with this node as coordinator.

        A broken connection is made anew once. `deadline` in seconds (default: the setting).
        Raises `CassandraUnavailable`, `CassandraDenied`, `CassandraUntrusted`, `QueryFailed`.
        """
        seconds = deadline or self._settings.request_seconds
        return await self._in_thread(lambda: self._ask(statement, seconds), statement, seconds * 2)

    async def change(
        self, statement: str, *, deadline: float | None = None, guard: Callable[[], None] | None = None
    ) -> None:
        """Execute a statement that changes something, exactly once: nothing is sent again when its outcome is unknown.

        `guard` is called last of all, when the connection was proved and only the sending is left; what it raises ends
        the change unsent. Raises as `rows`; `CassandraUnavailable` with `outcome_unknown=True` when it may have been
        executed, also when the driver itself did not come back. What was not sent by then is not sent later.
        """
        seconds = deadline or self._settings.change_seconds
        await self.rows("SELECT key FROM system.local")  # a dead connection shows here, where asking again is harmless
        given_up = threading.Event()

        def work() -> None:
            self._change(statement, seconds, guard, given_up)

        try:
            await self._in_thread(work, statement, seconds)
        except Unanswered as error:
            raise self._unknown(statement, error.message) from None
        finally:
            given_up.set()  # a thread that nobody waits for any more sends nothing

    async def close(self) -> None:
        """Give back connection and threads."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._drop, self._session)
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], Answer], statement: str, seconds: float) -> Answer:
        allowed = seconds + self._settings.connect_seconds * 2 + _SLACK_SECONDS
        try:
            async with asyncio.timeout(allowed):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise Unanswered(
                f"Cassandra at {self._where()} did not answer within {allowed:.0f} s", address=self._where()
            ) from None
        except HelenusError:
            raise
        except Exception as error:  # noqa: BLE001 the driver's own exceptions end here, mapped
            raise self._mapped(error, statement) from None

    def _ask(self, statement: str, seconds: float) -> list[Row]:
        reused = self._session is not None
        session = self._connected()
        try:
            return self._fetch(session, statement, seconds)
        except _BROKEN:
            self._drop(session)
            if not reused:
                raise
        session = self._connected()
        try:
            return self._fetch(session, statement, seconds)
        except _BROKEN:
            self._drop(session)
            raise

    def _change(
        self, statement: str, seconds: float, guard: Callable[[], None] | None, given_up: threading.Event
    ) -> None:
        session = self._connected()
        if given_up.is_set():
            return
        if guard is not None:
            guard()
        try:
            self._fetch(session, statement, seconds)
        except (*_BROKEN, OperationTimedOut) as error:
            self._drop(session)
            raise self._unknown(statement, _reason(error)) from None

    def _unknown(self, statement: str, reason: str) -> CassandraUnavailable:
        return CassandraUnavailable(
            f"Cassandra at {self._where()} did not say whether it executed: {statement[:_SHOWN]}",
            statement=statement[:_SHOWN],
            outcome_unknown=True,
            reason=reason,
        )

    def _fetch(self, session: Session, statement: str, seconds: float) -> list[Row]:
        return list(session.execute(SimpleStatement(statement, fetch_size=2000), timeout=seconds))

    def _connected(self) -> Session:
        with self._lock:
            if self._session is not None:
                return self._session
            cluster = self._made()
            try:
                session = cluster.connect()
            except BaseException:
                cluster.shutdown()
                raise
            self._cluster, self._session = cluster, session
            return session

    def _made(self) -> Cluster:
        wanted = self._settings
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([wanted.host]),
            retry_policy=FallthroughRetryPolicy(),
            row_factory=dict_factory,
            request_timeout=wanted.request_seconds,
        )
        return Cluster(
            [wanted.host],
            port=wanted.port,
            auth_provider=self._credentials(),
            ssl_context=self._tls(),
            ssl_options={"server_hostname": wanted.host} if wanted.tls is not None else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=_PROTOCOL,
            connect_timeout=wanted.connect_seconds,
            control_connection_timeout=wanted.connect_seconds,
            max_schema_agreement_wait=0,
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
            reconnection_policy=ConstantReconnectionPolicy(2.0, None),
            idle_heartbeat_interval=30,
            executor_threads=2,
            application_name="helenus-agent",
        )

    def _credentials(self) -> PlainTextAuthProvider | None:
        wanted = self._settings
        if not wanted.username:
            return None
        secret = read_secret(wanted.password_file, setting="cassandra.cql.password_file")
        return PlainTextAuthProvider(wanted.username, secret.reveal())

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._settings.tls
        if tls is None:
            return None
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = tls.verify_hostname
        if tls.certificate_file:
            key = secret_path(tls.key_file, setting="cassandra.cql.tls.key_file") if tls.key_file else None
            context.load_cert_chain(Path(tls.certificate_file), key)
        return context

    def _drop(self, session: Session | None) -> None:
        with self._lock:
            if session is None or session is not self._session:
                return
            cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is not None:
            with contextlib.suppress(Exception):  # it is broken already; what closing it says helps nobody
                cluster.shutdown()

    def _where(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _mapped(self, error: Exception, statement: str) -> CassandraError:
        where, shown = self._where(), statement[:_SHOWN]
        causes = list(_causes(error))
        if any(isinstance(cause, AuthenticationFailed | Unauthorized) for cause in causes):
            return CassandraDenied(
                f"Cassandra at {where} refused the user «{self._settings.username}»: {_reason(causes[-1])}",
                address=where,
                username=self._settings.username,
                statement=shown,
            )
        untrusted = next((cause for cause in causes if _is_of_tls(cause)), None)
        if untrusted is not None:
            return CassandraUntrusted(
                f"no TLS with Cassandra at {where}: {_reason(untrusted)}", address=where, reason=_reason(untrusted)
            )
        if isinstance(error, RequestValidationException | RequestExecutionException | ErrorMessage):
            return QueryFailed(f"Cassandra refused: {shown}: {_reason(error)}", statement=shown, reason=_reason(error))
        if isinstance(error, (*_BROKEN, OperationTimedOut)):
            return CassandraUnavailable(
                f"Cassandra at {where} does not answer: {_reason(causes[-1])}",
                address=where,
                reason=_reason(causes[-1]),
            )
        kind = QueryFailed if isinstance(error, DriverException) else CassandraUnavailable
        return kind(f"the question to Cassandra at {where} failed: {_reason(error)}", address=where, statement=shown)


def _causes(error: Exception) -> Iterable[Exception]:
    yield error
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        yield from (cause for cause in error.errors.values() if isinstance(cause, Exception))


def _is_of_tls(error: Exception) -> bool:
    """Whether TLS itself failed, not a connection that went away in the midst of it. The driver raises an OSError of
    its own with the number and the text of OpenSSL's."""
    return isinstance(error, OSError) and error.errno == ssl.SSL_ERROR_SSL and "[SSL" in str(error)


def _reason(error: BaseException) -> str:
    """Why, in words: the driver puts its own hosts, numbers and call names around them."""
    if isinstance(error, OperationTimedOut):
        said = "no answer in time"
    elif isinstance(error, NoHostAvailable):
        inner = error.errors.values() if isinstance(error.errors, dict) else ()
        said = "; ".join(_reason(one) for one in inner if isinstance(one, Exception)) or str(error.args[0])
    elif isinstance(error, OSError):
        said = (error.strerror or str(error)).rpartition("Last error: ")[2]
    else:
        said = str(error)
    return (said or type(error).__name__)[:_SHOWN]
