"""A snapshot on disk: its tables and files, as the inventory found them."""

from typing import Literal

import msgspec

from agent.wire.node import NodeIdentity


class FileStat(msgspec.Struct, frozen=True, gc=False):
    """A file of a snapshot. `name` is relative to `directory`, the table's snapshot directory: a plain name, or
    `.<index>/<name>` for a legacy index. There may be hundreds of thousands of these: what files share is one object.
    `volume`: index into the node's data directories. `filesystem`: filesystem UUID or mount source (stays the same over
    reboots). Times in nanoseconds, sizes in bytes."""

    name: str
    directory: str
    volume: int
    size: int
    inode: int
    mtime_ns: int
    filesystem: str

    @property
    def path(self) -> str:
        """Where the file is."""
        return f"{self.directory}/{self.name}"


class SnapshotTable(msgspec.Struct, frozen=True):
    """A table's part in a snapshot; `table_id` as 32 hex digits without dashes (the directory's suffix)."""

    keyspace: str
    table: str
    table_id: str
    files: tuple[FileStat, ...]


class SchemaObject(msgspec.Struct, frozen=True):
    """One thing that DESCRIBE … WITH INTERNALS prints: keyspace, type, function, aggregate, table, index or view.
    `base`: the table of an index or view."""

    kind: Literal["keyspace", "type", "function", "aggregate", "table", "index", "view"]
    keyspace: str
    name: str
    statement: str
    base: str = ""


class Column(msgspec.Struct, frozen=True):
    """A column as in system_schema.columns. `kind`: partition_key, clustering, static, regular."""

    name: str
    type: str
    kind: str
    position: int
    clustering_order: str


class KeyspaceSchema(msgspec.Struct, frozen=True):
    """A keyspace's schema: replication, statements in the order in which they can be executed, and the columns by which
    two versions of a table are compared. `types`: type name → [[field, type], …]."""

    name: str
    replication: dict[str, str]
    durable_writes: bool
    objects: tuple[SchemaObject, ...]
    columns: dict[str, tuple[Column, ...]]
    types: dict[str, tuple[tuple[str, str], ...]]
    gc_grace_seconds: dict[str, int] = {}
    table_ids: dict[str, str] = {}


class SnapshotInfo(msgspec.Struct, frozen=True):
    """A snapshot that the agent took: kept as `on-server/<tag>/snapshot.json` until it is cleared. `kept`: it is an
    on-server backup. `taken_at`, `taken_until`: unix seconds, before Cassandra was asked for it and when it had made
    all of it (None: taken by an agent that did not note it). `tables`: keyspace → tables. `commitlog_floor`: name of
    the newest commit-log segment that was certainly closed when it was taken, there or not. `commitlog_flushed`: newer
    segment → bytes at its beginning whose writes are in the snapshot's SSTables, or were gone again by then."""

    tag: str
    backup_id: str
    kept: bool
    taken_at: float
    node: NodeIdentity
    schema: tuple[KeyspaceSchema, ...]
    tables: dict[str, list[str]]
    data_directories: tuple[str, ...]
    commitlog_floor: str | None = None
    commitlog_flushed: dict[str, int] = {}
    taken_until: float | None = None
