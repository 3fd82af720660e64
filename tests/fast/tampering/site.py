"""A small real repository, made by the product's own jobs, and whoever reads it: what the tests tamper with.

Two clusters; of the first one node with three backups, t1, t2 and the deleted t0, of the other the same node with a t1.
`Made` is made once, each test gets a copy of its objects.
"""

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.crypto.keyring import Keyring
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.repository_source import RestoreSources
from agent.jobs.restore.tools import RestoreTools
from agent.model.manifest import Head, TablePart
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.keys import (
    REPOSITORY,
    cluster_key,
    deleted_key,
    manifest_key,
    plan_key,
    record_key,
)
from agent.repository.manifest import ManifestWriter, read_manifest
from agent.repository.manifest_frame import FrameHeader, FrameWriter
from agent.repository.on_server import OnServer
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.storage.protocol import OPEN, Storage
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from agent.wire.commands import BackupArguments, DeleteArguments, RestoreArguments, SnapshotArguments, Target
from agent.wire.results import FetchResult
from tests.fast.jobs.agent_in_memory import Agent, Command
from tests.fast.jobs.agent_in_memory import Repositories as InMemory
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.restore.context import Context
from tests.fast.storage.memory import MemoryStorage

OTHER_HOST = "99999999-2222-3333-4444-555555555555"
OTHER_CLUSTER = "c2"
CLUSTER = "c1"
REPOSITORY_ID = "r1"
TARGET = Target("d1", REPOSITORY_ID, CLUSTER)
MANY = 260
"""SSTables whose frame is too large to stand in a manifest."""
TABLES = {"shop": ["orders", "items"], "wide": ["many"]}

Objects = dict[str, tuple[bytes, float]]


@dataclass(frozen=True)
class Place:
    """A byte of an object, `at` from its beginning (or its end, when negative), and the table that it is about."""

    key: str
    at: int
    table: tuple[str, str] | None = None


@dataclass(frozen=True)
class Made:
    """The repository's objects, the places of each kind, and the live files they were made of."""

    objects: Objects
    places: dict[str, Place]
    keyring: Keyring | None
    files: dict[tuple[str, str, str], bytes]
    node: Node


class Known:
    """Keys that need no slot."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def prove(self) -> None:
        """Nothing has to be read."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        return self._keyring


def _keys(keyring: Keyring | None) -> Known | None:
    return None if keyring is None else Known(keyring)


class Repositories:
    """Opens the store as the agent does: the repository and the cluster must be those that the target names."""

    def __init__(self, storage: Storage, keyring: Keyring | None) -> None:
        self._storage = storage
        self._keyring = keyring

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
        await attach(
            self._storage,
            keys=_keys(self._keyring),
            initialise=False,
            repository_id=target.repository_id,
            cluster_id=target.cluster_id,
            cluster_name=None,
        )
        yield OpenedRepository(
            target.destination, self._storage, target.repository_id, target.cluster_id, OPEN, 4, self._keyring
        )


class Site:
    """A copy of the repository, and a node that restores from it into `place`."""

    def __init__(self, made: Made, place: Path) -> None:
        self.made = made
        self.store = MemoryStorage(clock=Clock())
        self.store._objects.update(made.objects)
        self.place = place
        self.data = place / "live" / "data"
        (self.data / "system").mkdir(parents=True)
        self.repositories = Repositories(self.store, made.keyring)
        self._cassandra = CassandraNode(CassandraSettings(data_directories=(str(self.data),)), place / "state")
        sources = RestoreSources(self.repositories, made.node, OnServer(place / "on-server"))
        self._fetch = FetchJob(RestoreTools(self._cassandra, sources, place / "state"))

    async def close(self) -> None:
        await self._cassandra.close()

    async def restore(
        self,
        tag: str = "t1",
        *,
        target: Target = TARGET,
        host_id: str = HOST,
        tables: dict[str, list[str]] = TABLES,
    ) -> dict[str, bytes]:
        """Fetch tables of a backup; the files that stand in staging afterwards, by keyspace/table/name."""
        arguments = RestoreArguments(tag, host_id, tables, source=target)
        result = (await self._fetch.run(Context(arguments))).result
        assert isinstance(result, FetchResult)
        held = next(self.data.parent.glob(".helenus*")).rglob("held")
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for root in held
            for path in root.rglob("*")
            if path.is_file()
        }

    def backup_agent(self) -> Agent:
        """An agent of the node the backups were made of; to be closed."""
        return _agent(self.made.node, self.store, self.place / "backup-agent", self.made.keyring)

    @asynccontextmanager
    async def catalogue(self) -> AsyncIterator[Catalogue]:
        async with self.repositories.opened(TARGET) as opened:
            yield Catalogue(opened, RecordCache())

    def flip(self, key: str, at: int, bit: int = 1) -> None:
        body, when = self.store._objects[key]
        changed = bytearray(body)
        changed[at] ^= bit
        self.store._objects[key] = (bytes(changed), when)

    def put(self, key: str, body: bytes) -> None:
        self.store._objects[key] = (body, 1.0)

    def body(self, key: str) -> bytes:
        return self.store._objects[key][0]

    async def forge(
        self,
        *,
        head: Callable[[Head], Head] = lambda head: head,
        part: Callable[[TablePart], TablePart] = lambda part: part,
        frame: bytes | None = None,
    ) -> None:
        """Put another manifest of t1, whole in itself: its head and the parts of shop.orders changed, or that table's
        frame replaced."""
        opened = _opened(self.store, self.made.keyring)
        manifest = await read_manifest(opened, "t1", HOST)
        writer = ManifestWriter(opened.form, manifest_key(CLUSTER, "t1", HOST))
        tables = []
        for one in manifest.head.tables:
            if (one.keyspace, one.table) == ("shop", "orders"):
                lines = FrameWriter(FrameHeader(one.keyspace, one.table, one.table_id))
                async for honest in manifest.parts(one):
                    lines.add(part(honest))
                forged = lines.close() if frame is None else frame
                offset, length = writer.inline(forged, one.keyspace, one.table)
                tables.append(msgspec.structs.replace(one, offset=offset, length=length, object=None))
        about = head(msgspec.structs.replace(manifest.head, tables=tuple(tables)))
        self.put(manifest_key(CLUSTER, "t1", HOST), b"".join(writer.close(about)))

    def swap(self, one: str, other: str) -> None:
        objects = self.store._objects
        objects[one], objects[other] = objects[other], objects[one]

    def outside(self) -> set[str]:
        """Every path but those below the staging directory and the job's own notes."""
        places = (self.place / "state", self.data.parent / ".helenus")
        paths = (path for path in self.place.rglob("*") if not str(path).startswith(tuple(map(str, places))))
        return {str(path) for path in paths}


def _agent(node: Node, store: MemoryStorage, state: Path, keyring: Keyring | None) -> Agent:
    keyrings = {} if keyring is None else {"d1": keyring}
    return Agent(node, {"d1": store}, state, repositories=InMemory({"d1": store}, keyrings))


def _opened(store: MemoryStorage, keyring: Keyring | None, cluster: str = CLUSTER) -> OpenedRepository:
    return OpenedRepository("d1", store, REPOSITORY_ID, cluster, OPEN, 4, keyring)


async def make(directory: Path, keyring: Keyring | None) -> Made:
    """Make the repository, encrypted where there are keys."""
    node = Node(directory / "node")
    node.sstable("shop", "orders", 1, 3_000_000)
    node.sstable("shop", "orders", 2, 900)
    node.sstable("shop", "items", 1, 2_000)
    for number in range(MANY):
        node.sstable("wide", "many", number, 10)
    store = MemoryStorage(clock=Clock())
    agent = _agent(node, store, directory / "state", keyring)
    for cluster, name in ((CLUSTER, "test"), (OTHER_CLUSTER, "other")):
        await attach(
            store,
            keys=_keys(keyring),
            initialise=True,
            repository_id=REPOSITORY_ID,
            cluster_id=cluster,
            cluster_name=name,
        )
    for tag in ("t0", "t1", "t2"):
        await _back_up(agent, _opened(store, keyring), tag, TARGET)
        node.sstable("shop", "items", 1, 2_500)
    other = Target("d1", REPOSITORY_ID, OTHER_CLUSTER)
    await _back_up(agent, _opened(store, keyring, OTHER_CLUSTER), "t1", other, command="other")
    await agent.delete.run(Command("delete", DeleteArguments("t0", TARGET)))
    agent.close()
    return Made(dict(store._objects), await _places(store, keyring), keyring, node.files(), node)


async def _back_up(agent: Agent, opened: OpenedRepository, tag: str, target: Target, command: str = "") -> None:
    catalogue = Catalogue(opened, RecordCache())
    nodes = [PlannedNode(HOST, "127.0.40.1", "dc1", "r1", ["1"])]
    plan = Plan(tag, f"b-{tag}", 1.0, "test", target.cluster_id, nodes, TABLES, {"shop": {"class": "x"}}, "v1")
    await catalogue.put_plan(plan)
    arguments = BackupArguments(SnapshotArguments(tag), [target])
    outcome = await agent.backup.run(Command(f"{command}{tag}", arguments))
    assert outcome.state.value == "success"
    await catalogue.put_record(
        Record(tag, f"b-{tag}", 1.0, "success", TABLES, [NodeRecord(HOST, "127.0.40.1", "success", {})], 2.0)
    )


async def _places(store: MemoryStorage, keyring: Keyring | None) -> dict[str, Place]:
    """A place of each kind, of the backup t1."""
    opened = _opened(store, keyring)
    manifest = await read_manifest(opened, "t1", HOST)
    key = manifest_key(CLUSTER, "t1", HOST)
    body = store._objects[key][0]
    tail, length = struct.unpack(">QQ", body[-80:-64])
    frames = {(one.keyspace, one.table): one for one in manifest.head.tables}
    inline, large = frames["shop", "items"], frames["wide", "many"]
    assert inline.offset is not None
    assert large.object is not None
    parts = [part async for part in manifest.parts(frames["shop", "orders"])]
    data = next(file for part in parts for file in part.files if file.size == 3_000_000).pieces[0].object
    small = next(file for part in parts for file in part.files if file.name == "nb-2-big-Data.db").pieces[0].object

    def key_of(object_id: str) -> str:
        named = opened.form.name(bytes.fromhex(object_id)).hex()
        return next(key for key in store._objects if named in key)

    alike = [next(iter(part.objects)) async for part in manifest.parts(large)][:2]
    return {
        "data object": Place(key_of(data), 1_000_000, ("shop", "orders")),
        "pack": Place(key_of(small), 100, ("shop", "orders")),
        "data object's header": Place(key_of(data), 6, ("shop", "orders")),
        "data object's footer": Place(key_of(data), -1, ("shop", "orders")),
        "one of two alike": Place(key_of(alike[0]), 100, ("wide", "many")),
        "the other of two alike": Place(key_of(alike[1]), 100, ("wide", "many")),
        "table frame": Place(key_of(large.object), 5_000, ("wide", "many")),
        "manifest's beginning": Place(key, 3),
        "manifest's inline frame": Place(key, inline.offset + 40),
        "manifest's tail": Place(key, tail + length // 2),
        "manifest's trailer": Place(key, -70),
        "manifest's end": Place(key, -1),
        "plan": Place(plan_key(CLUSTER, "t1"), 30),
        "record": Place(record_key(CLUSTER, "t1", 0), 30),
        "mark": Place(deleted_key(CLUSTER, "t0"), 4),
        "repository.json": Place(REPOSITORY, 19),
        "cluster.json": Place(cluster_key(CLUSTER), 16),
    }
