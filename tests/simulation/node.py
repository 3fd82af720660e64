"""A node whose Cassandra is another process. In: tables as directories. Out: the agent's real snapshots of them, and
what its jobs ask of a node."""

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from agent.cassandra.errors import CassandraError, CassandraUnavailable, ImportFailed, SnapshotExists
from agent.cassandra.node import CassandraNode
from agent.cassandra.node_view import NodeLife
from agent.cassandra.protocol import MemberState, NodeControl
from agent.cassandra.service import CassandraService
from agent.cassandra.service_orders import ServiceOrders
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.snapshots import NodeSnapshots
from agent.model.snapshot import KeyspaceSchema, SnapshotInfo
from agent.plan.sstables import parse
from agent.wire.commands import SnapshotArguments
from agent.wire.node import KeyspaceView, NodeIdentity, Tables
from tests.fast.jobs.node import Node
from tests.simulation.loop import unix_now
from tests.simulation.process import Process

REWRITTEN = b" rewritten"
"""What an import adds to Statistics.db."""
_MOVE_SECONDS = 0.5
"""Longer than an agent takes to come back: it meets the imports of the one that died."""


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
        """See `NodeOrders.import_sstables`."""
        return await self._process.request(
            "import",
            f"{keyspace}.{table} {len(directories)}",
            lambda: imported(self._node, keyspace, table, directories),
            lambda: CassandraUnavailable("no answer to import"),
        )

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


async def imported(node: Node, keyspace: str, table: str, directories: Sequence[Path]) -> str:
    """Move the SSTables in, one file after the other, as Cassandra does whatever becomes of who asked: under new
    generations, Data.db last, with Statistics.db rewritten at its source. What is taken from under it stops it, and
    leaves files in the table's directory that it knows nothing of."""
    waiting = node.importing.get((keyspace, table))
    if waiting is None:
        node.importing[keyspace, table] = []
    else:
        turn = asyncio.Event()
        waiting.append(turn)
        await turn.wait()
    try:
        if missing := [str(path) for path in directories if not path.is_dir()]:
            raise ImportFailed(f"no such directories: {missing}")
        for directory in directories:
            names = sorted(path.name for path in directory.iterdir())
            for sstable in sorted({found.sstable for name in names if (found := parse(name)) is not None}):
                await _moved(node, directory, sstable, node.table(keyspace, table))
    except FileNotFoundError as error:
        raise ImportFailed(f"an SSTable was taken from under the import: {error}") from error
    finally:
        waiting = node.importing[keyspace, table]
        if waiting:
            waiting.pop().set()  # the one that came last, as with HotSpot's monitors
        else:
            del node.importing[keyspace, table]
    return ""


async def _moved(node: Node, directory: Path, sstable: str, live: Path) -> None:
    node.imported += 1
    version, _, form = sstable.split("-")
    new = f"{version}-{1000 + node.imported}-{form}"
    statistics = directory / f"{sstable}-Statistics.db"
    rewritten = statistics.with_suffix(".tmp")  # renamed over it: another inode than the one that is held
    rewritten.write_bytes(statistics.read_bytes() + REWRITTEN)
    rewritten.rename(statistics)
    for path in sorted(directory.glob(f"{sstable}-*"), key=lambda path: path.name.endswith("-Data.db")):
        path.rename(live / path.name.replace(sstable, new, 1))
        await asyncio.sleep(_MOVE_SECONDS)


class _Rows:
    """Every table shows a row."""

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[tuple[int]]:
        return [(1,)]


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

    async def life(self) -> NodeLife:
        return NodeLife(self._node.identity().host_id, 1)

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
        self.cql = _Rows()
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
        # It is never stopped, and its log isn't archived.
        self.orders = ServiceOrders(settings.nodetool, lambda: nothing)
        self.service = CassandraService(settings, self.orders)

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
