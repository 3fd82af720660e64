"""Commands, their states, and what an agent reports of them."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec


class State(StrEnum):
    """Where a command stands. The last five are terminal: exactly one of them is reached, across restarts."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def terminal(self) -> bool:
        """Whether no other state follows."""
        return self not in (State.QUEUED, State.RUNNING, State.WAITING)


class Kind(StrEnum):
    """What an agent can be told to do. See the argument types below."""

    SNAPSHOT = "snapshot"
    SCRIPT = "script"
    UPLOAD = "upload"
    BACKUP = "backup"
    SYNC = "sync"
    DELETE = "delete"
    SWEEP = "sweep"
    SCRUB = "scrub"
    PREFLIGHT = "preflight"
    FETCH = "fetch"
    DROP_VIEWS = "drop_views"
    TRUNCATE = "truncate"
    SCHEMA = "schema"
    IMPORT = "import"
    CREATE_VIEWS = "create_views"
    CHECK = "check"
    CLEAN = "clean"
    ARCHIVE = "archive"
    TRIM_LOGS = "trim_logs"
    RESTART = "restart"
    PIT_CHECK = "pit_check"
    PIT_FETCH = "pit_fetch"
    PIT_TABLES = "pit_tables"
    PIT_QUIESCE = "pit_quiesce"
    PIT_STOP = "pit_stop"
    PIT_COVER = "pit_cover"
    PIT_PLACE = "pit_place"
    PIT_START = "pit_start"
    PIT_VERIFY = "pit_verify"
    PIT_OPEN = "pit_open"
    PIT_UNDO = "pit_undo"
    PIT_CLEAN = "pit_clean"


FENCED = frozenset(
    {
        Kind.DROP_VIEWS,
        Kind.TRUNCATE,
        Kind.SCHEMA,
        Kind.IMPORT,
        Kind.CREATE_VIEWS,
        Kind.RESTART,
        Kind.PIT_TABLES,
        Kind.PIT_QUIESCE,
        Kind.PIT_STOP,
        Kind.PIT_PLACE,
        Kind.PIT_START,
        Kind.PIT_OPEN,
        Kind.PIT_UNDO,
    }
)
"""Never resumed by an agent alone: found unfinished at its start they end `interrupted`."""

NOT_REPEATED = FENCED | {Kind.SCRIPT}
"""What is never begun a second time. A script can be cancelled, needs no job, and one that had not begun runs after the
agent's restart; one that had begun ends `interrupted`, for nobody knows what it does when it runs twice."""

_LANES = {
    "snapshot": [Kind.SNAPSHOT],
    "script": [Kind.SCRIPT],
    "data": [Kind.UPLOAD, Kind.BACKUP, Kind.SYNC, Kind.SWEEP, Kind.TRIM_LOGS],
    "delete": [Kind.DELETE],
    "scrub": [Kind.SCRUB],
    "fetch": [Kind.FETCH, Kind.PIT_FETCH],
    "archive": [Kind.ARCHIVE],
    "check": [Kind.PIT_CHECK],
    "clean": [Kind.CLEAN],
}
LANES: dict[Kind, str] = {
    **dict.fromkeys(Kind, "restore"),
    **{kind: lane for lane, kinds in _LANES.items() for kind in kinds},
}
"""The lane of each kind: an agent does one command at a time in each, lanes side by side. `data` holds the lock of the
node's prefix (design §3.6); a delete puts a mark or clears a snapshot, which no copy under way needs to end for. A
scrub only reads, and lets everything else go first. A
fetch may take hours and changes nothing in Cassandra: what another restore has emptied must not stay empty meanwhile.
Phases of one job never overlap all the same."""


class PostCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/commands. Identity is `id` + `kind` + `arguments`. `fence` grows with each coordinator that takes over
    the job; `not_after` (unix seconds) is when the command may no longer begin; `report_to` is the name of a
    coordinator in the agent's configuration."""

    id: str
    kind: Kind
    arguments: msgspec.Raw
    job: str | None = None
    phase: str | None = None
    fence: int = 0
    not_after: float | None = None
    report_to: str | None = None


class PatchCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /v1/commands/{id}: who hears of the command from now on (the name of a coordinator in the agent's
    configuration); its present state is reported again at once."""

    report_to: str


Count = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""Files or bytes of a table. A thousand nodes' sums stay under 2**63 whatever each of them tells."""


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Progress of one table: files and bytes, done and in all, and what went wrong. `done_bytes` grows within a file,
    `done_files` when an SSTable is done."""

    done_files: Count = 0
    total_files: Count = 0
    done_bytes: Count = 0
    total_bytes: Count = 0
    errors: list[str] = []


Progress = dict[str, dict[str, dict[str, Counts]]]
"""destination id → keyspace → table → counts"""


class CommandView(msgspec.Struct, frozen=True):
    """GET /v1/commands/{id}. `stage` names the step that is under way (or the last one), `result` the outcome's data,
    `error` an error object (code, message, todo, retry, fields). Times in unix seconds."""

    id: str
    kind: str
    state: State
    stage: str
    job: str | None
    phase: str | None
    fence: int
    accepted: float
    started: float | None
    finished: float | None
    progress: Progress
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    instance: str = ""
    """the agent process that last worked on it"""
    report_to: str | None = None


class Event(msgspec.Struct, frozen=True):
    """One entry of an agent's event log. `sequence` grows (with gaps) for the life of the agent's state. `progress`
    holds only tables whose counts changed after the sequence that the reader asked from, a terminal event all of them;
    `result` and `error` come with terminal states, `error` also while waiting."""

    sequence: int
    instance: str
    at: float
    command: str
    kind: str
    job: str | None
    phase: str | None
    state: State
    stage: str
    progress: Progress = {}
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A destination as a command names it: its id here, the repository that must be there, the cluster's id in it, and
    this command's own limit (bytes per second, 0 = none)."""

    destination: str
    repository_id: str
    cluster_id: str
    throttle_bytes_per_second: int = 0


class SnapshotArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take a snapshot named `tag` of `keyspaces` (None: all that design §3.11 names; an empty list of tables: all of
    the keyspace). `keep`: it is an on-server backup (no TTL, manifest and schema under the agent's state); else it
    expires by TTL where Cassandra can (4.1+). `throttle_bytes_per_second`: the slowest limit of the copy that
    follows, 0 = none is known; for that TTL only. `backup_id`: "adhoc" or a schedule's id. `made_by`: whose snapshot
    it is, as a name that no other backup has (a coordinator's request; "" = nobody says)."""

    tag: str
    keyspaces: dict[str, list[str]] | None = None
    keep: bool = False
    backup_id: str = "adhoc"
    exclude_keyspaces: list[str] = []
    throttle_bytes_per_second: int = 0
    made_by: str = ""


class ScriptArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Run the script `name` of the agent's script directory for the backup `tag`: before its snapshot (`pre`), or after
    it (`post`), then with the paths of the snapshot's files on stdin, one a line."""

    name: str
    tag: str
    when: Literal["pre", "post"]


class UploadArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Copy the snapshot `tag` to every target and publish its manifest there. Afterwards the snapshot goes, unless it
    was taken with `keep`."""

    tag: str
    targets: list[Target]
    throttle_bytes_per_second: int = 0


class BackupArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Snapshot and upload in one command."""

    snapshot: SnapshotArguments
    targets: list[Target]
    throttle_bytes_per_second: int = 0


class SyncArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Copy the backup `tag` to every target: the kept on-server snapshot (`source` None), which stays, or the part of
    the node `source_host_id` in another destination. That is this node, or one that left the ring: refused for others.
    """

    tag: str
    targets: list[Target]
    throttle_bytes_per_second: int = 0
    source: Target | None = None
    source_host_id: str = ""


class DeleteArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Delete backup `tag`: with `target` put its mark in the destination, without it clear the on-server backup.
    `made_by`: only what that one made, whatever else has the tag is `backup_not_found` ("" = whoever made it).
    `dry_run`: only count what clearing the on-server backup would free; without `target`, in which a delete frees
    nothing (a sweep does, which has a dry run of its own)."""

    tag: str
    target: Target | None = None
    made_by: str = ""
    dry_run: bool = False


class SweepArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Free what no undeleted backup of this node needs in the target. `abandon_intents`: tags of foreign intents that a
    person gives up, `~sweep` for a sweep's own, `~adopted` for an adoption. `margin_seconds`: None = the agent's
    setting. `dry_run`: write nothing, only count what would go; `as_deleted`: tags that it takes for deleted, each
    counted for itself too. `adopt`: the host id of a node that left the ring, whose prefix is swept instead of this
    node's own; refused while it is in the ring."""

    target: Target
    abandon_intents: list[str] = []
    margin_seconds: float | None = None
    dry_run: bool = False
    as_deleted: list[str] = []
    adopt: str | None = None


class ScrubArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Verify what this node stored in the target: the share that is due (`[scrub] period_days` of the agent) and a
    sample of the newest objects, or with `whole` every object; always that all exists which its backups name. `adopt`:
    the host id of a node that left the ring, whose part is read instead; refused while it is in the ring."""

    target: Target
    whole: bool = False
    adopt: str | None = None


class RestoreArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every phase of a restore is told. `source` None = from the on-server snapshot. `source_host_id`: whose part
    of the backup this node takes (its own, or that of the node it replaces). `tables`: fully named, never empty.
    `batch_sstables`: SSTables per import call. `statements`: only for create_views, each a CREATE MATERIALIZED VIEW.
    `truncate_keyspaces`: for preflight and fetch, which keyspaces of `tables` will be emptied first; None = all of them
    when `truncate`. `views`: only for drop_views, keyspace → views. `replace`: only for schema, tables that are dropped
    and made again because their columns differ (force_schema)."""

    tag: str
    source_host_id: str
    tables: dict[str, list[str]]
    source: Target | None = None
    throttle_bytes_per_second: int = 0
    truncate: bool = False
    truncate_keyspaces: list[str] | None = None
    batch_sstables: int = 64
    statements: list[str] = []
    views: dict[str, list[str]] = {}
    replace: dict[str, list[str]] = {}
