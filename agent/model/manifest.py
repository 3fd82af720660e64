"""A node's manifest: what a backup of one node consists of, file by file."""

import msgspec

from agent.model.snapshot import KeyspaceSchema
from agent.wire.node import NodeIdentity

MANIFEST_FORMAT = 2
"""2: objects may be coded (`codecs`). 1, before it, is read as well."""


_NONE: dict[str, int] = {}


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of a file's bytes inside an object: the object's id (hex BLAKE3 of its plain bytes), where, how many."""

    object: str
    offset: int
    length: int


class FileEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A file of a table. `digest`: hex BLAKE3 over its piece digests (32 bytes each, of every run of `piece_size` plain
    bytes) followed by its size as 8 bytes big-endian. `volume`: index into the head's data directories. Of an on-server
    manifest digest and pieces are empty: the bytes are in the snapshot."""

    name: str
    size: int
    volume: int
    digest: str
    pieces: tuple[Piece, ...]
    piece_size: int


class TablePart(msgspec.Struct, frozen=True):
    """A line of a table's frame: the files of one SSTable and the objects they are in, object id → stored size in bytes
    as the store reported it (invariant I1). Part by part, a table of any size is written and read in little memory.

    `codecs`: of those objects that are not stored raw, object id → the codec's number in the object frame.

    `times`: when each of the files was last written (mtime, nanoseconds since 1970), in their order. Only where the
    bytes stay in a snapshot; parts in destinations are without, so that an unchanged SSTable's line stays the same."""

    files: tuple[FileEntry, ...]
    objects: dict[str, int]
    times: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    codecs: dict[str, int] | msgspec.UnsetType = msgspec.UNSET

    @property
    def coded(self) -> dict[str, int]:
        """`codecs`, or nothing."""
        return _NONE if isinstance(self.codecs, msgspec.UnsetType) else self.codecs


class TableReference(msgspec.Struct, frozen=True):
    """Where a table's frame is: inline at `offset` of the manifest, or the object `object`; `length` stored bytes.

    `own`: files that Cassandra writes anew with each snapshot (manifest.json, schema.cql). They are listed here, so
    that the frame of an unchanged table stays the same; their objects are in the head's `own_objects`. `files`, `bytes`
    count them too. `own_times`: theirs, as a part's `times`."""

    keyspace: str
    table: str
    table_id: str
    files: int
    bytes: int
    sstables: int
    length: int
    offset: int | None = None
    object: str | None = None
    own: tuple[FileEntry, ...] = ()
    own_times: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET


class Head(msgspec.Struct, frozen=True):
    """A manifest's head: which node, when, with which schema, and where the tables' frames are.

    `left_out`: tables of the snapshot that are not in the manifest, or not whole, as they were found damaged:
    «keyspace.table» → the error's code. Unset where all is there, and in manifests of before there was the field.

    `taken_at`, `taken_until`, `commitlog_flushed`: see SnapshotInfo; the latter two are unset in manifests of before
    there were the fields."""

    format: int
    tag: str
    backup_id: str
    cluster_id: str
    taken_at: float
    node: NodeIdentity
    data_directories: tuple[str, ...]
    schema: tuple[KeyspaceSchema, ...]
    commitlog_floor: str | None
    agent_version: str
    agent_id: str
    command: str
    tables: tuple[TableReference, ...]
    own_objects: dict[str, int] = {}
    own_codecs: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    left_out: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    taken_until: float | msgspec.UnsetType = msgspec.UNSET
    commitlog_flushed: dict[str, int] | msgspec.UnsetType = msgspec.UNSET

    @property
    def ended_at(self) -> float:
        """When the snapshot was whole, as far as the manifest tells: `taken_until`, else `taken_at`."""
        return self.taken_at if isinstance(self.taken_until, msgspec.UnsetType) else self.taken_until

    @property
    def flushed(self) -> dict[str, int]:
        """`commitlog_flushed`, or nothing."""
        return {} if isinstance(self.commitlog_flushed, msgspec.UnsetType) else self.commitlog_flushed

    @property
    def lacking(self) -> dict[str, str]:
        """`left_out`, or nothing."""
        return {} if isinstance(self.left_out, msgspec.UnsetType) else self.left_out

    @property
    def own_coded(self) -> dict[str, int]:
        """`own_codecs`, or nothing."""
        return _NONE if isinstance(self.own_codecs, msgspec.UnsetType) else self.own_codecs
