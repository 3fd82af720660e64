"""A node whose Cassandra is another process. In: tables as directories. Out: the agent's real snapshots of them, and
what its jobs ask of a node."""

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from agent.cassandra.errors import CassandraError, CassandraUnavailable, SnapshotExists
from agent.cassandra.node import CassandraNode
from agent.cassandra.protocol import MemberState, NodeControl
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.snapshots import NodeSnapshots
from agent.model.snapshot import KeyspaceSchema, SnapshotInfo
from agent.wire.commands import SnapshotArguments
from agent.wire.node import KeyspaceView, NodeIdentity, Tables
from tests.fast.jobs.node import Node
from tests.simulation.loop import unix_now
from tests.simulation.process import Process


class RemoteControl:
    """Keeps the protocol of `NodeControl`: an order is carried out by Cassandra, whatever becomes of the agent."""

    def __init__(self, node: Node, process: Process) -> None:
        self._node = node
        self._process = process

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """See `NodeOrders.snapshot`."""
        await self._order("snapshot", tag, lambda: self._snapshot(tag, tables))

    async def clear_snapshot(self, tag: str) -> None:
        """See `NodeOrders.clear_snapshot`."""
        await self._order("clearsnapshot", tag, lambda: self._clear(tag))

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        """Not asked for here."""
        raise NotImplementedError

    async def members(self) -> dict[str, MemberState]:
        """See `NodeOrders.members`."""
        return {"127.0.40.1": MemberState(True, "NORMAL")}

    async def prove(self) -> None:
        """These directories are the node."""

    async def cause(self, error: CassandraError) -> CassandraError:
        """As it seems."""
        return error

    async def _order(self, verb: str, tag: str, effect: Callable[[], Any]) -> None:
        await self._process.request(verb, tag, effect, lambda: CassandraUnavailable(f"no answer to {verb}"))

    async def _snapshot(self, tag: str, tables: Tables) -> None:
        for keyspace, names in tables.items():
            for table in names:
                if (self._node.table(keyspace, table) / "snapshots" / tag).exists():
                    raise SnapshotExists(f"{tag} exists")
                self._node._link(live := self._node.table(keyspace, table), tag)
                taken = live / "snapshots" / tag
                data = sorted(path.relative_to(taken).as_posix() for path in taken.rglob("*-Data.db"))
                (taken / "manifest.json").write_text(json.dumps({"files": data, "created_at": unix_now()}))

    async def _clear(self, tag: str) -> None:
        for path in self._node.data.glob(f"*/*/snapshots/{tag}"):
            shutil.rmtree(path)


class _Places:
    """The node's directories."""

    def __init__(self, node: Node) -> None:
        self._data = (str(node.data),)

    async def every(self) -> tuple[str, ...]:
        return self._data

    renew = data = fresh = every

    async def commitlog(self) -> str:
        return ""


class _View:
    """What the node says of itself."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def identity(self) -> NodeIdentity:
        return self._node.identity()

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        found: dict[str, KeyspaceView] = {}
        for keyspace, table in self._node.tables:
            view = found.setdefault(keyspace, KeyspaceView({}, True, {}, {}))
            view.tables[table] = self._node.table(keyspace, table).name.rpartition("-")[2]
        return found


class _Snapshots(NodeSnapshots):
    """The agent's own snapshots, beside a Cassandra that has no schema to ask for."""

    async def _take_settled(
        self, arguments: SnapshotArguments, copy_rate: float, chosen: Callable[[Tables], None]
    ) -> SnapshotInfo:
        tables: Tables = {name: sorted(view.tables) for name, view in (await self._view.keyspaces()).items()}
        chosen(tables)
        schema: asyncio.Future[tuple[KeyspaceSchema, ...]] = asyncio.get_running_loop().create_future()
        schema.set_result(tuple(KeyspaceSchema(name, {"class": "x"}, True, (), {}, {}) for name in tables))
        return await self._take_once(arguments, tables, schema, copy_rate)


class SimulatedNode:
    """What the agent's jobs ask of a `CassandraNode`."""

    def __init__(self, node: Node, settings: CassandraSettings, process: Process, state: Path) -> None:
        self.settings = settings
        self.view = _View(node)
        self.directories = _Places(node)
        self.control: NodeControl = RemoteControl(node, process)
        nothing: Any = None
        self.snapshots = _Snapshots(
            settings,
            self.control,
            nothing,
            cast("Any", self.view),
            nothing,
            cast("Any", self.directories),
            state,
            unix_now,
        )

    def as_node(self) -> CassandraNode:
        """Itself, for those that take a whole node."""
        return cast("CassandraNode", self)


def snapshot_tags(node: Node) -> set[str]:
    """The snapshots on the node, whoever took them."""
    return {path.name for path in node.data.glob("*/*/snapshots/*")}


def taken_files(node: Node, tag: str) -> dict[tuple[str, str, str], bytes]:
    """(keyspace, table, name) → bytes of a snapshot's files, but for those that it wrote itself."""
    found = {}
    for keyspace, table in node.tables:
        directory = node.table(keyspace, table) / "snapshots" / tag
        for path in directory.rglob("*"):
            if path.is_file() and path.name not in ("manifest.json", "schema.cql"):
                found[keyspace, table, path.relative_to(directory).as_posix()] = path.read_bytes()
    return found
