"""Driver sessions for tests: to a whole cluster, or to one node and no other.

In: addresses. Out: a connected cassandra-driver `Session`; `close` ends it together with its connections.
"""

import asyncio
import warnings
from collections.abc import Sequence
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the driver's own, while it chooses an event loop
    from cassandra import ConsistencyLevel, DriverException
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
    from cassandra.policies import (
        ConstantReconnectionPolicy,
        FallthroughRetryPolicy,
        RoundRobinPolicy,
        WhiteListRoundRobinPolicy,
    )
    from cassandra.protocol import ErrorMessage
    from cassandra.query import named_tuple_factory

from tests.cluster.cassandra import CassandraNode

SUPERUSER = ("cassandra", "cassandra")
"""Role and password that a node with authentication makes when it starts for the first time."""

STATEMENT_ERRORS = (ErrorMessage, DriverException, NoHostAvailable)
"""What a statement fails with: the server's refusals, the driver's own errors, no server."""


def reason_of(error: Exception) -> str:
    """What the server said, in one line, without the driver's codes around it."""
    inner = error.args[0] if error.args else None
    said = next((one.message for one in (error, inner) if isinstance(one, ErrorMessage)), str(error))
    return " ".join(str(said).split()) or type(error).__name__


def open_session(
    addresses: Sequence[str],
    port: int = 9042,
    *,
    only_these: bool = False,
    consistency: Any = ConsistencyLevel.QUORUM,
    credentials: tuple[str, str] | None = None,
    timeout: float = 60.0,
) -> Session:
    """A session whose statements take `timeout` seconds at most and are never tried twice.

    `only_these` pins it: statements go to these addresses alone, and so does the control connection.
    """
    policy = WhiteListRoundRobinPolicy(list(addresses)) if only_these else RoundRobinPolicy()
    profile = ExecutionProfile(
        load_balancing_policy=policy,
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=consistency,
        request_timeout=timeout,
        row_factory=named_tuple_factory,
    )
    cluster = Cluster(
        contact_points=list(addresses),
        port=port,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=PlainTextAuthProvider(*credentials) if credentials else None,
        protocol_version=5,
        reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
        connect_timeout=20,
        control_connection_timeout=20,
        max_schema_agreement_wait=60,
        schema_event_refresh_window=-1 if only_these else 0.2,
        idle_heartbeat_interval=0,
    )
    try:
        return cluster.connect()
    except BaseException:
        cluster.shutdown()
        raise


def close(session: Session) -> None:
    """End a session and its connections."""
    session.cluster.shutdown()


async def session_one(node: CassandraNode, credentials: tuple[str, str] | None = None) -> Session:
    """A session at ONE to this node alone: what it answers, it holds (given no speculation and no read repair)."""
    if credentials is None and node.spec.authentication:
        credentials = SUPERUSER
    return await _patiently([node.address], node.spec.native_port, True, ConsistencyLevel.ONE, credentials)


async def session_all(nodes: Sequence[CassandraNode], credentials: tuple[str, str] | None = None) -> Session:
    """A session at QUORUM to all these nodes."""
    if credentials is None and nodes[0].spec.authentication:
        credentials = SUPERUSER
    addresses = [node.address for node in nodes]
    return await _patiently(addresses, nodes[0].spec.native_port, False, ConsistencyLevel.QUORUM, credentials)


async def _patiently(
    addresses: list[str], port: int, only_these: bool, consistency: Any, credentials: tuple[str, str] | None
) -> Session:
    """Open a session; where passwords are asked, the first role appears some seconds after the node's start."""
    attempts = 60 if credentials else 3
    for attempt in range(attempts):
        try:
            return await asyncio.to_thread(
                open_session, addresses, port, only_these=only_these, consistency=consistency, credentials=credentials
            )
        except NoHostAvailable:
            if attempt + 1 == attempts:
                raise
            await asyncio.sleep(0.5)
    raise AssertionError("unreachable")
