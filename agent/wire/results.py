"""The `result` of each kind of command, so that a coordinator can decode it. Read tolerantly: fields may be added."""

import msgspec

from agent.wire.node import Tables


class SnapshotResult(msgspec.Struct, frozen=True):
    """A taken snapshot. `bytes` and `files` of all its tables; `taken_at` unix seconds."""

    tag: str
    taken_at: float
    schema_version: str
    tables: Tables
    files: int
    bytes: int
    sizes: dict[str, int]
    """keyspace → bytes"""


class ScriptResult(msgspec.Struct, frozen=True):
    """Of a script that ended with 0. `files`: paths of the snapshot that it was offered on stdin; `output`: the end of
    what it said, on stdout and stderr, without control characters and the agent's secrets."""

    script: str
    files: int
    output: str


class TargetResult(msgspec.Struct, frozen=True):
    """What one destination got. `outcome`: success, failed, or partial (published without the tables that the error
    names). Put: written by this command; the rest was there. `warnings`: of tables that are in, plain sentences."""

    outcome: str
    files: int = 0
    bytes: int = 0
    put_objects: int = 0
    put_bytes: int = 0
    sizes: dict[str, int] = {}
    error: dict[str, object] | None = None
    warnings: list[str] = []


class UploadResult(msgspec.Struct, frozen=True):
    """Of upload, backup and sync: per destination id. `snapshot`: only of backup. `given_up`: tags of other snapshots
    of the agent that were cleared meanwhile, because a data volume was nearly full."""

    targets: dict[str, TargetResult]
    snapshot: SnapshotResult | None = None
    snapshot_cleared: bool = False
    given_up: list[str] = []


class FreedPart(msgspec.Struct, frozen=True):
    """Stored bytes and number of the objects that only one backup needs."""

    bytes: int
    objects: int


class FreedResult(msgspec.Struct, frozen=True):
    """Of delete and sweep: bytes of data freed, objects removed, tags whose manifest of this node went. `dry_run`:
    nothing went, this is what would. `backups`: of a sweep's dry run, for each tag of `as_deleted` of which the node
    has a manifest, what the deletion of that one alone frees; what only several of them need is in the sums alone.
    `locked`: what nobody needs and object lock still holds, so that it goes with a later sweep; the sums of a dry run
    count it too. When that is, unix seconds: `first_unlocked_at` the first of it, told by what deletes, and
    `all_unlocked_at` all of it, told by a dry run, which looks at each object."""

    bytes_freed: int = 0
    objects: int = 0
    tags: list[str] = []
    dry_run: bool = False
    backups: dict[str, FreedPart] = {}
    locked: FreedPart = FreedPart(0, 0)
    first_unlocked_at: float | None = None
    all_unlocked_at: float | None = None


class DamagedPlace(msgspec.Struct, frozen=True):
    """What a damaged or missing object takes from a backup. `table` and `file` are "" where all of the keyspace, or
    the table, is concerned, `key` names the object or manifest, `reason` is a few words."""

    tag: str
    keyspace: str
    table: str
    file: str
    key: str
    reason: str


class DamagedSegment(msgspec.Struct, frozen=True):
    """A segment of the archived commit log that can't be had: its file name, why, as a clause, and from when to when
    it was written (unix seconds)."""

    segment: str
    reason: str
    since: float
    until: float


class ScrubResult(msgspec.Struct, frozen=True):
    """Of scrub. `objects` and `bytes` were read and verified, of `slices` slices of 256, and `sampled` ones beside
    them; `manifests` were read as a whole. `damaged` and `missing` objects are all that are known, those of earlier
    scrubs that no backup has put anew included; manifests, plans and records count with them. `places` are the first
    of what they take from backups, `more_places` how many others there are; `backups` are the tags of all of them,
    unless `more_objects`: then more is damaged or missing than one scrub looks at. `healed`: noted before, and right
    now. `oldest_unread_seconds`: how long the byte that was unread for longest is unread; None where nothing is
    stored. `segments` of the commit log were looked at, `damaged_segments` are the first that can't be had,
    `more_segments` how many others there are."""

    objects: int = 0
    bytes: int = 0
    slices: int = 0
    sampled: int = 0
    manifests: int = 0
    damaged: int = 0
    missing: int = 0
    healed: int = 0
    places: list[DamagedPlace] = []
    more_places: int = 0
    backups: list[str] = []
    more_objects: bool = False
    oldest_unread_seconds: float | None = None
    segments: int = 0
    damaged_segments: list[DamagedSegment] = []
    more_segments: int = 0


class TableDifference(msgspec.Struct, frozen=True):
    """A table or type whose columns differ: both as CQL text. `told`: a clause for each column, type and field that
    differs."""

    keyspace: str
    name: str
    backup: str
    live: str
    told: list[str] = []


class ViewCql(msgspec.Struct, frozen=True):
    """A materialized view: its keyspace, name, base table and the statement that makes it."""

    keyspace: str
    name: str
    base: str
    statement: str


class VolumeNeed(msgspec.Struct, frozen=True):
    """Bytes that staging and the imported copy need on a volume, beside the bytes free there."""

    path: str
    needed_bytes: int
    free_bytes: int


class PreflightResult(msgspec.Struct, frozen=True):
    """What a node knows before anything is changed. `refusals` are error objects: any one stops the restore (the
    coordinator decides which `force` and `force_schema` lift by their code). `warnings` are plain sentences."""

    files: int
    bytes: int
    sstables: int
    tables_in_backup: Tables
    missing_keyspaces: list[str]
    missing_tables: Tables
    differences: list[TableDifference]
    replication_differs: dict[str, list[dict[str, str]]]
    """keyspace → [in the backup, live]"""
    live_views: list[ViewCql]
    """views based on the asked tables as they are now"""
    backup_views: list[ViewCql]
    """views based on the asked tables in the backup, but for those whose name is something else's now"""
    views_enabled: bool
    volumes: list[VolumeNeed]
    refusals: list[dict[str, object]]
    warnings: list[str]
    now: float
    auto_snapshot: bool = True
    """whether Cassandra keeps what is truncated or dropped here as a snapshot of its own"""


class FetchResult(msgspec.Struct, frozen=True):
    """What stands verified in held/: per keyspace and table [files, bytes, SSTables]."""

    tables: dict[str, dict[str, list[int]]]


class ImportResult(msgspec.Struct, frozen=True):
    """SSTables imported: keyspace → table → count of Data files."""

    imported: dict[str, dict[str, int]]
    warnings: list[str] = []


class CheckRestoreResult(msgspec.Struct, frozen=True):
    """Of check: nothing left in staging, the imported Data files equal the manifest's; warnings from sampled reads.
    `kept_snapshots`, `kept_bytes`: the node's `truncated-*` and `dropped-*` snapshots, which Cassandra
    made, and what only they hold; 0 with a warning where that can't be counted."""

    imported: dict[str, dict[str, int]]
    warnings: list[str]
    kept_snapshots: int = 0
    kept_bytes: int = 0


class PhaseResult(msgspec.Struct, frozen=True):
    """Of drop_views, truncate, schema, create_views and clean: what was done, as `keyspace.name` (clean: paths of the
    staging that was removed), and plain sentences to tell a person."""

    done: list[str]
    warnings: list[str] = []
