"""Restore to a point in time: the arguments of its phases, their results, and the job's own document.

Times are unix seconds by the node's clock, but for the point itself, which is microseconds since 1970.
"""

from typing import Any, Literal

import msgspec

from agent.wire.archiving import LogGap
from agent.wire.commands import Target
from agent.wire.node import Tables
from agent.wire.results import ViewCql, VolumeNeed


class PitArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every phase is told. `tag`, `source`: the snapshot (None = on this node). `logs`: where the segments are
    (None = those kept on this node). `tables`: fully named, never empty but for pit_check (empty = all of the backup).
    `force`: go on over gaps, cut segments and replay errors. `leave`: only for pit_undo, whether the node stays
    stopped. `views`: only for pit_tables, keyspace → views that are dropped. `others`: only for pit_check,
    backups beside that one whose windows are told."""

    tag: str
    pit_micros: int
    tables: Tables
    source: Target | None = None
    logs: Target | None = None
    force: bool = False
    throttle_bytes_per_second: int = 0
    views: Tables = {}
    others: list[str] = []
    leave: bool = False
    late_seconds: float = 10_800.0
    """writes with a time before the point may arrive so much later (hints): segments opened up to then are replayed"""


class PitTable(msgspec.Struct, frozen=True):
    """What an asked table needs. `action`: keep, create (it is missing), recreate (another id, or other columns than at
    the point). `live_id` None: missing."""

    keyspace: str
    table: str
    id_at_pit: str
    live_id: str | None
    action: Literal["keep", "create", "recreate"]
    told: str = ""
    begins_empty: bool = False
    """the snapshot's SSTables are not placed: the table was made, or last truncated, between snapshot and point"""


class SchemaChange(msgspec.Struct, frozen=True):
    """A change of the schema that happened between `after` and `before`: `what` is made, dropped, recreated or
    altered; `table` "" for the keyspace itself."""

    keyspace: str
    table: str
    what: Literal["made", "dropped", "recreated", "altered"]
    after: float
    before: float
    told: str = ""


class PitCheckResult(msgspec.Struct, frozen=True):
    """What a node knows before anything is changed. `taken_from`, `taken_until`: the snapshot was taken between them.
    `newest_write_micros`: the newest write in the asked tables' SSTables, by the clients' time, and `newest_write_in`
    which table. `floor`: the first segment that is needed. `covered_until`: the archive lacks nothing from the floor up
    to then; `own_log`: whether the node's own commit log goes on from there without a gap. `windows`: [from, until]
    pairs of points that are possible on this node with this snapshot; `other_windows`: tag → the same of each backup in
    `others` that could be read. `refusals` are error objects, any one stops the restore unless `force` lifts it."""

    taken_from: float
    taken_until: float
    floor: str
    segments: int
    segment_bytes: int
    files: int
    bytes: int
    covered_until: float | None
    own_log: bool
    windows: list[list[float]]
    gaps: list[LogGap]
    tables: list[PitTable]
    schema_changes: list[SchemaChange]
    schema_doubt: list[SchemaChange]
    """changes that may have been before or after the point: it lies between two looks at the schema"""
    topology_changes: list[str]
    lwt_tables: list[str]
    counter_tables: list[str]
    live_views: list[ViewCql]
    views_at_pit: list[ViewCql]
    precision: Literal["microseconds", "milliseconds", "seconds"]
    volumes: list[VolumeNeed]
    refusals: list[dict[str, object]]
    warnings: list[str]
    now: float
    newest_write_micros: int | None = None
    newest_write_in: str = ""
    hosts_at_snapshot: dict[str, list[str]] = {}
    """host id → tokens, as the node saw the ring when the snapshot was taken"""
    other_windows: dict[str, list[list[float]]] = {}


class PitFetchResult(msgspec.Struct, frozen=True):
    """What stands verified on the node."""

    files: int
    bytes: int
    segments: int
    segment_bytes: int
    left_out: list[str] = []
    """with `force`: segments that could not be had, or that Cassandra could not replay"""


class PitQuiesceResult(msgspec.Struct, frozen=True):
    """`hints_left`: address (of a node that is not in the ring its host id) → bytes of the hints for it that could not
    be delivered; they are set aside, not replayed."""

    hints_left: dict[str, int]
    warnings: list[str] = []


class PitCoverResult(msgspec.Struct, frozen=True):
    """With the node's own log added: the set lacks nothing from the floor up to `covered_until`, but for `gaps`."""

    covered_until: float | None
    gaps: list[LogGap]
    segments: int
    left_out: list[str] = []
    """with `force`: segments that could not be had, or that Cassandra could not replay"""


class PitPlaceResult(msgspec.Struct, frozen=True):
    """`set_aside`: directory → bytes of what was moved out of Cassandra's sight and is kept."""

    set_aside: dict[str, int]
    placed: dict[str, dict[str, int]]
    """keyspace → table → SSTables, those of its legacy indexes among them"""


class PitVerifyResult(msgspec.Struct, frozen=True):
    """After the start: what was replayed, and what went wrong on the way (log lines of Cassandra)."""

    replayed_segments: int
    replayed_mutations: int | None
    errors: list[str]
    indexes_rebuilt: list[str]
    warnings: list[str] = []


class JobDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PUT and GET /v1/jobs/{id}: what a coordinator must know to go on with a job that stops nodes; the agent keeps
    the document with the highest (fence, revision) and refuses a lower one with 409. `ended`: nobody needs to go on.
    `document` is the coordinator's own."""

    id: str
    fence: int
    revision: int
    phase: str
    ended: bool
    document: dict[str, Any]
