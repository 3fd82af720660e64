"""A cluster small enough to hold in memory: nodes with rows, snapshots and directories, and every job of the protocol
done on them for real, so that what a coordinator makes agents do can be looked at."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from agent.model.job import Job, JobContext, Outcome
from agent.repository.errors import AdoptionRefused, BackupNotFound, UnknownDestination
from agent.wire.commands import LANES, Kind, RestoreArguments, State, Target
from agent.wire.destinations import ON_SERVER, Settings
from agent.wire.node import DataDirectory, KeyspaceView, NodeIdentity, RingMember
from agent.wire.results import (
    CheckRestoreResult,
    FetchResult,
    FreedResult,
    ImportResult,
    PhaseResult,
    PreflightResult,
    ScrubResult,
    SnapshotResult,
    TableDifference,
    UploadResult,
    ViewCql,
)
from kit.errors import HelenusError
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_point import ToyPoint
from tests.cluster.toy_puts import put
from tests.cluster.toy_repository import Held, Rows, counted, failed, sizes_of
from tests.cluster.toy_sweep import swept


class ToyFailure(HelenusError):
    """A failure that a test ordered; its code is the field `code`."""

    def __init__(self, code: str, message: str, **fields: object) -> None:
        super().__init__(message, **fields)
        self.ordered = code

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "code": self.ordered}


class ToyNode:
    """A node and its disk: what outlives the agent's process."""

    def __init__(self, world: "ToyCluster", number: int, host_id: str | None = None) -> None:
        self.world = world
        self.number = number
        self.host_id = host_id or str(uuid.UUID(int=number))
        self.address = f"127.0.80.{number}"
        self.tokens = [str(number * 1000), str(number * 1000 + 500)]
        self.up = True
        self.seen_up: bool | None = True
        """what the ring says of it: None as without nodetool"""
        self.held_up: dict[int, bool] = {}
        """by number: whom this node's failure detector holds for up or down, told only when it is asked for members"""
        self.stale: list[ViewCql] = []
        """views that are gone and that its next reports still tell of, each one once"""
        self.rows: dict[tuple[str, str], set[str]] = {}
        self.snapshots: dict[str, Rows] = {}
        self.makers: dict[str, str] = {}
        """tag → whose snapshot it is"""
        self.kept: set[str] = set()
        self.own = Held("on-server", {})
        self.destinations: dict[str, tuple[int, Settings, str | None, str | None]] = {}
        self.held: dict[str, Rows] = {}
        self.scripts: list[tuple[str, str]] = []  # when, and of which tag
        self.done: list[tuple[Kind, str]] = []
        self.failures: dict[Kind, list[Exception]] = {}
        self.refused_adoptions: list[Exception] = []
        """what the next sweeps, or syncs, of a node that left the ring fail with"""
        self.plan_failures: list[Exception] = []
        """what the next puts of a plan fail with"""
        self.record_failures: list[Exception] = []
        """what the next puts of a listing record fail with"""
        self.unreadable: Exception | None = None  # what its destinations fail with when they are listed
        self.gates: dict[Kind, asyncio.Event] = {}
        self.waits: dict[Kind, dict[str, Any]] = {}
        """what a command says it waits for at its gate"""
        self.warnings: list[str] = []
        """what its copies, imports, checks and cleanings tell a person"""
        self.damage: ScrubResult | None = None  # what its scrubs find
        self.adopted_damage: ScrubResult | None = None  # what they find of nodes that left
        self.clock_ahead = 0.0  # seconds
        self.full: set[str] = set()  # destinations that take nothing of it
        self.truncated_at: dict[str, int] = {}  # by table id, in milliseconds
        self.auto_snapshot = True
        self.point = ToyPoint()
        self.begun: dict[Kind, asyncio.Event] = {kind: asyncio.Event() for kind in Kind}

    def identity(self) -> NodeIdentity:
        return NodeIdentity(
            self.host_id, self.address, "Toy Cluster", "dc1", "r1", self.tokens, "5.0.9", "Murmur3", self.world.version
        )

    def member(self) -> RingMember:
        return RingMember(
            self.host_id,
            self.address,
            "dc1",
            "r1",
            "NORMAL",
            None if self.seen_up is None else self.up and self.seen_up,
            self.tokens,
            "5.0.9",
            self.world.version,
        )

    def data(self) -> list[DataDirectory]:
        return [DataDirectory("/data", "disk", 1000, 900)]

    def directory(self, target: Target) -> Held:
        """The repository that a command's target means on this node."""
        if target.destination not in self.destinations:
            raise UnknownDestination(f"no destination {target.destination}", destination=target.destination)
        place = self.world.place(self, self.destinations[target.destination][1])
        assert place is not None
        assert place.repository_id == target.repository_id
        assert target.cluster_id in place.clusters
        return place

    def copied(self, tables: dict[str, list[str]]) -> Rows:
        return {
            keyspace: {table: frozenset(self.rows.get((keyspace, table), ())) for table in names}
            for keyspace, names in tables.items()
        }


class ToyCluster:
    """Nodes, schema, and the directories and buckets of the world."""

    def __init__(self, nodes: int, tables: dict[str, list[str]]) -> None:
        self.version = "schema-1"
        self.tables: dict[str, dict[str, str]] = {
            keyspace: {table: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{keyspace}.{table}")) for table in names}
            for keyspace, names in tables.items()
        }
        self.columns: dict[tuple[str, str], str] = {}
        self.views: dict[tuple[str, str], ViewCql] = {}
        self.backup_views: list[ViewCql] = []
        """those that every backup holds"""
        self.replication = {"class": "SimpleStrategy", "replication_factor": "2"}
        self.places: dict[str, Held] = {}
        self.nodes = [ToyNode(self, number) for number in range(1, nodes + 1)]
        for node in self.nodes:
            for keyspace, names in tables.items():
                for table in names:
                    node.rows[keyspace, table] = {f"{keyspace}.{table} row {row} of {node.number}" for row in range(3)}

    def rows(self) -> dict[str, dict[tuple[str, str], set[str]]]:
        """All rows of all nodes: host id → table → rows."""
        return {node.host_id: {key: set(rows) for key, rows in node.rows.items()} for node in self.nodes}

    def keyspaces(self, stale: list[ViewCql]) -> dict[str, KeyspaceView]:
        """The schema, with these views in it as well."""
        return {
            keyspace: KeyspaceView(
                self.replication,
                True,
                dict(tables),
                {view.name: view.base for view in [*self.views.values(), *stale] if view.keyspace == keyspace},
            )
            for keyspace, tables in self.tables.items()
        }

    def empty(self, keyspace: str, table: str) -> None:
        """TRUNCATE, whoever sends it."""
        for node in self.nodes:
            before = node.truncated_at.get(self.tables[keyspace][table], 0)
            node.truncated_at[self.tables[keyspace][table]] = max(before + 1, int(unix_seconds() * 1000))
            node.rows[keyspace, table] = set()

    def place_key(self, node: ToyNode, settings: Settings) -> str:
        shared = getattr(settings, "shared", True)
        return settings.path if shared else f"{node.number}:{settings.path}"

    def place(self, node: ToyNode, settings: Settings) -> Held | None:
        return self.places.get(self.place_key(node, settings))

    def count(self, kind: Kind) -> int:
        """How often a kind of work was really done, on all nodes."""
        return sum(done is kind for node in self.nodes for done, _ in node.done)


def toy_jobs(node: ToyNode) -> dict[Kind, tuple[str, Job]]:
    """Kind → (lane, job) of a node, of those that backups and restores consist of."""
    jobs = _Jobs(node)
    names = {kind: kind.value if kind is not Kind.IMPORT else "import_" for kind in Kind}
    return {
        kind: (LANES[kind], watched(node, kind, getattr(jobs, name)))
        for kind, name in names.items()
        if hasattr(jobs, name)
    }


def watched(node: ToyNode, kind: Kind, work: Callable[[JobContext, Any], msgspec.Struct]) -> Job:
    """A job with a test's gate before it, and its ordered failures."""

    async def job(context: JobContext) -> Outcome:
        node.begun[kind].set()
        if kind in node.gates:
            context.waiting(node.waits.get(kind))
            await node.gates[kind].wait()
            context.waiting(None)
        if context.stop_requested:
            code = "import_stopped" if kind is Kind.IMPORT else "stopped"
            raise ToyFailure(code, "a person stopped it", imported={"shop": {"orders": 1}})
        if node.failures.get(kind):
            raise node.failures[kind].pop(0)
        result = work(context, context.arguments)
        if failed(result):
            return Outcome(result, State.PARTIAL, {"code": "copy_partial", "message": "some destinations failed"})
        node.done.append((kind, context.command_id))
        return Outcome(result)

    return job


class _Jobs:
    """What each kind does, all at once: nothing here waits."""

    def __init__(self, node: ToyNode) -> None:
        self._node = node
        self._world = node.world

    def snapshot(self, context: JobContext, asked: Any) -> SnapshotResult:
        node = self._node
        if asked.tag in node.snapshots:
            raise ToyFailure("snapshot_exists", asked.tag)
        tables = {ks: sorted(names or self._world.tables[ks]) for ks, names in asked.keyspaces.items()}
        node.snapshots[asked.tag] = node.copied(tables)
        node.makers[asked.tag] = asked.made_by
        if asked.keep:
            assert asked.tag in node.own.plans, "an on-server backup without its plan"
            node.kept.add(asked.tag)
            node.own.manifests[asked.tag, node.host_id] = node.snapshots[asked.tag]
        counted(context, ON_SERVER, node.snapshots[asked.tag])
        sizes = sizes_of(node.snapshots[asked.tag])
        return SnapshotResult(asked.tag, unix_seconds(), self._world.version, tables, 3, sum(sizes.values()), sizes)

    def upload(self, context: JobContext, asked: Any) -> UploadResult:
        result = self._copy(context, asked)
        if asked.tag not in self._node.kept and not failed(result):
            del self._node.snapshots[asked.tag], self._node.makers[asked.tag]
        return result

    def sync(self, context: JobContext, asked: Any) -> UploadResult:
        host_id = asked.source_host_id
        if asked.source is None:
            assert asked.tag in self._node.kept
            return self._copy(context, asked)
        if host_id != self._node.host_id:
            self._take_over(host_id)
        manifests = self._node.directory(asked.source).manifests
        if (asked.tag, host_id) not in manifests:
            raise BackupNotFound(f"no manifest of the node {host_id} in {asked.tag}", tag=asked.tag)
        return put(self._node, context, asked, manifests[asked.tag, host_id], host_id)

    def _copy(self, context: JobContext, asked: Any) -> UploadResult:
        return put(self._node, context, asked, self._node.snapshots[asked.tag], self._node.host_id)

    def delete(self, context: JobContext, asked: Any) -> FreedResult:
        node = self._node
        if asked.target is not None:
            place = node.directory(asked.target)
            if asked.made_by and (asked.tag not in place.plans or place.plans[asked.tag].made_by != asked.made_by):
                raise BackupNotFound(f"no backup {asked.tag} of {asked.made_by}", tag=asked.tag)
            place.marks.add(asked.tag)
            return FreedResult()
        plan = node.own.plans.get(asked.tag)
        there = asked.tag in node.snapshots or plan is not None or asked.tag in node.own.records
        made_by = node.makers.get(asked.tag, plan.made_by if plan is not None else "")
        beside = plan is not None and made_by != asked.made_by == plan.made_by != ""  # another one's snapshot
        if not there or (asked.made_by not in ("", made_by) and not beside):
            raise BackupNotFound(f"no on-server backup {asked.tag}", tag=asked.tag)
        if asked.dry_run:
            held = {} if beside else node.snapshots.get(asked.tag, {})
            return FreedResult(sum(sizes_of(held).values()), 1 if held else 0, dry_run=True)
        gone = {} if beside else node.snapshots.pop(asked.tag, {})
        if not beside:
            node.makers.pop(asked.tag, None)
        node.kept.discard(asked.tag)
        for kept in (node.own.plans, node.own.records):
            kept.pop(asked.tag, None)
        node.own.manifests.pop((asked.tag, node.host_id), None)
        return FreedResult(sum(sizes_of(gone).values()), 1 if gone else 0)

    def sweep(self, context: JobContext, asked: Any) -> FreedResult:
        if asked.adopt:
            self._take_over(asked.adopt)
        return swept(self._node.directory(asked.target), asked, asked.adopt or self._node.host_id, sizes_of)

    def _take_over(self, host_id: str) -> None:
        if self._node.refused_adoptions:
            raise self._node.refused_adoptions.pop()
        if host_id in {node.host_id for node in self._world.nodes}:
            raise AdoptionRefused(f"the node {host_id} is in the ring", host_id=host_id)

    def scrub(self, context: JobContext, asked: Any) -> ScrubResult:
        if asked.adopt:
            self._take_over(asked.adopt)
        host_id = asked.adopt or self._node.host_id
        named = [key for key in self._node.directory(asked.target).manifests if key[1] == host_id]
        found = (self._node.adopted_damage if asked.adopt else self._node.damage) or ScrubResult()
        return msgspec.structs.replace(
            found, objects=len(named), manifests=len(named), oldest_unread_seconds=float(self._node.number)
        )

    def preflight(self, context: JobContext, asked: RestoreArguments) -> PreflightResult:
        world = self._world
        missing = {ks: [t for t in names if t not in world.tables.get(ks, {})] for ks, names in asked.tables.items()}
        emptied = (asked.truncate_keyspaces or [*asked.tables]) if asked.truncate else []
        refused: list[dict[str, object]] = []
        if "system_auth" in emptied and "system_auth" in asked.tables:
            refused.append({"code": "keyspace_refused", "message": "system_auth is not truncated"})
        if emptied and (down := [node.address for node in world.nodes if node.member().up is False]):
            refused.append({"code": "nodes_down", "message": "TRUNCATE needs every node", "fields": {"nodes": down}})
        live = [view for view in world.views.values() if view.base in asked.tables.get(view.keyspace, [])]
        return PreflightResult(
            files=1, bytes=1, sstables=1,
            tables_in_backup=asked.tables,
            missing_keyspaces=[ks for ks in asked.tables if ks not in world.tables],
            missing_tables={ks: names for ks, names in missing.items() if names},
            differences=[
                TableDifference(ks, table, "a int", columns)
                for (ks, table), columns in world.columns.items()
                if table in asked.tables.get(ks, [])
            ],
            replication_differs={}, live_views=live, backup_views=world.backup_views, views_enabled=True,
            volumes=[], refusals=refused, warnings=[], now=unix_seconds(), auto_snapshot=self._node.auto_snapshot,
        )  # fmt: skip

    def fetch(self, context: JobContext, asked: RestoreArguments) -> FetchResult:
        assert context.job is not None
        place = self._node.own if asked.source is None else self._node.directory(asked.source)
        rows = place.manifests.get((asked.tag, asked.source_host_id))
        if rows is None:
            raise BackupNotFound(f"no manifest of {asked.source_host_id}")
        held = {ks: {t: rows[ks][t] for t in names} for ks, names in asked.tables.items()}
        self._node.held[context.job] = held
        counted(context, asked.source.destination if asked.source is not None else ON_SERVER, held)
        return FetchResult({})

    def drop_views(self, context: JobContext, asked: RestoreArguments) -> FreedResult:
        for keyspace, names in asked.views.items():
            for name in names:
                self._world.views.pop((keyspace, name), None)
        return FreedResult()

    def truncate(self, context: JobContext, asked: RestoreArguments) -> FreedResult:
        for keyspace, names in asked.tables.items():
            for table in names:
                self._world.empty(keyspace, table)
        return FreedResult()

    def schema(self, context: JobContext, asked: RestoreArguments) -> FreedResult:
        for keyspace, names in asked.tables.items():
            self._world.tables.setdefault(keyspace, {})
            for table in names:
                self._world.tables[keyspace].setdefault(table, str(uuid.uuid4()))
                if table in asked.replace.get(keyspace, []):
                    self._world.tables[keyspace][table] = str(uuid.uuid4())
                    self._world.columns.pop((keyspace, table), None)
                    for node in self._world.nodes:
                        node.rows[keyspace, table] = set()
        return FreedResult()

    def import_(self, context: JobContext, asked: RestoreArguments) -> ImportResult:
        assert context.job is not None
        assert not any(view.base in asked.tables.get(ks, []) for (ks, _), view in self._world.views.items())
        for keyspace, tables in self._node.held[context.job].items():
            for table, rows in tables.items():
                assert table in self._world.tables[keyspace], "an import into a table that isn't there"
                place = asked.source.destination if asked.source is not None else ON_SERVER
                context.tally.expect(place, keyspace, table, 1, 0)
                context.tally.done(place, keyspace, table, 1, 0)
                self._node.rows.setdefault((keyspace, table), set()).update(rows)
        return ImportResult({ks: dict.fromkeys(names, 1) for ks, names in asked.tables.items()}, self._node.warnings)

    def create_views(self, context: JobContext, asked: RestoreArguments) -> FreedResult:
        for statement in asked.statements:
            keyspace, name, base = statement.split()
            self._world.views[keyspace, name] = ViewCql(keyspace, name, base, statement)
        return FreedResult()

    def check(self, context: JobContext, asked: RestoreArguments) -> CheckRestoreResult:
        return CheckRestoreResult({}, self._node.warnings, 1, 50)

    def clean(self, context: JobContext, asked: RestoreArguments) -> PhaseResult:
        assert context.job is not None
        self._node.held.pop(context.job, None)
        return PhaseResult([], self._node.warnings)
