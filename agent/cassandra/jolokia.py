"""`NodeOrders` by a Jolokia agent in Cassandra's JVM: HTTP and JSON on loopback, without a JVM start per order.

Imports are handed to another control (nodetool): JMX takes a `Set` there, which Jolokia can't make of JSON.
"""

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from agent.cassandra.errors import (
    CassandraDenied,
    CassandraError,
    CassandraUnavailable,
    JolokiaFailed,
    SnapshotExists,
    TableNotFound,
)
from agent.cassandra.protocol import MemberState, NodeOrders
from agent.cassandra.settings import JolokiaSettings
from agent.wire.node import Tables
from kit.config import read_secret

_SERVICE = "org.apache.cassandra.db:type=StorageService"
_TAKE = "takeSnapshot(java.lang.String,java.util.Map,[Ljava.lang.String;)"
_CLEAR = "clearSnapshot(java.lang.String,[Ljava.lang.String;)"
"""Both signatures are there in 4.1 and 5.0 [T]."""

_RING = ("LiveNodes", "UnreachableNodes", "JoiningNodes", "LeavingNodes", "MovingNodes")
_SHOWN = 500
_GATEWAY = 502


class Jolokia:
    """Orders by HTTP to Jolokia; imports by `imports`."""

    def __init__(self, settings: JolokiaSettings, imports: NodeOrders) -> None:
        self._settings = settings
        self._imports = imports
        self._session: aiohttp.ClientSession | None = None

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """See `NodeOrders.snapshot`."""
        entities = [f"{keyspace}.{table}" for keyspace, names in tables.items() for table in names]
        options = {"skipFlush": "false"}
        if ttl_seconds is not None:
            options["ttl"] = f"{max(ttl_seconds, 60)}s"
        await self._execute(_TAKE, [tag, options, entities])

    async def clear_snapshot(self, tag: str) -> None:
        """See `NodeOrders.clear_snapshot`."""
        await self._execute(_CLEAR, [tag, []])

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        """See `NodeOrders.import_sstables`."""
        return await self._imports.import_sstables(keyspace, table, directories)

    async def members(self) -> dict[str, MemberState]:
        """See `NodeOrders.members`."""
        ring = await self._ask({"type": "read", "mbean": _SERVICE, "attribute": list(_RING)}, "ring")
        live, down, joining, leaving, moving = (frozenset(ring.get(name, ())) for name in _RING)
        states = {"JOINING": joining, "LEAVING": leaving, "MOVING": moving}
        return {
            address: MemberState(
                up=address in live,
                state=next((state for state, among in states.items() if address in among), "NORMAL"),
            )
            for address in live | down | joining | leaving | moving
        }

    async def host_id(self) -> str:
        """Who the node is that gets the orders, imports apart. The attribute is there in 4.1 and 5.0 [T]."""
        return str(await self._ask({"type": "read", "mbean": _SERVICE, "attribute": "LocalHostId"}, "LocalHostId"))

    async def close(self) -> None:
        """Close the HTTP connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _execute(self, operation: str, arguments: list[Any]) -> Any:
        request = {"type": "exec", "mbean": _SERVICE, "operation": operation, "arguments": arguments}
        return await self._ask(request, operation.partition("(")[0])

    async def _ask(self, request: dict[str, Any], operation: str) -> Any:
        seconds = self._settings.deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                async with self._opened().post(self._settings.url, json=request) as response:
                    if response.status in (401, 403):
                        raise CassandraDenied(f"Jolokia refused the agent's user in {operation}", operation=operation)
                    body = await response.read()
        except TimeoutError:
            raise CassandraUnavailable(
                f"Jolokia at {self._settings.url} did not answer {operation} within {seconds:.0f} s",
                operation=operation,
            ) from None
        except aiohttp.ClientError as error:
            raise CassandraUnavailable(
                f"Jolokia at {self._settings.url} can't be reached: {error}", operation=operation
            ) from None
        try:
            answer = json.loads(body)
            status = answer["status"]
        except (ValueError, KeyError, TypeError):
            if response.status >= _GATEWAY:  # something between that waited for Cassandra in vain
                raise CassandraUnavailable(
                    f"{self._settings.url} answered {operation} with HTTP {response.status}", operation=operation
                ) from None
            raise JolokiaFailed(f"{self._settings.url} does not speak Jolokia", operation=operation) from None
        if status != 200:
            raise _failure(operation, str(answer.get("error", ""))[:_SHOWN], status)
        return answer["value"]

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            wanted = self._settings
            headers = {}
            if wanted.username:
                secret = read_secret(wanted.password_file, setting="cassandra.jolokia.password_file")
                pair = base64.b64encode(f"{wanted.username}:{secret.reveal()}".encode()).decode()
                headers["Authorization"] = f"Basic {pair}"
            self._session = aiohttp.ClientSession(
                headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)
            )
        return self._session


def _failure(operation: str, reason: str, status: object) -> CassandraError:
    fields = {"operation": operation, "reason": reason, "status": status}
    if "already exists" in reason:
        return SnapshotExists(f"the node has a snapshot of that tag already: {reason}", **fields)
    if "Unknown keyspace/cf pair" in reason or "does not exist" in reason:
        return TableNotFound(f"Cassandra knows no such table: {reason}", **fields)
    if status == 403:
        return CassandraDenied(f"Jolokia's policy forbids {operation}: {reason}", **fields)
    return JolokiaFailed(f"Jolokia failed in {operation}: {reason}", **fields)
