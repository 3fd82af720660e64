"""A toy node's commit log and its part in restores to a point: rows that were written at a time, set aside, placed and
replayed in memory, with the order of things that the real ones need asserted."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from agent.model.job import Job, JobContext
from agent.wire.commands import LANES, Kind
from agent.wire.point_in_time import (
    PitArguments,
    PitCheckResult,
    PitCoverResult,
    PitFetchResult,
    PitPlaceResult,
    PitQuiesceResult,
    PitTable,
    PitVerifyResult,
)
from agent.wire.results import PhaseResult
from tests.cluster.toy_cluster import ToyFailure, ToyNode, watched
from tests.cluster.toy_point import Written
from tests.cluster.toy_repository import Rows


def write(node: ToyNode, keyspace: str, table: str, row: str, micros: int) -> None:
    """A client writes a row."""
    node.rows[keyspace, table].add(row)
    node.point.written.append(Written(micros, keyspace, table, row))


def point_in_time_jobs(node: ToyNode) -> dict[Kind, tuple[str, Job]]:
    """Kind → (lane, job) of a node."""
    jobs = _Jobs(node)
    kinds: dict[Kind, Callable[[JobContext, Any], msgspec.Struct]] = {
        Kind.PIT_CHECK: jobs.check,
        Kind.PIT_FETCH: jobs.fetch,
        Kind.PIT_TABLES: jobs.tables,
        Kind.PIT_QUIESCE: jobs.quiesce,
        Kind.PIT_STOP: jobs.stop,
        Kind.PIT_COVER: jobs.cover,
        Kind.PIT_PLACE: jobs.place,
        Kind.PIT_START: jobs.start,
        Kind.PIT_VERIFY: jobs.verify,
        Kind.PIT_OPEN: jobs.open,
        Kind.PIT_UNDO: jobs.undo,
        Kind.PIT_CLEAN: jobs.clean,
    }
    return {kind: (LANES[kind], watched(node, kind, work)) for kind, work in kinds.items()}


class _Jobs:
    def __init__(self, node: ToyNode) -> None:
        self._node = node
        self._world = node.world
        self._log = node.point

    def _part(self, asked: PitArguments) -> Rows:
        place = self._node.own if asked.source is None else self._node.directory(asked.source)
        rows = place.manifests.get((asked.tag, self._node.host_id))
        if rows is None:
            raise ToyFailure("backup_not_found", f"no part of {self._node.host_id} in {asked.tag}")
        return rows

    def check(self, context: JobContext, asked: PitArguments) -> PitCheckResult:
        if not self._node.up:
            raise ToyFailure("cassandra_unavailable", "Cassandra doesn't answer")
        place = self._node.own if asked.source is None else self._node.directory(asked.source)
        plan, part = place.plans[asked.tag], self._part(asked)
        in_backup = {keyspace: [*tables] for keyspace, tables in part.items() if not keyspace.startswith("system")}
        chosen = {keyspace: names or in_backup.get(keyspace, []) for keyspace, names in asked.tables.items()}
        tables = []
        for keyspace, names in (chosen or in_backup).items():
            for name in names:
                live = self._world.tables.get(keyspace, {}).get(name)
                then = self._log.ids_at_pit.get((keyspace, name), live or "")
                action: Literal["keep", "create", "recreate"] = "keep" if live == then else "recreate"
                if live is None:
                    action = "create"
                if keyspace in in_backup and name in in_backup[keyspace]:
                    tables.append(PitTable(keyspace, name, then, live, action))
        known = PitCheckResult(
            taken_from=plan.time,
            taken_until=self._log.taken_until or plan.time,
            floor="CommitLog-7-1.log",
            segments=2,
            segment_bytes=64,
            files=1,
            bytes=10,
            covered_until=asked.pit_micros / 1_000_000 + 60,
            own_log=True,
            windows=[[plan.time, plan.time + 1_000_000]],
            gaps=[],
            tables=tables,
            schema_changes=[],
            schema_doubt=[],
            topology_changes=[],
            lwt_tables=[],
            counter_tables=[],
            live_views=[view for view in self._world.views.values() if view.base in chosen.get(view.keyspace, [])]
            if chosen
            else [*self._world.views.values()],
            views_at_pit=self._world.backup_views,
            precision="microseconds",
            volumes=[],
            refusals=[],
            warnings=[],
            now=0.0,
            newest_write_micros=self._log.newest_writes.get(asked.tag),
            newest_write_in="shop.orders" if asked.tag in self._log.newest_writes else "",
            other_windows={tag: [[place.plans[tag].time, plan.time + 1_000_000]] for tag in asked.others},
            hosts_at_snapshot={planned.host_id: planned.tokens for planned in plan.nodes},
        )
        return msgspec.structs.replace(known, **self._log.found)

    def fetch(self, context: JobContext, asked: PitArguments) -> PitFetchResult:
        assert self._node.up
        part = self._part(asked)
        self._log.held[_job(context)] = {
            keyspace: {name: part[keyspace][name] for name in names if name in part.get(keyspace, {})}
            for keyspace, names in asked.tables.items()
        }
        return PitFetchResult(1, 10, 2, 64)

    def tables(self, context: JobContext, asked: PitArguments) -> PhaseResult:
        assert all(node.up for node in self._world.nodes), "DDL needs every node"
        for keyspace, names in asked.views.items():
            for name in names:
                self._world.views.pop((keyspace, name), None)
        for keyspace, names in asked.tables.items():
            for name in names:
                then = self._log.ids_at_pit.get((keyspace, name))
                live = self._world.tables.setdefault(keyspace, {})
                if live.get(name) is None or (then is not None and live[name] != then):
                    live[name] = then or f"id of {keyspace}.{name}"
                    for node in self._world.nodes:
                        node.rows[keyspace, name] = set()
        return PhaseResult([])

    def quiesce(self, context: JobContext, asked: PitArguments) -> PitQuiesceResult:
        self._log.refuse_kept_down(but=_job(context))
        self._begin()
        self._log.native = False
        self._log.began.add(_job(context))
        return PitQuiesceResult(self._log.hints)

    def stop(self, context: JobContext, asked: PitArguments) -> PhaseResult:
        assert not self._log.native or not self._node.up, "clients write to a node that is stopped"
        self._log.refuse_kept_down(but=_job(context))
        self._node.up = False
        self._log.blocks.add(_job(context))
        return PhaseResult([])

    def cover(self, context: JobContext, asked: PitArguments) -> PitCoverResult:
        assert not any(node.up for node in self._world.nodes), "every node is stopped before the logs are completed"
        covered = self._log.covered
        return PitCoverResult(asked.pit_micros / 1_000_000 if covered is None else covered, self._log.gaps, 3)

    def place(self, context: JobContext, asked: PitArguments) -> PitPlaceResult:
        assert not self._node.up
        log, job = self._log, _job(context)
        asked_tables = [(keyspace, name) for keyspace, names in asked.tables.items() for name in names]
        if job not in log.aside:
            log.aside[job] = {key: set(self._node.rows.get(key, ())) for key in asked_tables}
        for keyspace, name in asked_tables:
            self._node.rows[keyspace, name] = set(log.held[job].get(keyspace, {}).get(name, ()))
        return PitPlaceResult({"/data": 10}, {ks: dict.fromkeys(names, 1) for ks, names in asked.tables.items()})

    def start(self, context: JobContext, asked: PitArguments) -> PhaseResult:
        job = _job(context)
        assert all(job in node.point.aside for node in self._world.nodes), "a node starts before all have placed"
        self._begin()
        for each in self._log.written:
            if each.table in asked.tables.get(each.keyspace, []) and each.micros <= asked.pit_micros:
                self._node.rows[each.keyspace, each.table].add(each.row)
        return PhaseResult([])

    def _begin(self) -> None:
        if self._log.needs_peer and not any(node.up for node in self._world.nodes):
            raise ToyFailure("cassandra_did_not_start", "Unable to gossip with any peers")
        self._log.starts += not self._node.up
        self._node.up = True

    def verify(self, context: JobContext, asked: PitArguments) -> PitVerifyResult:
        self._begin()
        assert not self._log.native
        return PitVerifyResult(3, 7, self._log.replay_errors, [])

    def open(self, context: JobContext, asked: PitArguments) -> PhaseResult:
        self._begin()
        self._log.blocks.discard(_job(context))
        if self._log.shut:
            self._log.shut -= 1
            raise ToyFailure("native_transport_not_switched", "clients are not let in")
        self._log.native = True
        return PhaseResult([])

    def undo(self, context: JobContext, asked: PitArguments) -> PhaseResult:
        job = _job(context)
        if job in self._log.aside:
            self._node.rows.update(self._log.aside.pop(job))
        self._log.blocks.discard(job)
        if self._log.kept_down_by:
            return PhaseResult([], [f"Cassandra is left as it is: that is up to the restore {self._log.kept_down_by}"])
        if not self._node.up:
            self._begin()
        self._log.native = True
        return PhaseResult([])

    def clean(self, context: JobContext, asked: PitArguments) -> PhaseResult:
        assert self._log.kept_down_by or (self._node.up and self._log.native)
        for kept in (self._log.held, self._log.aside):
            kept.pop(_job(context), None)
        return PhaseResult([])


def _job(context: JobContext) -> str:
    assert context.job is not None
    return context.job
