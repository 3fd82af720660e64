"""At which moments tests kill an agent: `<kind>:<stage>`, as `mortal_agent` takes them. One list is what one request
lives through, in that order; `{ks}` stands for the keyspace. tests/fast/harness/test_moments.py compares them with the
stages that the jobs can enter.
"""

Moments = tuple[str, ...]

BACKUP: dict[str, Moments] = {
    "snapshot": ("snapshot:accepted", "snapshot:snapshot", "snapshot:listing", "snapshot:success:before"),
    "upload": (
        "snapshot:success",
        "upload:accepted",
        "upload:running",
        "upload:opening",
        "upload:storing",
        "upload:publishing",
        "upload:published",
        "upload:clearing",
        "upload:success:before",
    ),
}
SCRIPT: Moments = (
    "script:accepted",
    "script:running the script",
    "script:success:before",
    "script:success",
)
"""Of one of the two scripts of a backup."""
RESTORE: dict[str, Moments] = {
    "preflight": ("preflight:accepted", "preflight:reading the backup", "preflight:success:before"),
    "fetch": ("fetch:accepted", "fetch:running", "fetch:fetching", "fetch:success:before"),
    "drop_views": ("drop_views:accepted", "drop_views:dropping {ks}.stock_by_state", "drop_views:success:before"),
    "truncate": (
        "truncate:truncating {ks}.orders:before",
        "truncate:truncating {ks}.stock",
        "truncate:success:before",
    ),
    "schema": ("schema:reading the backup", "schema:making table {ks}.visits", "schema:success:before"),
    "import": ("import:importing", "import:importing {ks}.stock, batch 2", "import:success:before"),
    "create_views": (
        "create_views:making view {ks}.stock_by_state",
        "create_views:waiting for the views to be built",
        "create_views:success:before",
    ),
    "check and clean": (
        "check:accepted",
        "check:checking",
        "check:success:before",
        "clean:accepted",
        "clean:cleaning",
        "clean:success:before",
    ),
}
REPLACED: Moments = (
    "schema:dropping table {ks}.paired",
    "schema:dropping type {ks}.pair",
    "schema:making type {ks}.pair",
)
"""Of a restore with force_schema: between the DROP and the CREATE."""
REMADE: Moments = ("schema:making keyspace {ks}.{ks}", "schema:making index {ks}.paired_text")
"""Of a keyspace that is gone altogether."""
OTHER_IMPORTS: Moments = ("fetch:waiting for the import of {job}",)
"""Of a restore that finds what another one's import, `{job}`, began and did not end."""
CUT_IMPORT: Moments = ("import:waiting for batches that were cut",)
CUT_CLEAN: Moments = ("clean:waiting for batches that were cut",)
"""Of an import, or of the cleaning, of a restore whose agent died while Cassandra imported."""
DELETE: dict[str, Moments] = {
    "delete": ("delete:accepted", "delete:running", "delete:marking", "delete:success:before"),
    "sweep": (
        "sweep:accepted",
        "sweep:looking",
        "sweep:marking",
        "sweep:waiting",
        "sweep:deleting",
        "sweep:success:before",
    ),
}
ARCHIVE: Moments = (
    "archive:accepted",
    "archive:checking",
    "archive:telling",
    "archive:ordering",
    "archive:success:before",
)
TRIM_LOGS: Moments = (
    "trim_logs:accepted",
    "trim_logs:looking",
    "trim_logs:deleting",
    "trim_logs:success:before",
)
SCRUB: Moments = (
    "scrub:accepted",
    "scrub:looking",
    "scrub:reading",
    "scrub:naming",
    "scrub:success:before",
)
ON_SERVER_BACKUP: Moments = ("snapshot:listing", "snapshot:success:before")
ON_SERVER_DELETE: Moments = ("delete:clearing", "delete:success:before")
SYNC_FROM_S3: Moments = ("sync:opening", "sync:storing", "sync:publishing", "sync:published")
"""A sync whose source is a bucket, and its target a directory."""
SYNC: Moments = (
    "sync:accepted",
    "sync:running",
    "sync:opening",
    "sync:storing",
    "sync:publishing",
    "sync:published",
    "sync:success:before",
)
COMMAND: Moments = (
    "backup:accepted",
    "backup:snapshot",
    "backup:taken",
    "backup:storing",
    "backup:published",
    "backup:clearing",
    "backup:success:before",
)
"""Of the command that no coordinator's request uses: snapshot and copy in one."""

RESTART: Moments = (
    "restart:draining",
    "restart:stopping",
    "restart:starting",
    "restart:asking the node",
    "restart:success:before",
)
PIT_CHECK: Moments = (
    "pit_check:accepted",
    "pit_check:reading the log",
    "pit_check:comparing the schema",
    "pit_check:reading the snapshot",
    "pit_check:success:before",
)
PIT_FETCH: Moments = (
    "pit_fetch:accepted",
    "pit_fetch:reading the log",
    "pit_fetch:fetching",
    "pit_fetch:fetching segments",
    "pit_fetch:success:before",
)
PIT_TABLES: Moments = (
    "pit_tables:reading the schema's history",
    "pit_tables:dropping view pit.seen",
    "pit_tables:dropping table pit.rows",
    "pit_tables:dropping type pit.sort",
    "pit_tables:making table pit.rows",
    "pit_tables:making index pit.by_word",
    "pit_tables:adding column later to pit.rows",
    "pit_tables:dropping column later of pit.rows",
    "pit_tables:success:before",
)
PIT_COVER: Moments = (
    "pit_cover:accepted",
    "pit_cover:reading the node's log",
    "pit_cover:reading the archive",
    "pit_cover:adding the node's log",
    "pit_cover:success:before",
)
PIT_QUIESCE: Moments = (
    "pit_quiesce:starting it once",
    "pit_quiesce:noting the node",
    "pit_quiesce:closing to clients",
    "pit_quiesce:replaying the batch log",
    "pit_quiesce:delivering hints",
    "pit_quiesce:success:before",
)
PIT_STOP: Moments = (
    "pit_stop:starting it once",
    "pit_stop:draining",
    "pit_stop:stopping",
    "pit_stop:success:before",
)
PIT_PLACE: Moments = (
    "pit_place:archiving the log",
    "pit_place:setting aside",
    "pit_place:placing",
    "pit_place:telling Cassandra",
    "pit_place:success:before",
)
PIT_START: Moments = (
    "pit_start:making ready",
    "pit_start:starting",
    "pit_start:taking back what it was told",
    "pit_start:success:before",
)
PIT_VERIFY: Moments = (
    "pit_verify:accepted",
    "pit_verify:rebuilding {ks}.asked_v",
    "pit_verify:success:before",
)
PIT_UNDO: Moments = (
    "pit_undo:stopping Cassandra",
    "pit_undo:putting back",
    "pit_undo:starting Cassandra",
    "pit_undo:success:before",
)
PIT_CLEAN: Moments = (
    "pit_clean:accepted",
    "pit_clean:keeping what was replaced",
    "pit_clean:cleaning",
    "pit_clean:success:before",
)
PIT_OPEN: Moments = (
    "pit_open:putting settings back",
    "pit_open:opening to clients",
    "pit_open:success:before",
)
S3_BACKUP: Moments = (
    "snapshot:snapshot",
    "snapshot:success:before",
    "upload:opening",
    "upload:storing",
    "upload:publishing",
    "upload:published",
    "upload:clearing",
)
"""What touches a store, once more with S3 for it."""
S3_RESTORE: Moments = (
    "preflight:reading the backup",
    "fetch:fetching",
    "fetch:success:before",
    "import:importing {ks}.stock, batch 2",
    "check:checking",
)
S3_DELETE: Moments = ("delete:marking", "sweep:marking", "sweep:deleting", "sweep:success:before")
GCS_BACKUP: Moments = ("upload:storing", "upload:published")
"""Of these the least that shows another provider resumed: half-way, and when all is stored."""
GCS_RESTORE: Moments = ("fetch:fetching",)
GCS_DELETE: Moments = ("sweep:deleting",)

AZURE_BACKUP: Moments = ("upload:storing", "upload:publishing", "upload:published")
AZURE_RESTORE: Moments = ("fetch:fetching",)
AZURE_DELETE: Moments = ("sweep:deleting",)
"""And with Azure, where what its provider does lies in between."""

EACH_STORE: Moments = ("upload:storing", "upload:publishing:before")
"""The shortest that shows a backup resumed: with nothing stored yet, and with all objects stored and no manifest."""

ALL: frozenset[str] = frozenset().union(
    *BACKUP.values(),
    SCRIPT,
    *RESTORE.values(),
    REPLACED,
    REMADE,
    OTHER_IMPORTS,
    CUT_IMPORT,
    CUT_CLEAN,
    *DELETE.values(),
    ARCHIVE,
    TRIM_LOGS,
    SCRUB,
    ON_SERVER_BACKUP,
    ON_SERVER_DELETE,
    SYNC,
    SYNC_FROM_S3,
    COMMAND,
    RESTART,
    PIT_CHECK,
    PIT_FETCH,
    PIT_COVER,
    PIT_TABLES,
    PIT_QUIESCE,
    PIT_STOP,
    PIT_PLACE,
    PIT_START,
    PIT_VERIFY,
    PIT_UNDO,
    PIT_CLEAN,
    PIT_OPEN,
    S3_BACKUP,
    S3_RESTORE,
    S3_DELETE,
    GCS_BACKUP,
    GCS_RESTORE,
    GCS_DELETE,
    AZURE_BACKUP,
    AZURE_RESTORE,
    AZURE_DELETE,
    EACH_STORE,
)


def named(moments: Moments, keyspace: str) -> list[str]:
    """The moments in that keyspace."""
    return [moment.replace("{ks}", keyspace) for moment in moments]
